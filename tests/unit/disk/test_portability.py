"""The code for systems that lack what POSIX has, run after these functions and flags were taken away."""

import subprocess
import sys
from pathlib import Path

import pytest

_WITHOUT = """
import os
import random  # these modules of Python need what is taken away
import tempfile
import threading
import sys

for name in ("pread", "pwrite", "fdatasync", "register_at_fork", "O_NOFOLLOW", "O_NONBLOCK", "fchmod"):
    if hasattr(os, name):
        delattr(os, name)

from localstore import DocumentBroken, JsonStorage, Message, Run, YamlStorage
from localstore.disk import boot, filesystem
from localstore.index import manifest_file, manifest_reader, manifest_writer


class NoOpenFileIsReplaced(filesystem.System):
    def replace(self, source, target):
        if os.path.isdir("/proc/self/fd"):
            held = {os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")}
            assert os.path.realpath(target) not in held, f"{target} is open"
        super().replace(source, target)


filesystem.system = NoOpenFileIsReplaced()
manifest_writer._SPARE_LINES = 3
manifest_reader._LONG = 0
manifest_file._KEEP_OPEN = False
boot.boot_id.__wrapped__.__globals__["sys"] = type("Other", (), {"platform": "other"})

for kind in (JsonStorage, YamlStorage):
    for durability in ("full", "relaxed"):
        storage = kind(os.path.join(sys.argv[1], kind.__name__ + durability), durability=durability)
        for number in range(5):
            run = Run(messages=[Message(role="user", content=f"question {number}")], status="unfinished")
            storage.append("s1", run, user_id="alice")
            run.messages.append(Message(role="assistant", content=f"answer {number}"))
            run.status = "completed"
            storage.append("s1", run)
        storage.update("s1", session_state={"n": 1}, name="first")
        again = kind(storage.root, durability=durability)
        assert [run.answer for run in again.read("s1", last_runs=2).runs] == ["answer 3", "answer 4"]
        again.append("s2", Run())
        assert [info.session_id for info in storage.list_sessions()] == ["s2", "s1"]
        assert storage.read("s1").session_state == {"n": 1}
        assert storage.delete_session("s2")
        storage.drop()
        assert again.list_sessions() == []
        storage.append("s3", Run())
        path = storage.path("s3")
        outside = path.rename(path.with_suffix(".outside"))
        path.symlink_to(outside)
        before = outside.read_bytes()
        try:
            storage.append("s3", Run())
        except DocumentBroken as error:
            assert "symbolic link" in str(error)
        else:
            raise AssertionError("the link was followed")
        assert outside.read_bytes() == before
"""


@pytest.mark.skipif(sys.platform == "win32", reason="takes away what this system does not have")
def test_a_system_without_positioned_writes_and_fork_keeps_sessions_all_the_same(tmp_path: Path) -> None:
    """Links are not followed there either: without O_NOFOLLOW, an append wrote to the file that a link led to."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _WITHOUT, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
