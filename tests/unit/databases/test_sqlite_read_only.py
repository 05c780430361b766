"""A file of SQLite that the user may not write to, or in whose folder he may make no files, is read all the same."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from localstore import Run
from localstore.databases import sqlite_read_only
from localstore.databases.sql import SqliteStorage
from localstore.errors import LockTimeout
from tests.contract.runs import answered

READER = """
import ctypes, json, os, sys
from localstore import LocalstoreError, Run
from localstore.databases.sql import SqliteStorage

if os.getuid() == 0:  # root may write everywhere: give up CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.capget(header, sets) == 0
    for at in (0, 1):
        sets[at] &= ~0b110
    assert libc.capset(header, sets) == 0, ctypes.get_errno()
said = {"ids": None, "errors": []}
for call in (lambda: None, lambda: storage.append("s1", Run(run_id="r9")), lambda: storage.delete_session("s1")):
    try:
        storage = SqliteStorage(db_file=sys.argv[1])
        said["ids"] = [run.run_id for run in storage.read("s1").runs], [hit.run_id for hit in storage.search("Linz")]
        call()
        storage.close()
    except LocalstoreError as error:
        said["errors"].append(f"{type(error).__name__}: {error}")
print(json.dumps(said))
"""


def read_without_rights(path: Path, *, folder: bool) -> dict[str, Any]:
    """Read a store in a process that may not write to the file or, with `folder`, make files beside it."""
    locked = path.parent if folder else path
    mode = locked.stat().st_mode
    locked.chmod(0o555 if folder else 0o444)
    try:
        done = subprocess.run([sys.executable, "-c", READER, path], capture_output=True, text=True, check=False)
    finally:
        locked.chmod(mode)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with a session that nobody has open."""
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "a store.db"
    with SqliteStorage(db_file=path) as storage:
        storage.append("s1", answered("r1", question="Where is Linz?"))
    return path


@pytest.mark.parametrize("folder", [False, True])
def test_a_store_without_the_right_to_write_is_read(path: Path, folder: bool) -> None:
    """The first look failed: it wanted to make the log. What writes says why it cannot, and nothing is left behind."""
    said = read_without_rights(path, folder=folder)
    assert said["ids"] == [["r1"], ["r1"]]
    what = f"the folder {path.parent}" if folder else "this file"
    assert len(said["errors"]) == 2
    assert all(f"you may read, but not write to {what}. Nothing was written." in error for error in said["errors"])
    assert os.listdir(path.parent) == [path.name]


def test_what_another_process_has_just_written_is_read(path: Path) -> None:
    """It is in the log, which whoever takes the file for immutable does not read."""
    with SqliteStorage(db_file=path) as storage:
        storage.append("s1", answered("r2", question="And Graz?"))
        assert read_without_rights(path, folder=False)["ids"] == [["r1", "r2"], ["r1"]]


def test_what_a_killed_process_left_in_the_log_is_not_overlooked(path: Path) -> None:
    with SqliteStorage(db_file=path) as storage:
        storage.append("s1", answered("r2"))
        shutil.copy(f"{path}-wal", path.parent.parent / "log")
        shutil.copy(path, path.parent.parent / "file")
    shutil.copy(path.parent.parent / "file", path)
    shutil.copy(path.parent.parent / "log", f"{path}-wal")
    said = read_without_rights(path, folder=True)
    assert said["ids"] is None
    assert all(f"its last writes are in {path}-wal. To read them" in error for error in said["errors"])
    with SqliteStorage(db_file=path) as storage:  # as a user who may write
        assert len(storage.read("s1").runs) == 2  # type: ignore[union-attr]


def test_what_changed_while_it_was_read_is_read_again(path: Path) -> None:
    """Another process opened the file, wrote, and closed it, meanwhile."""
    written = 0

    def look(most: int) -> int:
        nonlocal written
        with closing(sqlite_read_only.connect(str(path), 1.0)) as connection:
            [(count,)] = connection.execute("SELECT count(*) FROM agent_sessions")
            if written < most:
                written += 1
                with SqliteStorage(db_file=path) as storage:
                    storage.append(f"new {written}", Run(run_id="r1"))
                os.utime(path, ns=(written, written))  # a clock whose ticks are long may have stood still
            return int(count)

    assert sqlite_read_only.read(str(path), "the store", lambda: look(2)) == 3
    with pytest.raises(LockTimeout, match="writes to this file all the time"):
        sqlite_read_only.read(str(path), "the store", lambda: look(100))


def test_a_file_without_a_log_is_read_with_the_locks_of_sqlite(tmp_path: Path) -> None:
    """Such as a database that agno made."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (a)")
    with closing(sqlite_read_only.connect(str(path), 0.0)) as reader, closing(sqlite3.connect(path)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            reader.execute("SELECT * FROM t")
