"""The marks in a lock file: where they stand, and that none is lost."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from localstore.disk import boot
from localstore.disk.boot import boot_hash
from localstore.disk.write_marks import WriteMarks
from localstore.format.write_mark import WriteMark, mark_of
from tests.unit.watched_disk import WatchedDisk


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[tuple[int, str]]:
    path = str(tmp_path / "07.lock")
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    yield fd, path
    os.close(fd)


def mark(session_id: str, boot: str | None = None, size: int = 100) -> WriteMark:
    return mark_of(session_id, size, b"old", b"new and more", boot or boot_hash())


def test_a_mark_is_found_by_the_next_holder_and_gone_once_it_is_cleared(lock: tuple[int, str]) -> None:
    marks = WriteMarks(*lock)
    marks.set(mark("s"))
    assert WriteMarks(*lock).of("s") == [mark("s")]
    assert WriteMarks(*lock).of("other") == []
    marks.clear("s")
    assert WriteMarks(*lock).sessions() == set()


def test_a_mark_stands_behind_those_of_other_sessions(lock: tuple[int, str]) -> None:
    """The mark of a killed writer was overwritten, and its document could not be repaired."""
    WriteMarks(*lock).set(mark("first"))
    marks = WriteMarks(*lock)
    marks.set(mark("second"))
    assert WriteMarks(*lock).sessions() == {"first", "second"}
    marks.clear("second")
    assert WriteMarks(*lock).of("first") == [mark("first")]
    WriteMarks(*lock).set(mark("third " * 2000))
    assert WriteMarks(*lock).sessions() == {"first", "third " * 2000}


def test_what_is_left_of_longer_marks_is_no_mark(lock: tuple[int, str]) -> None:
    for session_id in ("long " * 40, "s", "longer " * 30, 'x{"session_id":"y"}', "s"):
        marks = WriteMarks(*lock)
        marks.set(mark(session_id))
        assert WriteMarks(*lock).sessions() == {session_id}
        marks.clear(session_id)
        assert WriteMarks(*lock).sessions() == set()


def test_a_mark_of_another_boot_is_known_and_proves_nothing(lock: tuple[int, str]) -> None:
    WriteMarks(*lock).set(mark("s", boot="00000000"))
    assert WriteMarks(*lock).sessions() == {"s"}
    assert WriteMarks(*lock).of("s") == []


@pytest.mark.parametrize("is_old", [True, False])
def test_without_an_id_of_the_boot_the_time_of_the_file_counts(
    lock: tuple[int, str], is_old: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    WriteMarks(*lock).set(mark("s", boot="00000000"))
    monkeypatch.setattr(boot, "is_machine_wide", lambda: False)
    monkeypatch.setattr(boot, "started_at", lambda: 2**62 if is_old else 0)
    assert bool(WriteMarks(*lock).of("s")) != is_old


def test_the_file_is_read_only_when_it_is_needed(lock: tuple[int, str], disk: WatchedDisk) -> None:
    """A short append needs no mark, and must not cost a read."""
    marks = WriteMarks(*lock)
    marks.clear("s")
    assert marks.known() == set()
    assert disk.calls == []
    marks.sessions()
    marks.of("s")
    assert len(disk.of("read")) == 1


def test_a_mark_that_cannot_be_cleared_does_no_harm(lock: tuple[int, str], disk: WatchedDisk) -> None:
    """The document was written, so the call must not fail any more."""
    marks = WriteMarks(*lock)
    marks.set(mark("s"))
    disk.fail("write", "", 1)
    marks.clear("s")
    assert marks.known() == {"s"}
    assert WriteMarks(*lock).sessions() == {"s"}
