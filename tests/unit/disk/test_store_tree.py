"""The folders of a store: they are private and recognised; older, newer and other folders are refused."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from localstore import JsonStorage, NewerFormat, OlderFormat, StoreNotFound
from localstore.disk import store_tree
from tests.unit.conftest import StorageClass
from tests.unit.raw import answered
from tests.unit.watched_disk import WatchedDisk

TIME = "2026-11-22T07:01:20.123Z"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_new_store_is_laid_out_and_private(tmp_path: Path) -> None:
    root = store_tree.open_store(tmp_path / "a" / "store", create=True)
    names = [".gitignore", ".localstore", "localstore.json", "schemas", "sessions"]
    assert sorted(path.name for path in root.iterdir()) == names
    assert json.loads((root / "localstore.json").read_bytes())["format"] == 1
    assert json.loads((root / "schemas" / "session-1.schema.json").read_bytes())["type"] == "object"
    storage = JsonStorage(root)
    storage.append("s1", answered("r1"))
    storage.update("s1", name="n")
    for path in root.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert [path.parent.name for path in root.glob("sessions/*/*")] == [
        storage.list_sessions()[0].as_dict()["created_at"][:7]
    ]


def test_the_marker_is_written_last_but_for_the_place_of_the_store(tmp_path: Path, disk: WatchedDisk) -> None:
    store_tree.open_store(tmp_path / "store", create=True)
    assert [call.name for call in disk.of("replace")][-2:] == ["localstore.json", "place.json"]


def test_opening_a_store_writes_nothing(tmp_path: Path, disk: WatchedDisk) -> None:
    JsonStorage(tmp_path / "store").append("s1", answered("r1"))
    disk.forget()
    JsonStorage(tmp_path / "store", create=False).list_sessions()
    assert not disk.of("write", "replace", "make_folder", "unlink")


def test_the_root_is_a_real_path(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    first, second = JsonStorage(tmp_path / "link"), JsonStorage(tmp_path / "real" / ".." / "real")
    assert first.root == second.root == (tmp_path / "real").resolve()


def test_a_missing_store_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(StoreNotFound) as caught:
            JsonStorage(path, create=False)
        assert caught.value.path == str(path)
    assert os.listdir(tmp_path) == []


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(StoreNotFound):
        JsonStorage(tmp_path / "file", create=False)
    with pytest.raises(NotADirectoryError, match=r"Use another path: '.*file'"):
        JsonStorage(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"x"


@pytest.mark.parametrize("marker", ["", "[]", "{}", '{"format": "1"}', '{"format": 0}', '{"format": true}', "\xff"])
def test_a_marker_that_says_no_format_is_refused(tmp_path: Path, marker: str) -> None:
    (tmp_path / "localstore.json").write_bytes(marker.encode("latin-1"))
    with pytest.raises(StoreNotFound, match="does not say which format"):
        JsonStorage(tmp_path)


@pytest.mark.parametrize(
    ("marker", "what"),
    [
        ("", "it is empty"),
        ("{{", "it is not JSON"),
        ("[1]", "it is JSON, but not an object"),
        ('{"name": "x", "\\u001b[2J": 1}', 'it has the keys "name", "\\u001b[2J", but no "format"'),
        ('{"a": 1, "b": 1, "c": 1, "d": 1, "e": 1, "f": 1}', 'the keys "a", "b", "c", "d", "e", ..., but no'),
        ('{"format": "1.0"}', 'it has the "format" "1.0"'),
    ],
)
def test_the_error_for_a_file_of_another_program_says_what_is_in_it(tmp_path: Path, marker: str, what: str) -> None:
    """The error said to put a format into the file, which would have destroyed another program's settings."""
    (tmp_path / "localstore.json").write_text(marker)
    with pytest.raises(StoreNotFound) as caught:
        JsonStorage(tmp_path)
    assert what in str(caught.value)
    assert str(caught.value).endswith("It may belong to another program. Use another folder for the store.")
    assert contents(tmp_path) == {"localstore.json": marker.encode()}
    assert store_tree.is_foreign(tmp_path)


def test_the_error_for_a_damaged_marker_of_a_store_says_what_was_in_it(tmp_path: Path) -> None:
    root = JsonStorage(tmp_path / "store").root
    before = (root / "localstore.json").read_bytes()
    (root / "localstore.json").write_text("")
    with pytest.raises(StoreNotFound, match=r"it is empty\. Nothing was changed\. Restore the file") as caught:
        JsonStorage(root)
    assert str(caught.value).endswith(f"it was {json.dumps(json.loads(before))}.")
    assert not store_tree.is_foreign(root)


def test_a_newer_store_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    root = JsonStorage(tmp_path / "store").root
    (root / "localstore.json").write_text('{"format": 2}')
    before = contents(root)
    with pytest.raises(NewerFormat, match="has format 2"):
        JsonStorage(root)
    assert contents(root) == before


def test_keys_of_a_later_release_in_the_marker_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "localstore.json").write_text('{"format": 1, "colour": "blue"}')
    JsonStorage(tmp_path).append("s1", answered("r1"))


def agno(kind: str) -> dict[str, Any]:
    """A small session as agno 1.x writes it."""
    run = {
        "content": "Vienna.",
        "run_id": "60ec",
        "session_id": "travel-2025",
        "messages": [],
        "created_at": 1795331435,
    }
    common = {"session_id": "travel-2025", "user_id": "alice", "extra_data": None, "created_at": 1795331435}
    data = {"session_data": {"session_state": {}}, "updated_at": 1795331435}
    memory = {"memory": {"summaries": {}, "memories": {}, "runs": [run]}}
    return {
        "agent": {**common, "team_session_id": None, **memory, **data, "agent_id": "geographer", "agent_data": {}},
        "team": {**common, "team_id": "atlas", **memory, "team_data": {"mode": "route"}, **data},
        "workflow": {**common, "workflow_id": "digest", "runs": [run], "workflow_data": {"name": "d"}, **data},
    }[kind]


@pytest.mark.parametrize("kind", ["agent", "team", "workflow"])
@pytest.mark.parametrize("suffix", ["json", "yaml"])
@pytest.mark.parametrize("create", [True, False])
def test_a_folder_of_agno_1_is_refused_and_stays_as_it_is(
    tmp_path: Path, kind: str, suffix: str, create: bool, storage_class: StorageClass
) -> None:
    session = agno(kind)
    text = json.dumps(session, indent=4) if suffix == "json" else yaml.safe_dump(session, sort_keys=True)
    (tmp_path / f"travel-2025.{suffix}").write_text(text)
    (tmp_path / "notes.txt").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(OlderFormat, match="agno 1") as caught:
        storage_class(tmp_path, create=create)
    assert caught.value.path == str(tmp_path)
    assert contents(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", f"travel-2025.{suffix}"]


@pytest.mark.parametrize(
    "files",
    [
        {"package.json": '{"name": "x"}', "notes.md": "session_id memory"},
        {"data.json": '{"session_id": 1}'},
        {"config.yaml": "memory: 512\n"},
        {"settings.json": '{"session_id": "abc", "memory": 1}'},
    ],
)
def test_a_folder_of_other_files_becomes_a_store_beside_them(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    JsonStorage(tmp_path).append("s1", answered("r1"))
    assert {name: (tmp_path / name).read_text() for name in files} == files


@pytest.mark.parametrize(
    ("created_at", "month"),
    [(TIME, "2026-11"), ("1999-01-01", "1999-01"), ("2026-13-01", None), ("yesterday", None), ("../../x", None)],
)
def test_a_document_goes_to_the_month_of_its_creation(created_at: str, month: str | None) -> None:
    path = store_tree.new_path("s1", created_at, ".json")
    assert path == f"sessions/{month}/s1.json" if month else path.count("/") == 2
    assert ".." not in path


def test_hidden_and_foreign_names_are_no_documents(tmp_path: Path) -> None:
    folder = tmp_path / "sessions" / "2026-11"
    folder.mkdir(parents=True)
    for name in ("a.json", "b.yaml", ".c.json", "d.yml", "e.txt", "f.json~", ".g.json.1f.tmp", "H.JSON"):
        (folder / name).write_bytes(b"")
    (tmp_path / "sessions" / ".hidden").mkdir()
    (tmp_path / "sessions" / "file").write_bytes(b"")
    (tmp_path / "sessions" / "link").symlink_to(folder)
    assert list(store_tree.folders(str(tmp_path))) == ["sessions/2026-11"]
    found = sorted(store_tree.documents(str(tmp_path), "sessions/2026-11"))
    assert found == ["sessions/2026-11/a.json", "sessions/2026-11/b.yaml"]


@pytest.mark.skipif(os.name != "posix", reason="names of bytes are a matter of POSIX")
def test_names_that_are_no_text_are_left_alone(tmp_path: Path) -> None:
    storage = JsonStorage(tmp_path / "store")
    storage.append("s1", answered("r1"))
    path = storage.path("s1")
    odd = os.fsencode(path.parent) + b"/\xff.json"
    os.rename(path, odd)
    os.mkdir(os.fsencode(storage.root / "sessions") + b"/\xfe")
    assert storage.list_sessions() == []
    assert storage.read("s1") is None
    storage.append("s2", answered("r2"))
    assert storage.get_all_session_ids() == ["s2"]
    assert os.path.exists(odd)


def test_a_store_without_a_sessions_folder_is_empty(tmp_path: Path) -> None:
    storage = JsonStorage(tmp_path / "store")
    (storage.root / "sessions").rmdir()
    assert storage.list_sessions() == []
    assert storage.read("s1") is None
    storage.append("s1", answered("r1"))
    assert storage.get_all_session_ids() == ["s1"]


def test_sessions_behind_a_link_are_refused(tmp_path: Path) -> None:
    """Regression: documents were written outside the store."""
    root = JsonStorage(tmp_path / "store").root
    (root / "sessions").rename(tmp_path / "elsewhere")
    (root / "sessions").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreNotFound, match="links are not followed"):
        JsonStorage(root)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    (tmp_path / "link").symlink_to(JsonStorage(tmp_path / "whole").root)
    assert JsonStorage(tmp_path / "link").root == (tmp_path / "whole").resolve()


def test_a_folder_that_is_no_store_any_more_keeps_the_files_of_other_programs(tmp_path: Path) -> None:
    """An upgrade that failed removed a file named manifest.jsonl that was not the store's."""
    store_tree.open_store(tmp_path, create=True)
    (tmp_path / "manifest.jsonl").write_text('{"mine": 1}\n')
    assert store_tree.remove_store_files(tmp_path)
    assert (tmp_path / "manifest.jsonl").read_text() == '{"mine": 1}\n'
    assert not (tmp_path / "localstore.json").exists()
