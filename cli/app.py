"""The entry point of the command `localstore`. Imports nothing before it can handle Ctrl-C."""

import sys


def main() -> None:
    """Run the command line, and exit with its code."""
    try:
        from .group import cli

        cli.main()
    except KeyboardInterrupt:  # while the program is still loading
        sys.stderr.write("localstore: Interrupted.\n")
        sys.exit(130)
