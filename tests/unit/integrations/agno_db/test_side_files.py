"""What earlier releases kept in files beside the sessions is read, and goes to sessions without losing anything."""

import json
from pathlib import Path
from typing import Any

import pytest

from localstore import DocumentBroken, JsonStorage, YamlStorage
from localstore.databases.sql import SqliteStorage
from localstore.disk import durable_files
from localstore.integrations.agno_db.memory_sessions import MAIN, MemorySessions
from localstore.integrations.agno_db.side_files import SideFiles


def memory(memory_id: str, text: str, user_id: str | None = "alice") -> dict[str, Any]:
    return {"memory_id": memory_id, "memory": text, "user_id": user_id}


@pytest.fixture(params=[JsonStorage, YamlStorage])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> JsonStorage | YamlStorage:
    """A store with the memories of Alice, of Bob and of nobody, and versions, as an earlier release kept them."""
    opened: JsonStorage | YamlStorage = request.param(tmp_path / "store")
    folder = opened.root / "memories"
    folder.mkdir()
    for name, user, memories in (
        ("alice", "alice", [memory("m1", "likes trains"), memory("m2", "lives in Linz")]),
        ("bob", "bob", [memory("m1", "likes tea", "bob")]),
        ("_nobody", None, [memory("m4", "x", None)]),
    ):
        owner = {} if user is None else {"user_id": user}
        content = {"schema_version": 1, **owner, "memories": memories}
        (folder / f"{name}.json").write_text(json.dumps(content))
    (opened.root / "agno.json").write_text('{"schema_versions": {"sessions": "2.0.0", "memories": "2.1.0"}}')
    return opened


def kept(storage: JsonStorage | YamlStorage) -> MemorySessions:
    return MemorySessions(storage, SideFiles(storage))


def texts(memories: list[dict[str, Any]]) -> list[str]:
    return [one["memory"] for one in memories]


def files(storage: JsonStorage | YamlStorage) -> set[str]:
    return {path.name for path in [*storage.root.glob("memories/*"), *storage.root.glob("agno.json")]}


def test_reading_finds_them_and_changes_nothing(storage: JsonStorage | YamlStorage) -> None:
    """Also in a store that cannot be written to."""
    found = kept(storage)
    assert {*found.users()} == {None, "alice", "bob"}
    assert texts(found.memories("alice")) == ["likes trains", "lives in Linz"]
    assert sorted(texts(found.memories())) == ["likes tea", "likes trains", "lives in Linz", "x"]
    assert found.schema_version("memories") == "2.1.0"
    assert files(storage) == {"alice.json", "bob.json", "_nobody.json", "agno.json"}
    assert len(storage) == 0


def test_the_first_change_moves_what_it_changes(storage: JsonStorage | YamlStorage) -> None:
    found = kept(storage)
    found.change("alice", lambda memories: [memories[1], memory("m9", "plays chess")])
    assert files(storage) == {"bob.json", "_nobody.json", "agno.json"}
    assert texts(kept(storage).memories("alice")) == ["lives in Linz", "plays chess"]
    found.set_schema_version("sessions", "3.0.0")
    assert files(storage) == {"bob.json", "_nobody.json"}
    assert [kept(storage).schema_version(name) for name in ("sessions", "memories")] == ["3.0.0", "2.1.0"]
    found.change(None, lambda memories: memories)
    assert texts(kept(storage).memories()) == ["x", "lives in Linz", "plays chess", "likes tea"]
    found.clear()
    assert (kept(storage).memories(), files(storage)) == ([], set())


def test_what_was_removed_meanwhile_does_not_come_back(
    storage: JsonStorage | YamlStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The power failed before the file was removed, and a copy of the session lost a memory on purpose."""
    content = (storage.root / "memories" / "alice.json").read_bytes()
    found = kept(storage)
    found.change("alice", lambda memories: memories[1:])
    (storage.root / "memories" / "alice.json").write_bytes(content)
    found.change("alice", lambda memories: memories)
    assert texts(kept(storage).memories("alice")) == ["lives in Linz"]

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "full")

    (storage.root / "memories" / "bob.json").write_text('{"memories": [{"memory": "no id"}, {"memory": "no id"}]}')
    with monkeypatch.context() as patched:
        patched.setattr(durable_files, "remove_unchanged", fail)
        with pytest.raises(OSError, match="full"):
            found.change("bob", lambda memories: memories)
    found.change("bob", lambda memories: memories)
    assert texts(kept(storage).memories("bob")) == ["no id", "no id"]


def test_what_a_person_saves_meanwhile_is_moved_too(
    storage: JsonStorage | YamlStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = storage.root / "memories" / "alice.json"
    remove = durable_files.remove_unchanged
    more = {"memories": [memory("m1", "likes trains"), memory("m7", "typed just now")]}

    def save_first(file: str, *rest: Any, **options: Any) -> None:
        if more:
            path.write_text(json.dumps(dict(more)))
            more.clear()
        remove(file, *rest, **options)

    monkeypatch.setattr(durable_files, "remove_unchanged", save_first)
    found = kept(storage)
    found.change("alice", lambda memories: memories)
    assert texts(found.memories("alice")) == ["likes trains", "lives in Linz", "typed just now"]
    assert "alice.json" not in files(storage)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"memories": [{"memory_id": "1", "weight": 3.14159265358979323846}]}', r"3\.14159265358979323846 .* rounded"),
        ('{"memories": [], "mine": 1}', "it has the key 'mine', which would be lost"),
        ('{"memories": 3}', 'expected "memories" with a list'),
        ("{", "unexpected end"),
    ],
)
def test_what_a_person_typed_is_not_lost(storage: JsonStorage | YamlStorage, content: str, problem: str) -> None:
    """The next memory of the user rounded the number in the file: its last digits were lost."""
    path = storage.root / "memories" / "alice.json"
    path.write_text(content)
    found = kept(storage)
    with pytest.raises(DocumentBroken, match=problem):
        found.change("alice", lambda memories: memories)
    if problem.startswith(("expected", "unexpected")):  # it is never taken for none
        with pytest.raises(DocumentBroken, match=problem):
            found.clear()
    assert path.read_text() == content


def test_they_are_safe_from_a_power_cut_before_the_file_is_removed(
    storage: JsonStorage | YamlStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the storage leaves it to the system when data reaches the disk."""
    relaxed = type(storage)(storage.root, durability="relaxed")
    kept(relaxed).change("alice", lambda memories: memories)
    row = storage._engine.locate("agno-db/memories/alice")
    assert row is not None
    assert "boot" not in row  # a document that is not synced has the number of the boot there


def test_memories_are_copied_with_the_sessions(tmp_path: Path) -> None:
    """They were left behind: a folder kept them in files of their own."""
    folder, database = JsonStorage(tmp_path / "folder"), SqliteStorage(db_file=tmp_path / "x.db")
    kept(folder).change("alice", lambda _: [memory("m1", "likes trains"), memory("m2", "lives in Linz")])
    kept(folder).set_schema_version("sessions", "3.0.0")
    back = JsonStorage(tmp_path / "back")
    for source, target in ((folder, database), (database, back)):
        assert sorted(source.copy_to(target).added) == [MAIN, "agno-db/memories/alice"]
    for other in (MemorySessions(database), kept(back)):
        assert texts(other.memories()) == ["likes trains", "lives in Linz"]
        assert other.schema_version("sessions") == "3.0.0"
    MemorySessions(database).change("alice", lambda memories: memories[1:])
    database.copy_to(folder)
    folder.copy_to(database)
    assert texts(kept(folder).memories("alice")) == texts(MemorySessions(database).memories("alice"))
    assert texts(kept(folder).memories("alice")) == ["lives in Linz"]
