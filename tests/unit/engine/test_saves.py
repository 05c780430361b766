"""A person saves a document at each moment of a write by localstore: both are kept.

An editor takes no lock. It saves by renaming a new file over the document, or by writing it in place.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localstore import JsonStorage, LocalstoreError, YamlStorage
from localstore.disk import filesystem, rename_flags
from localstore.maintenance.trash import throw_away
from localstore.maintenance.upgrade import convert
from localstore.maintenance.upgrade import undo as undo_migration
from tests import oracle
from tests.effort import rounds
from tests.unit.conftest import StorageClass
from tests.unit.raw import answered, parse, run_ids

Storage = JsonStorage | YamlStorage
TYPED = "typed by a person"
_STEP = rounds(5, 1, 1)
"""A person saves before each call to the disk, at the default level before every third one."""
_CALLS = {name for name in vars(filesystem.System) if not name.startswith("_")}


class SavingSystem(filesystem.System):
    """Calls `save` once: before the call to the disk with the number `at`, counted from 1."""

    def __init__(self, at: int, save: Callable[[], None]) -> None:
        self._left = at
        self._save = save

    @property
    def has_saved(self) -> bool:
        return self._left <= 0

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name not in _CALLS:
            return value

        def call(*arguments: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                self._save()
            return value(*arguments)

        return call


def by_rename(path: Path, data: bytes) -> None:
    other = path.with_name("editor~")
    other.write_bytes(data)
    other.replace(path)


def in_place(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def document(root: Path) -> Path:
    """The document that a person sees; of two, the one that was there first."""
    paths = sorted(root.glob("sessions/*/s.*"), key=lambda path: path.stat().st_ctime_ns)
    return paths[0]


def save(root: Path, how: Callable[[Path, bytes], None]) -> None:
    """Add something to what the document holds now, unless it has been removed."""
    with contextlib.suppress(IndexError, FileNotFoundError):
        path = document(root)
        data = path.read_bytes()
        assert data.count(b"as it was") == 1
        how(path, data.replace(b"as it was", TYPED.encode()))


def prepared(storage_class: StorageClass, root: Path) -> Storage:
    storage = storage_class(root)
    storage.append("s", answered("r1"))
    storage.update("s", metadata={"note": "as it was"})
    for number in (2, 3):
        storage.append("s", answered(f"r{number}"))
    return storage


def _upsert(storage: Storage) -> None:
    session = storage.read("s")
    assert session is not None
    session.runs[0].messages[0].content = "changed"
    storage.upsert(session)


def _convert(storage: Storage) -> None:
    done = convert(storage, "yaml" if isinstance(storage, JsonStorage) else "json")
    assert done.documents, done.problems


def _undo_conversion(storage: Storage) -> None:
    done = undo_migration(storage.root)
    assert not done.problems


def _says(key: str, value: object) -> Callable[[Path], bool]:
    return lambda path: parse(path).get(key) == value


def _is_changed(path: Path) -> bool:
    return "changed" in path.read_text()


CALLS: dict[str, tuple[Callable[[Storage], object], Callable[[Path], bool]]] = {
    "rename": (lambda storage: storage.update("s", name="new"), _says("name", "new")),
    "tag": (lambda storage: storage.update("s", tags=["a", "b"]), _says("tags", ["a", "b"])),
    "rate": (lambda storage: storage.rate("s", "r1", "good"), lambda path: "good" in path.read_text()),
    "upsert": (_upsert, _is_changed),
    "append": (lambda storage: storage.append("s", answered("r4")), lambda path: run_ids(path)[-1] == "r4"),
    "undo": (lambda storage: storage.undo("s"), lambda path: run_ids(path) == ["r1", "r2"]),
    "convert": (_convert, lambda _: True),
    "undo of a conversion": (_undo_conversion, lambda _: True),
}


@pytest.mark.parametrize(
    ("name", "how"),
    [(name, by_rename) for name in CALLS] + [(name, in_place) for name in CALLS if name != "append"],
)
def test_a_save_at_any_moment_of_a_write_is_kept(
    storage_class: StorageClass, tmp_path: Path, name: str, how: Callable[[Path, bytes], None]
) -> None:
    """Regression: a rewrite looked whether somebody had saved before it wrote and synced the new file. What was saved
    in these milliseconds (70 at 30 MB) was lost, and so was a save while `convert` or its undo removed the other file.
    """
    work, has_effect = CALLS[name]
    prepared(storage_class, tmp_path / "before")
    if name.startswith("undo of"):
        _convert(storage_class(tmp_path / "before"))
    is_done = False
    at = 0
    while not is_done:
        at += _STEP
        root = tmp_path / f"store {at}"
        shutil.copytree(tmp_path / "before", root)
        storage = storage_class(root)
        assert storage.read("s") is not None
        disk = SavingSystem(at, lambda root=root: save(root, how))  # type: ignore[misc]
        is_acknowledged = True
        with _installed(disk):
            try:
                work(storage)
            except LocalstoreError:
                is_acknowledged = False
        is_done = not disk.has_saved
        (path,) = oracle.document_paths(root)
        assert is_done or TYPED in path.read_text(), f"what was saved before call {at} is lost"
        assert not is_acknowledged or has_effect(path), f"the write is lost, with a save before call {at}"
        oracle.assert_no_temporary_files(root)
        shutil.rmtree(root)
    assert at > 10


@contextlib.contextmanager
def _installed(disk: filesystem.System) -> Iterator[None]:
    before = filesystem.system
    filesystem.system = disk
    try:
        yield
    finally:
        filesystem.system = before


@pytest.mark.parametrize("how", [by_rename, in_place])
@pytest.mark.parametrize("name", ["delete", "trash"])
def test_a_save_at_any_moment_of_a_deletion_is_deleted_with_the_document_or_kept(
    storage_class: StorageClass, tmp_path: Path, name: str, how: Callable[[Path, bytes], None]
) -> None:
    """A document that was saved before it went is in the trash as it was saved; one saved after that stays."""
    prepared(storage_class, tmp_path / "before")
    is_done = False
    at = 1 - _STEP
    while not is_done:
        at += _STEP
        root = tmp_path / f"store {at}"
        shutil.copytree(tmp_path / "before", root)
        storage = storage_class(root)
        disk = SavingSystem(at, lambda root=root: save(root, how))  # type: ignore[misc]
        with _installed(disk):
            if name == "delete":
                assert storage.delete_session("s")
            else:
                throw_away(storage, "s")
        is_done = not disk.has_saved
        assert storage.read("s") is None
        trash = [path.read_text() for path in (root / ".localstore").glob("trash/*/sessions/*/*")]
        assert len(trash) == (name == "trash")
        oracle.assert_no_temporary_files(root)
        shutil.rmtree(root)
    assert at > 10


def test_a_document_that_a_person_replaces_by_another_sessions_is_not_deleted(
    storage_class: StorageClass, tmp_path: Path
) -> None:
    """Regression: a deletion removed whatever had the path by then, also the document of another session."""
    prepared(storage_class, tmp_path / "before")
    storage_class(tmp_path / "before").append("other", answered("o1"))
    other = next((tmp_path / "before").glob("sessions/*/other.*")).read_bytes()
    for at in range(1, 60, _STEP):
        root = tmp_path / f"store {at}"
        shutil.copytree(tmp_path / "before", root)
        storage = storage_class(root)

        def swap(root: Path = root) -> None:
            with contextlib.suppress(IndexError):
                by_rename(document(root), other)

        disk = SavingSystem(at, swap)
        with _installed(disk):
            storage.delete_session("s")
        now = [path.read_bytes() for path in oracle.document_paths(root)]
        assert now.count(other) >= 1
        shutil.rmtree(root)


@pytest.mark.skipif(not filesystem.TELLS_WRITERS, reason="only Linux tells whether a file is open for writing")
@pytest.mark.parametrize("moment", ["before the look", "before the exchange"])
def test_a_program_that_opened_the_document_before_it_was_replaced_may_still_write(
    storage_class: StorageClass, tmp_path: Path, moment: str
) -> None:
    """Regression: a program that had the document open wrote into the old file after it was replaced and removed."""
    storage = prepared(storage_class, tmp_path / "store")
    opened, replaced = threading.Event(), threading.Event()

    def write() -> None:
        with document(storage.root).open("r+b") as file:
            data = file.read().replace(b"as it was", TYPED.encode())
            opened.set()
            replaced.wait()
            file.seek(0)
            file.truncate()
            file.write(data)

    thread = threading.Thread(target=write)

    class Telling(filesystem.System):
        def exchange(self, first: str, second: str) -> None:
            if not opened.is_set():
                thread.start()
                opened.wait()
            super().exchange(first, second)
            replaced.set()

        def is_being_written(self, fd: int) -> bool:
            if moment == "before the look":
                replaced.set()
            return super().is_being_written(fd)

    if moment == "before the look":
        thread.start()
        opened.wait()
    with _installed(Telling()):
        storage.update("s", name="new")
    thread.join()
    assert TYPED in document(storage.root).read_text()
    assert parse(document(storage.root))["name"] == "new"
    oracle.assert_no_temporary_files(storage.root)


def test_a_document_stays_replaceable_while_a_program_keeps_it_open(
    storage_class: StorageClass, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was forked in the middle of a write may have it open for hours."""
    monkeypatch.setattr("localstore.disk.durable_files._PATIENCE", 0.05)
    storage = prepared(storage_class, tmp_path / "store")
    with document(storage.root).open("r+b"):
        storage.update("s", name="new")
    assert parse(document(storage.root))["name"] == "new"


@pytest.mark.parametrize("number", [38, 22, 95])
def test_a_file_system_without_exchanges_is_looked_at_right_before_the_rename(
    storage_class: StorageClass, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    storage = prepared(storage_class, tmp_path / "store")

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(rename_flags, "_rename", refuse)
    synced = filesystem.System.sync
    saved = False

    def save_once(self: filesystem.System, fd: int) -> None:
        nonlocal saved
        synced(self, fd)
        if not saved:
            saved = True
            save(storage.root, by_rename)

    monkeypatch.setattr(filesystem.System, "sync", save_once)
    storage.update("s", name="new")
    storage.append("t", answered("r1"))
    _convert(storage)
    texts = [path.read_text() for path in oracle.document_paths(storage.root)]
    assert any(TYPED in text and "new" in text for text in texts)
    assert len(texts) == 2
    oracle.assert_no_temporary_files(storage.root)
