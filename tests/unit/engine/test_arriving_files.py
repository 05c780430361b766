"""Files that a sync tool is still bringing, or has taken away, are named, left alone, and never taken for missing."""

from pathlib import Path

import pytest

from localstore import DocumentBroken
from localstore.disk import filesystem
from localstore.disk.document_file import ELSEWHERE
from localstore.maintenance.check import check
from localstore.maintenance.repair import repair
from tests.unit.raw import Storage, answered, run_ids

TEMPORARY = (".syncthing.{}.tmp", "~syncthing~{}.tmp", ".{}.Xy12Zz", ".{}.~1a2b", "{}.part", "{}.crdownload", "~${}")


def again(storage: Storage) -> Storage:
    return type(storage)(storage.root)


@pytest.mark.parametrize("pattern", TEMPORARY)
def test_a_temporary_file_of_a_tool_is_named_and_left_alone(storage: Storage, pattern: str) -> None:
    storage.append("trip", answered("r1"))
    path = storage.path("trip")
    temporary = path.with_name(pattern.format(path.name))
    temporary.write_bytes(path.read_bytes()[:100])
    temporary.chmod(0o644)
    for opened in (storage, again(storage)):
        assert [info.session_id for info in opened.list_sessions()] == ["trip"]
        assert list(opened.ignored_files()) == [temporary]
        assert opened.unreadable_files() == {}
        opened.append("trip", answered("r2"))
    for findings in (check(storage), repair(storage), check(storage)):
        assert [(one.severity, one.path) for one in findings] == [("note", str(temporary))]
    assert temporary.read_bytes() == path.read_bytes()[:100]


@pytest.mark.parametrize("is_known", [True, False], ids=["with the index", "without the index"])
def test_a_document_that_icloud_took_elsewhere_is_not_made_again(storage: Storage, is_known: bool) -> None:
    """The session was gone, and the next run made a new document, which iCloud would have made a conflict of."""
    storage.append("trip", answered("r1"))
    storage.append("other", answered("r1"))
    path = storage.path("trip")
    placeholder = path.with_name(f".{path.name}.icloud")
    path.rename(placeholder)
    if not is_known:
        for file in (storage.root / ".localstore").iterdir():
            if file.is_file():
                file.unlink()
    for opened in (storage, again(storage)) if is_known else (again(storage),):
        for call in (opened.read, opened.delete_session, lambda name: storage.append(name, answered("r2"))):
            with pytest.raises(DocumentBroken, match="iCloud") as caught:
                call("trip")
            assert caught.value.path == str(placeholder)
        assert [info.session_id for info in opened.list_sessions()] == ["other"]
        assert "iCloud" in opened.ignored_files()[placeholder]
    assert not path.exists()
    placeholder.rename(path)
    storage.append("trip", answered("r3"))
    assert run_ids(path) == ["r1", "r3"]


@pytest.mark.parametrize("content", [b"", bytes(500)], ids=["empty", "NUL"])
def test_a_document_that_lost_its_content_is_left_alone(storage: Storage, content: bytes) -> None:
    storage.append("trip", answered("r1"))
    path = storage.path("trip")
    path.write_bytes(content)
    for opened in (storage, again(storage)):
        for call in (opened.read, lambda name: storage.append(name, answered("r2"))):
            with pytest.raises(DocumentBroken, match="sync tool") as caught:
                call("trip")
            assert caught.value.path == str(path)
    for findings in (check(storage), repair(storage)):
        errors = [one for one in findings if one.severity == "error"]
        assert [(one.path, one.kind) for one in errors] == [(str(path), None)]
        assert "sync tool" in errors[0].advice
    assert path.read_bytes() == content


def test_a_document_whose_content_is_not_on_this_machine_is_not_fetched(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading the document would wait for the network, for each of thousands of sessions."""
    storage.append("trip", answered("r1"))
    storage.append("other", answered("r1"))
    path = storage.path("trip")
    storage.rate("trip", "r1", "good")
    inode = path.stat().st_ino
    monkeypatch.setattr("localstore.disk.document_file.is_elsewhere", lambda status: status.st_ino == inode)
    read = filesystem.System.read

    def refuse(system: filesystem.System, fd: int, size: int, offset: int) -> bytes:
        assert system.status_of(fd).st_ino != inode
        return read(system, fd, size, offset)

    monkeypatch.setattr(filesystem.System, "read", refuse)
    path.chmod(0o640)  # evicting a file changes its status
    for opened in (storage, again(storage)):
        for call in (opened.read, lambda name: storage.append(name, answered("r2"))):
            with pytest.raises(DocumentBroken, match="not on this machine"):
                call("trip")
        problems = {info.session_id: info.problem for info in opened.list_sessions()}
        assert problems["other"] is None
        assert problems["trip"] is not None
        assert ELSEWHERE in problems["trip"]
    (error,) = [one for one in check(storage) if one.severity == "error" and one.kind is None]
    assert (error.path, error.problem) == (str(path), ELSEWHERE)


def test_flags_of_macos_and_windows_say_that_the_content_is_elsewhere() -> None:
    from types import SimpleNamespace
    from typing import Any

    from localstore.disk.document_file import is_elsewhere

    def status(**flags: int) -> Any:
        return SimpleNamespace(**flags)

    assert is_elsewhere(status(st_flags=0x40000000))
    assert is_elsewhere(status(st_file_attributes=0x00400020))
    assert not is_elsewhere(status(st_flags=0x20))
    assert not is_elsewhere(Path().stat())
