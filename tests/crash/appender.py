"""A process of many threads that append: `python -m tests.crash.appender ROOT SUFFIX NAME THREADS RUNS`.

It begins when a line comes on standard input, so that many of them begin together.
"""

import sys
import threading
from pathlib import Path

from localstore import Message, Run
from tests.crash.writer import STORAGES


def main(root: Path, suffix: str, name: str, threads: int, runs: int) -> None:
    storage = STORAGES[suffix](root, lock_timeout=120)
    failed: list[BaseException] = []

    def append(thread: int) -> None:
        try:
            for number in range(runs):
                run_id = f"{name}-{thread}-{number}"
                run = Run(run_id=run_id, messages=[Message(role="user", content=run_id)])
                storage.append("shared", run, user_id="alice", entity_id="geographer")
        except BaseException as error:
            failed.append(error)
            raise

    workers = [threading.Thread(target=append, args=(thread,)) for thread in range(threads)]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failed:
        raise failed[0]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
