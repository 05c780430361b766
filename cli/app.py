"""The entry point of the command `localstore`. Imports nothing before it can handle Ctrl-C."""

import sys


def main() -> None:
    """Run the command line, and exit with its code."""
    try:
        _load_orjson()
        from .group import cli

        cli.main()
    except KeyboardInterrupt:  # while the program is still loading
        sys.stderr.write("localstore: Interrupted.\n")
        sys.exit(130)


def _load_orjson() -> None:
    """Import orjson, which every command needs, while Ctrl-C waits: it crashes if its start is interrupted."""
    import signal

    arrived = []
    before = signal.signal(signal.SIGINT, lambda *_: arrived.append(True))
    try:
        import orjson  # noqa: F401
    finally:
        signal.signal(signal.SIGINT, before)
    if arrived:
        signal.raise_signal(signal.SIGINT)
