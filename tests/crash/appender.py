"""Processes of many threads that append: `python -m tests.crash.appender ROOT SUFFIX COUNT THREADS RUNS`.

They begin when a line comes on standard input, so that all of them begin together. One process loads what they need,
and forks for each of them.
"""

import os
import sys
import threading
import traceback
from pathlib import Path

from localstore import Message, Run
from tests.crash.writer import STORAGES


def main(root: Path, suffix: str, count: int, threads: int, runs: int) -> None:
    (told, tell), (ready, get_ready) = os.pipe(), os.pipe()
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            os.close(tell)
            os._exit(_in_child(root, suffix, f"p{number}", threads, runs, told, get_ready))
        children.append(child)
    os.close(get_ready)
    waiting = count
    while waiting and (some := os.read(ready, waiting)):
        waiting -= len(some)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    os.close(tell)
    ended = [os.waitpid(child, 0)[1] for child in children]
    sys.exit(any(ended))


def _in_child(root: Path, suffix: str, name: str, threads: int, runs: int, told: int, get_ready: int) -> int:
    """Return the exit code."""
    storage = STORAGES[suffix](root, lock_timeout=120)
    failed: list[BaseException] = []

    def append(thread: int) -> None:
        try:
            for number in range(runs):
                run_id = f"{name}-{thread}-{number}"
                run = Run(run_id=run_id, messages=[Message(role="user", content=run_id)])
                storage.append("shared", run, user_id="alice", entity_id="geographer")
        except BaseException as error:  # noqa: BLE001 - the process fails with it
            traceback.print_exc()
            failed.append(error)

    workers = [threading.Thread(target=append, args=(thread,)) for thread in range(threads)]
    os.write(get_ready, b"\n")
    os.read(told, 1)  # returns when the other end is closed everywhere
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return 1 if failed else 0


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
