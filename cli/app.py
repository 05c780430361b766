"""The entry point of the command `localstore`. Imports nothing before it can handle Ctrl-C."""

import sys


def main() -> None:
    """Run the command line of this process, and exit with its code."""
    try:
        from .group import cli

        cli.main()
    except KeyboardInterrupt:  # while the program was still being loaded
        sys.stderr.write("localstore: Interrupted.\n")
        sys.exit(130)
