"""A program that has loaded the command line, and forks for each command that a test asks for.

The command itself runs as in a process of its own: with its arguments, folder, variables, terminal or streams, until
Python ends. Only the loading is done, which takes longer than most commands. Nothing that reads the terminal or the
variables while it is imported may be loaded here.
"""

import fcntl
import gc
import importlib
import json
import os
import socket
import sys
import termios
from typing import Any

LOADED = (
    *("localstore_cli.group", "localstore.format.yaml_reader", "localstore.index.search_index"),
    *("localstore.maintenance.check", "localstore.maintenance.upgrade", "localstore.models.session"),
    *("localstore.storage.storage", "rich.console", "rich.markdown", "rich.syntax", "rich.table", "yaml"),
)
"""What most commands need."""
ASKING = ("ask", "chat", "replay")
LOADED_TO_ASK = ("localstore.agents", "openai")
"""What these commands need besides."""


def main(control: int, program: str) -> None:
    """Fork for each message in this socket: a JSON object, with a pipe for the number of the process and its exit code,
    and either a terminal or three streams. Returns in the process of a command, ready to run it."""
    sys.path[0] = os.path.dirname(program)
    _load(LOADED)
    with socket.socket(fileno=control) as requests:
        while True:
            message, descriptors, _, _ = socket.recv_fds(requests, 1 << 20, 4)
            if not message:
                sys.exit()
            wanted = json.loads(message)
            if wanted["args"][:1] and wanted["args"][0] in ASKING:
                _load(LOADED_TO_ASK)
            if os.fork() == 0:
                break
            for descriptor in descriptors:
                os.close(descriptor)
            while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG):  # those that waited for earlier commands
                pass
    answers, *streams = descriptors
    pid = os.fork()
    if pid != 0:
        for descriptor in streams:
            os.close(descriptor)
        os.write(answers, pid.to_bytes(4, "big"))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.write(answers, code.to_bytes(4, "big", signed=True))
        os._exit(0)
    os.close(answers)
    _become(wanted, streams, program)


def _load(names: tuple[str, ...]) -> None:
    for name in names:
        importlib.import_module(name)
    assert "readline" not in sys.modules, "it reads the terminal when it is imported"
    gc.freeze()


def _become(wanted: dict[str, Any], streams: list[int], program: str) -> None:
    """Make this process what the system makes of a new one that is started on the terminal, or with the streams."""
    if len(streams) == 1:
        os.setsid()
        fcntl.ioctl(streams[0], termios.TIOCSCTTY, 0)
        streams *= 3
    for descriptor, stream in enumerate(streams):
        os.dup2(stream, descriptor)
    for stream in set(streams):
        os.close(stream)
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["env"])
    sys.argv = [program, *wanted["args"]]
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
    importlib.import_module("localstore_cli.app").main()
