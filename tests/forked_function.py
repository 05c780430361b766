"""Functions that are called in processes of their own, forked by a process that has loaded localstore: to load it takes
longer than most of them.

`python -m tests.forked_function` is that process. Each line on its standard input is a call, each line on its standard
output an exit code.
"""

import atexit
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

_HOME = Path(__file__).parents[1]


def exit_code(function: Callable[..., object], *args: str | int) -> int:
    """Call a function of a module in another process. Return its exit code, or minus the signal that killed it."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps([function.__module__, function.__name__, args]) + "\n")
    server.stdin.flush()
    return int(server.stdout.readline())


@cache
def _server() -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.forked_function"]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_HOME)
    atexit.register(server.communicate)
    return server


def main() -> None:
    for line in sys.stdin:
        module, name, args = json.loads(line)
        function = getattr(importlib.import_module(module), name)
        child = os.fork()
        if child == 0:
            function(*args)
            sys.exit()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
