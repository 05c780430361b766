"""The index lies in every way that we could think of: the answers are those of a fresh rebuild all the same.

Another lie joins by one line in `LIES`.
"""

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from localstore.index import manifest_reader, sqlite_file
from tests import oracle
from tests.crash.answers import answers, fill, rebuilt, run_of
from tests.crash.faults import UnsyncedSystem, installed
from tests.crash.writer import STORAGES
from tests.effort import rounds, sampled

_HOME = Path(__file__).parents[2]
_NAMES = ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "_PATIENCE", 0.2)


@pytest.fixture(params=["lines in memory", "lines in the index"])
def folding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are kept in memory until a listing, or go to the index at once."""
    if request.param == "lines in the index":
        for name in ("_SHORT", "_LONG", "_MOST_ROWS"):
            monkeypatch.setattr(manifest_reader, name, 0)


def _settled(folder: Path) -> Path:
    """The file of the index, with everything in it."""
    path = folder / "index.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


def _delete(folder: Path, _: Path) -> None:
    for name in _NAMES:
        (folder / name).unlink(missing_ok=True)


def _delete_the_log(folder: Path, _: Path) -> None:
    for name in _NAMES[1:]:
        (folder / name).unlink(missing_ok=True)


def _delete_all_but_the_log(folder: Path, _: Path) -> None:
    (folder / "index.sqlite").unlink()


def _truncate(folder: Path, _: Path) -> None:
    path = _settled(folder)
    os.truncate(path, path.stat().st_size // 2)


def _truncate_the_header(folder: Path, _: Path) -> None:
    os.truncate(_settled(folder), 50)


def _empty(folder: Path, _: Path) -> None:
    _delete_the_log(folder, folder)
    (folder / "index.sqlite").write_bytes(b"")


def _garbage(folder: Path, _: Path) -> None:
    (folder / "index.sqlite").write_bytes(random.Random(1).randbytes(50_000))


def _garbage_by_rename(folder: Path, _: Path) -> None:
    (folder / "other").write_bytes(random.Random(1).randbytes(50_000))
    (folder / "other").replace(folder / "index.sqlite")


def _zero_pages(folder: Path, _: Path) -> None:
    path = _settled(folder)
    raw = bytearray(path.read_bytes())
    raw[4096:] = bytes(len(raw) - 4096)
    path.write_bytes(raw)


def _damaged_rows(folder: Path, _: Path) -> None:
    path = _settled(folder)
    path.write_bytes(path.read_bytes().replace(b"sessions/2026-11/s1", b"sessions/2026-11/x1"))


def _older(folder: Path, older: Path) -> None:
    _delete(folder, folder)
    for name in _NAMES:
        if (older / name).exists():
            shutil.copyfile(older / name, folder / name)


def _older_with_its_manifest(folder: Path, older: Path) -> None:
    _older(folder, older)
    shutil.copyfile(older / "manifest.jsonl", folder / "manifest.jsonl")


def _older_manifest(folder: Path, older: Path) -> None:
    _settled(folder)
    shutil.copyfile(older / "manifest.jsonl", folder / "manifest.jsonl")


def _no_manifest(folder: Path, _: Path) -> None:
    (folder / "manifest.jsonl").unlink()


def _newer_format(folder: Path, _: Path) -> None:
    with sqlite3.connect(folder / "index.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def _another_application(folder: Path, _: Path) -> None:
    _delete(folder, folder)
    with sqlite3.connect(folder / "index.sqlite") as connection:
        connection.execute("CREATE TABLE session(x)")
    connection.close()


def _a_folder(folder: Path, _: Path) -> None:
    _delete(folder, folder)
    (folder / "index.sqlite").mkdir()


def _a_link(folder: Path, _: Path) -> None:
    _settled(folder).rename(folder / "moved")
    _delete_the_log(folder, folder)
    (folder / "index.sqlite").symlink_to(folder / "moved")


def _a_pipe(folder: Path, _: Path) -> None:
    _delete(folder, folder)
    os.mkfifo(folder / "index.sqlite")


def _a_damaged_statement(folder: Path, _: Path) -> None:
    """SQLite quotes the name, which is no UTF-8: Python raised UnicodeDecodeError for the message."""
    path = _settled(folder)
    raw = path.read_bytes()
    assert b"INDEX session_by_time" in raw
    path.write_bytes(
        raw.replace(b"INDEX session_by_time", b"INDEY session_by_time").replace(b"xsession_by", b"x\xc5ession_by")
    )


def _an_unknown_position(folder: Path, _: Path) -> None:
    with sqlite3.connect(folder / "index.sqlite") as connection:
        connection.execute("UPDATE folded SET offset = offset + 10000")
    connection.close()


def _no_rows(folder: Path, _: Path) -> None:
    with sqlite3.connect(folder / "index.sqlite") as connection:
        connection.execute("DELETE FROM folder")
        connection.execute("DELETE FROM session")
        connection.execute("UPDATE folded SET offset = 0, tail = x''")
    connection.close()


LIES: dict[str, Callable[[Path, Path], None]] = {
    "deleted": _delete,
    "the log deleted": _delete_the_log,
    "all but the log deleted": _delete_all_but_the_log,
    "truncated": _truncate,
    "the header truncated": _truncate_the_header,
    "empty": _empty,
    "garbage": _garbage,
    "garbage by rename": _garbage_by_rename,
    "zero pages": _zero_pages,
    "damaged rows": _damaged_rows,
    "older": _older,
    "older, as the manifest": _older_with_its_manifest,
    "older manifest": _older_manifest,
    "no manifest": _no_manifest,
    "newer format": _newer_format,
    "another application": _another_application,
    "a folder": _a_folder,
    "a link": _a_link,
    "a pipe": _a_pipe,
    "a damaged statement": _a_damaged_statement,
    "an unknown position": _an_unknown_position,
    "no rows": _no_rows,
}


@pytest.mark.usefixtures("folding")
@pytest.mark.parametrize(
    ("lie", "is_open"),
    [(lie, is_open) for number, lie in enumerate(LIES) for is_open in sampled((number % 2 > 0, number % 2 == 0), 2)],
)
def test_whatever_the_index_says_the_answers_are_those_of_a_rebuild(lie: str, is_open: bool, tmp_path: Path) -> None:
    root = tmp_path / "store"
    folder, older = root / ".localstore", tmp_path / "older"
    with installed(UnsyncedSystem()):
        writer, follower = STORAGES[".json"](root, durability="relaxed"), STORAGES[".json"](root)
        fill(writer)
        follower.list_sessions()
        follower.close()
        writer.close()
        shutil.copytree(folder, older)
        writer.append("s2", run_of("later", 51))
        writer.append("s20", run_of("r20", 52), user_id="alice")
        writer.delete_session("s5")
        follower.list_sessions()
        expected = rebuilt(root, tmp_path / "copy")
        if not is_open:
            writer.close()
            follower.close()
        LIES[lie](folder, older)
        assert answers(STORAGES[".json"](root)) == expected, "a new process"
        assert answers(follower) == expected, "one that read the index"
        assert answers(writer) == expected, "one that wrote"
        for number, storage in enumerate((follower, writer, STORAGES[".json"](root))):
            storage.append("s0", run_of(f"next{number}", 55 + number))
        assert answers(follower) == rebuilt(root, tmp_path / "second copy")
        oracle.assert_sound(root)


@pytest.mark.usefixtures("folding")
@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_an_index_that_another_process_locks_for_ever_is_done_without(statement: str, tmp_path: Path) -> None:
    root = tmp_path / "store"
    with installed(UnsyncedSystem()):
        writer, follower = STORAGES[".json"](root, durability="relaxed"), STORAGES[".json"](root)
        fill(writer)
        follower.list_sessions()
        expected = rebuilt(root, tmp_path / "copy")
        holder = sqlite3.connect(root / ".localstore" / "index.sqlite", isolation_level=None)
        holder.execute(statement)
        for storage in (STORAGES[".json"](root), follower, writer):
            assert answers(storage) == expected
        writer.append("s0", run_of("next", 55))
        assert answers(follower) == answers(writer) == rebuilt(root, tmp_path / "second copy")
        holder.close()


@pytest.mark.usefixtures("folding")
def test_a_flipped_bit_anywhere_is_an_error_or_harmless(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with installed(UnsyncedSystem()):
        writer = STORAGES[".json"](root, durability="relaxed")
        fill(writer)
        writer.list_sessions()
        expected = rebuilt(root, tmp_path / "copy")
        writer.close()
        path = _settled(root / ".localstore")
        sound = path.read_bytes()
        choose = random.Random(7)
        for _ in range(rounds(10, 30, 2000)):
            raw = bytearray(sound)
            raw[choose.randrange(len(raw))] ^= 1 << choose.randrange(8)
            _delete(path.parent, path)
            path.write_bytes(raw)
            storage = STORAGES[".json"](root)
            assert answers(storage) == expected
            storage.close()


_FOLDING = """
import sys
import time
from localstore import JsonStorage, Message, Run
from localstore.index import manifest_reader, manifest_writer
manifest_reader._SHORT = manifest_reader._LONG = manifest_reader._MOST_ROWS = 0
manifest_writer._SPARE_LINES = 20
root, number = sys.argv[1:]
storage = JsonStorage(root, durability="relaxed", lock_timeout=60)
for count in range(int(number), int(number) + 12):
    run = Run(run_id=f"{number}-{count}", messages=[Message(role="user", content="hi")])
    storage.append(f"s{count % 16}", run)
    storage.append(f"own-{number}", run)
    assert any(info.session_id == f"own-{number}" for info in storage.list_sessions())
"""


def test_processes_that_fold_and_compact_at_once_agree(tmp_path: Path) -> None:
    root = tmp_path / "store"
    STORAGES[".json"](root)
    count = rounds(3, 10, 64)
    processes = [subprocess.Popen([sys.executable, "-c", _FOLDING, str(root), str(number)]) for number in range(count)]
    assert [process.wait() for process in processes] == [0] * len(processes)
    now = answers(STORAGES[".json"](root))
    assert now == rebuilt(root, tmp_path / "copy")
    assert len(STORAGES[".json"](root).list_sessions()) == len(oracle.document_paths(root))
    oracle.assert_sound(root)


def test_processes_that_are_killed_while_they_fold_leave_right_answers(tmp_path: Path) -> None:
    root = tmp_path / "store"
    STORAGES[".json"](root)
    choose = random.Random(5)
    for number in range(rounds(3, 10, 300)):
        process = subprocess.Popen([sys.executable, "-c", _FOLDING, str(root), str(number)])
        deadline = time.monotonic() + 60
        while not (root / "sessions").exists() or not any(root.glob(f"sessions/*/own-{number}.json")):
            assert process.poll() is None
            assert time.monotonic() < deadline
        time.sleep(choose.random() / 20)  # any moment will do
        process.kill()
        process.wait()
    storage = STORAGES[".json"](root)
    assert answers(storage) == rebuilt(root, tmp_path / "copy")
    assert len(storage.list_sessions()) == len(oracle.document_paths(root))
    for path in root.rglob(".*.tmp"):  # what a killed process was writing
        path.unlink()
    oracle.assert_sound(root)


_ON_A_FULL_DISK = """
import json, resource, signal, sys
from localstore import JsonStorage
from tests.crash.answers import answers
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
print(json.dumps(answers(JsonStorage(sys.argv[1])), default=str))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files")
@pytest.mark.parametrize("size", [0, 5_000, 30_000])
def test_on_a_full_disk_the_index_is_kept_in_memory(size: int, tmp_path: Path) -> None:
    """Files may not grow beyond a size, in the process that folds the manifest."""
    root = tmp_path / "store"
    with installed(UnsyncedSystem()):
        fill(STORAGES[".json"](root, durability="relaxed"))
    expected = rebuilt(root, tmp_path / "copy")
    # Without -B, a compiled module that is cut off would stay, and no later process could load it.
    command = [sys.executable, "-B", "-c", _ON_A_FULL_DISK, str(root), str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=_HOME)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(json.dumps(expected, default=str))
    assert answers(STORAGES[".json"](root)) == expected
