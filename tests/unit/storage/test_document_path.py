"""Finding the session whose document is at a path."""

import os
from pathlib import Path

import pytest

from localstore import DocumentBroken, SessionNotFound
from tests.unit.raw import Storage, answered


def test_a_path_names_the_session_of_its_document(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be relative, lead through a link, and belong to a file that a person moved or gave another id."""
    for session_id in ("a", "b"):
        storage.append(session_id, answered("r"))
    path = storage.path("a")
    (tmp_path / "link").symlink_to(path)
    monkeypatch.chdir(path.parent)
    for given in (path, str(path), path.name, f"../{path.parent.name}/{path.name}", tmp_path / "link"):
        assert storage.session_at(given).session_id == "a"
    assert storage.session_at(path).runs == 1
    moved = path.rename(path.with_stem("moved"))
    assert storage.session_at(moved).session_id == "a"
    moved.write_text(moved.read_text().replace('"a"', '"new"').replace(" a\n", " new\n"))
    assert storage.session_at(moved).session_id == "new"
    assert storage.session_at(storage.path("b")).session_id == "b"


def test_a_file_that_is_no_document_is_refused_with_the_reason(storage: Storage, tmp_path: Path) -> None:
    storage.append("a", answered("r"))
    path = storage.path("a")
    copy = path.with_stem("copy")
    copy.write_bytes(path.read_bytes())
    broken, odd, outside = path.with_stem("broken"), storage.root / "sessions" / "odd.json", tmp_path / "outside.json"
    for file in (broken, odd, outside):
        file.write_text("{")
    storage.list_sessions()
    for file, why in (
        (copy, f"is a copy of session 'a', whose document is {path}."),
        (odd, "is not in a month folder"),
        (outside, f"is not in the store {storage.root}."),
        (path.with_stem("gone"), "There is no file "),
        (storage.root / "localstore.json", "is not the document of a session."),
        (path.parent, "is not the document of a session."),
        (Path("a\0b"), "There is no file "),
    ):
        with pytest.raises(SessionNotFound) as refused:
            storage.session_at(file)
        assert why in str(refused.value)
        assert str(file) in str(refused.value)
    with pytest.raises(DocumentBroken, match="broken"):
        storage.session_at(broken)
    with pytest.raises(TypeError, match="path must be a path"):
        storage.session_at(5)  # type: ignore[arg-type]
    assert os.listdir(path.parent)
