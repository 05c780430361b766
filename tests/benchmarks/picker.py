"""The processor time until `localstore pick` shows the first sessions, and until it has all of them.

    python -m tests.benchmarks.picker [--sessions 10000] [--rounds 7] [--folder DIR]

Whole processes in a pseudo-terminal, without fzf; medians. Linux only.
"""

import argparse
import fcntl
import os
import pty
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from tests.benchmarks.commands import processor_time
from tests.benchmarks.listing import fill
from tests.benchmarks.timing import table

ROWS, COLUMNS = 40, 120


def used(pid: int) -> float:
    """Return the processor time that a process has used so far, in milliseconds."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


def pick(store: Path, sessions: int) -> tuple[float, float]:
    """Return what a process used until the first sessions were drawn, and until all were listed."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    command = [sys.executable, "-c", "from localstore_cli.app import main; main()", "pick", "--store", str(store)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env={"PATH": ""}) as process:
        os.close(theirs)
        raw, first = b"", 0.0
        while f"{sessions:,} of {sessions:,} ".encode() not in raw:
            raw += os.read(ours, 65536)
            first = first or (used(process.pid) if b"\x1b[J" in raw else 0)
        complete = used(process.pid)
        os.write(ours, b"\x1b")
        process.wait()
    os.close(ours)
    return first, complete


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, default=None)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="localstore-benchmark-", dir=args.folder))
    try:
        fill(folder / "store", args.sessions).close()
        taken = [pick(folder / "store", args.sessions) for _ in range(args.rounds)]
        click = statistics.median(processor_time(sys.executable, "-c", "import click") for _ in range(args.rounds))
    finally:
        shutil.rmtree(folder)
    first, complete = (statistics.median(times) for times in zip(*taken, strict=True))
    table(
        f"localstore pick with {args.sessions} sessions, processor time in ms",
        [
            ("import click", click, ""),
            ("the first sessions, over import click", first - click, "target <= 150"),
            ("all sessions, over import click", complete - click, ""),
        ],
    )


if __name__ == "__main__":
    main()
