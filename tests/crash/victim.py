"""A process that is attacked from outside: `python -m tests.crash.victim`.

Each line on standard input is a request (a JSON object), each line on standard output its answer. `{"prepare": NAME,
"root": ..., "suffix": ...}` makes a store in which the operation of that name in `test_faults.OPERATIONS` can be done.
`{"work": true}` does it, and `{"append": 21}` appends one more run with the same handle.

The process forks the victim and waits. When it is killed, the next one is forked, because to load all of this takes
longer than an attack. Each victim says `{"victim": PID}` first.
"""

import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from localstore import LocalstoreError
from tests.crash.test_faults import OPERATIONS, Scene, run
from tests.crash.writer import STORAGES

_BY_NAME = {operation.name: operation for operation in OPERATIONS}


def main() -> None:
    while (pid := os.fork()) != 0:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code != -signal.SIGKILL:
            sys.exit(code)
    os.write(1, json.dumps({"victim": os.getpid()}).encode() + b"\n")
    _serve()


def _serve() -> None:
    operation, scene = None, None
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        try:
            if "prepare" in request:
                operation = _BY_NAME[request["prepare"]]
                root, kind = Path(request["root"]), STORAGES[request["suffix"]]
                scene = Scene(root, kind(root, durability=operation.durability, lock_timeout=5))
                operation.before(scene)
            elif "work" in request:
                assert operation is not None
                assert scene is not None
                operation.work(scene)
            else:
                assert scene is not None
                scene.storage.append("s", run(request["append"]), kind="agent")
            answer: dict[str, Any] = {}
        except (OSError, LocalstoreError) as error:
            named = getattr(error, "path", None) or getattr(error, "filename", None)
            trace = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
            answer = {"failed": repr(error), "named": str(named) if named else None, "trace": trace}
        os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main()
