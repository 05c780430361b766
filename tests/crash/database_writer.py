"""A process that appends runs to a store in a database, and writes down each one that was acknowledged.

    python -m tests.crash.database_writer URL SCHEMA NAME LEDGER

It appends a run to a session of its own and to one that all writers share, in turn, until it is killed. A call that
fails is repeated. The ledger has a line for each acknowledged run: session, run_id.
"""

import os
import sys
import time
from contextlib import closing
from itertools import count

from localstore import LocalstoreError, Message, Run
from localstore.databases.sql import SqlStorage

_PAUSE = 0.02


def main() -> None:
    url, schema, name, ledger = sys.argv[1:]
    numbers = count(_written(ledger))
    with closing(_opened(url, schema)) as storage, open(ledger, "ab", buffering=0) as file:
        for number in numbers:
            session_id = "shared" if number % 2 else name
            run = Run(run_id=f"{name}-{number}", messages=[Message(role="user", content=f"{name} {number}")])
            while True:
                try:
                    storage.append(session_id, run)
                    break
                except (LocalstoreError, OSError):
                    time.sleep(_PAUSE)
            file.write(f"{session_id} {run.run_id}\n".encode())


def _opened(url: str, schema: str) -> SqlStorage:
    while True:
        try:
            return SqlStorage(url, schema=schema or None)
        except (LocalstoreError, OSError):
            time.sleep(_PAUSE)


def _written(ledger: str) -> int:
    """Return the number of the next run. A run that was not acknowledged is appended again."""
    if not os.path.exists(ledger):
        return 0
    with open(ledger, "rb") as file:
        return file.read().count(b"\n")


if __name__ == "__main__":
    main()
