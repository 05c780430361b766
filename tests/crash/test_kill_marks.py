"""A process is killed at every one of its writes to a document: the mark that it leaves says how to repair it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from localstore import JsonStorage, Message, Run, YamlStorage
from localstore.disk.file_names import stripe
from localstore.disk.locks import STRIPES
from tests import oracle
from tests.crash import victim_of_kill
from tests.crash.writer import STORAGES
from tests.crashes import lock_file
from tests.forked_function import exit_code

Storage = JsonStorage | YamlStorage
_HOME = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="kill -9")


def _run(run_id: str, answer: str = "good day") -> Run:
    messages = [Message(role="user", content="hello"), Message(role="assistant", content=answer)]
    return Run(run_id=run_id, messages=messages)


def _kill(root: Path, suffix: str, number: int, size: int) -> bool:
    """Append in another process, which is killed at a write. Return False if it made fewer writes."""
    return exit_code(victim_of_kill.append, str(root), suffix, number, size) == -signal.SIGKILL


def _is_marked(root: Path) -> bool:
    return b'\0{"session_id":"s"' in lock_file(root, "s").read_bytes()


def _ids(root: Path, suffix: str) -> list[str]:
    session = STORAGES[suffix](root).read("s")
    assert session is not None
    return [run.run_id for run in session.runs]


@pytest.mark.parametrize("size", [10, 4000], ids=["short", "long"])
@pytest.mark.parametrize("suffix", sorted(STORAGES))
def test_the_next_opening_repairs_what_a_killed_process_left(suffix: str, size: int, tmp_path: Path) -> None:
    """A process that was killed between the two writes of an append left a file that `jq` could not read until the next
    write to that session. A short append is one write; after a long one, opening the store repairs the document."""
    root, number, torn, killed = tmp_path / "store", 0, 0, True
    STORAGES[suffix](root).append("s", _run("r1"))
    (path,) = oracle.document_paths(root)
    while killed:
        number += 1
        killed = _kill(root, suffix, number, size)
        try:
            oracle.parse(path)
        except ValueError:
            torn += 1
            assert _is_marked(root)
        STORAGES[suffix](root)
        document = oracle.parse(path)
        oracle.assert_own_layout(document)
        assert document.run_ids in (["r1"], ["r1", "killed"])
        assert not _is_marked(root)
        assert _ids(root, suffix) == document.run_ids
        if document.run_ids == ["r1", "killed"]:
            break
    assert (torn > 0) == (size == 4000)
    assert number > 1 or size == 10


def _torn_store(root: Path, suffix: str) -> Path:
    """Return the document of a store in which a process was killed between the two writes of an append."""
    storage = STORAGES[suffix](root)
    storage.append("s", _run("r1"))
    path = storage.path("s")
    assert _kill(root, suffix, 3, 4000)
    assert _is_marked(root)
    with pytest.raises(ValueError, match=r"."):
        oracle.parse(path)
    return path


def _neighbour() -> str:
    """Return the id of another session with the same lock file."""
    return next(f"n{i}" for i in range(10_000) if stripe(f"n{i}", STRIPES) == stripe("s", STRIPES))


@pytest.mark.parametrize("suffix", sorted(STORAGES))
def test_a_write_to_another_session_repairs_what_its_lock_file_names(suffix: str, tmp_path: Path) -> None:
    """The mark of one session must not be lost when a session with the same lock file is written to."""
    root = tmp_path / "store"
    storage = STORAGES[suffix](root)
    storage.append(_neighbour(), _run("other"))
    _torn_store(root, suffix)
    storage.append(_neighbour(), _run("next", "long " * 4000))
    assert not _is_marked(root)
    sessions = oracle.sessions(root)
    assert sessions["s"].run_ids in (["r1"], ["r1", "killed"])
    assert sessions[_neighbour()].run_ids == ["other", "next"]


@pytest.mark.parametrize("suffix", sorted(STORAGES))
def test_a_mark_that_cannot_be_used_now_is_kept(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in one session must neither fail the write to another one, nor lose the mark."""
    root = tmp_path / "store"
    storage = STORAGES[suffix](root)
    storage.append(_neighbour(), _run("other"))
    path = _torn_store(root, suffix)
    path.chmod(0o400)
    monkeypatch.setattr("localstore.engine.opening.Transaction", _refusing(path))
    storage.append(_neighbour(), _run("next", "long " * 4000))
    storage.append(_neighbour(), _run("last", "long " * 4000))
    monkeypatch.undo()
    path.chmod(0o600)
    assert _is_marked(root)
    storage.append("s", _run("r2"))
    assert not _is_marked(root)
    sessions = oracle.sessions(root)
    assert sessions["s"].run_ids in (["r1", "r2"], ["r1", "killed", "r2"])
    assert sessions[_neighbour()].run_ids == ["other", "next", "last"]


def _refusing(path: Path) -> type:
    from localstore.engine.transaction import Transaction

    class Refusing(Transaction):
        """Cannot open one document."""

        def __init__(self, root: str, row: object, *more: object, **options: object) -> None:
            if f"{root}/{row['path']}" == str(path):  # type: ignore[index]
                raise PermissionError(13, "injected", str(path))
            super().__init__(root, row, *more, **options)  # type: ignore[arg-type]

    return Refusing


@pytest.mark.parametrize("suffix", sorted(STORAGES))
def test_the_repair_keeps_the_bytes_of_the_interrupted_write(suffix: str, tmp_path: Path) -> None:
    path = _torn_store(tmp_path / "store", suffix)
    before = path.read_bytes()
    STORAGES[suffix](tmp_path / "store")
    if oracle.parse(path).run_ids == ["r1"]:
        assert json.dumps(oracle.rescued(tmp_path / "store")).count("long") == before.count(b"long")


@pytest.mark.parametrize("suffix", sorted(STORAGES))
def test_a_read_only_store_is_read_with_the_mark_and_not_changed(suffix: str, tmp_path: Path) -> None:
    """Nothing can be repaired there, and the session must be readable all the same."""
    root = tmp_path / "store"
    path = _torn_store(root, suffix)
    before = path.read_bytes()
    code = (
        "import sys\nfrom localstore.disk import filesystem\nfrom tests.crash.writer import STORAGES\n"
        "class ReadOnly(filesystem.System):\n"
        "    def open(self, path, flags):\n"
        "        if flags & 3:\n            raise PermissionError(13, 'read-only', path)\n"
        "        return super().open(path, flags)\n"
        "filesystem.system = ReadOnly()\n"
        "storage = STORAGES[sys.argv[2]](sys.argv[1])\n"
        "print([run.run_id for run in storage.read('s').runs], storage.list_sessions()[0].runs)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(root), suffix], cwd=_HOME, capture_output=True, text=True, check=False
    )
    assert done.stdout in ("['r1'] 1\n", "['r1', 'killed'] 2\n"), done.stderr
    assert path.read_bytes() == before
