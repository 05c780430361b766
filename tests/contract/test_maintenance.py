"""Sessions of other programs are imported, and old ones are pruned, in every storage."""

from pathlib import Path

from localstore import Filter, Item, JsonStorage, SessionStorage
from tests.contract.runs import answered, document, read
from tests.unit.maintenance.importing.claude_lines import SESSION, ClaudeFile


def ids(storage: SessionStorage) -> list[str]:
    return sorted(storage)


def test_sessions_of_another_program_are_imported(storage: SessionStorage, tmp_path: Path) -> None:
    """A storage gets what a folder gets, also where a branch becomes a fork. What was changed here stays."""
    folder = JsonStorage(tmp_path / "other", durability="relaxed")
    both = (storage, folder)
    file = ClaudeFile()
    file.asks("u1", "Which train?")
    first = file.says("a1", "The one at 7:58.")
    file.asks("u2", "And back?")
    file.says("a2", "At 17:02.")
    path = file.write(tmp_path / "claude")
    planned = storage.import_from("claude-code", path, dry_run=True)
    assert (planned.added, planned.runs, len(storage)) == ((SESSION,), 2, 0)
    done = storage.import_from("claude-code", path)
    assert (done.added, done.runs, done.skipped) == ((SESSION,), 2, ())
    assert storage.import_from("claude-code", path).unchanged == 1
    folder.import_from("claude-code", path)
    for one in both:
        one.rate(SESSION, "u1", "good")
    file.last = first
    file.asks("u3", "And to Graz?")
    file.says("a3", "At 9:02.")
    path = file.write(tmp_path / "claude")
    results = [one.import_from("claude-code", path) for one in both]
    assert results[0] == results[1]
    assert [run.run_id for run in read(storage, SESSION).runs] == ["u1", "u3"]
    assert ids(storage) == ids(folder)
    assert len(ids(storage)) == 2
    for session_id in ids(storage):
        assert document(storage, session_id) == document(folder, session_id)
    assert read(storage, SESSION).runs[0].rating == "good"


def test_another_session_with_the_id_of_an_imported_one_stays(storage: SessionStorage, tmp_path: Path) -> None:
    storage.append(SESSION, answered("r1"), user_id="alice")
    before = storage.revision(SESSION)
    file = ClaudeFile()
    file.asks("u1", "Which train?")
    (skipped,) = storage.import_from("claude-code", file.write(tmp_path / "claude")).skipped
    assert "another session with this id" in skipped.problem
    assert storage.revision(SESSION) == before


def test_old_sessions_go_to_the_trash(storage: SessionStorage) -> None:
    for number in range(1, 5):
        made_at = f"2026-01-0{number}T10:00:00Z"
        storage.append(f"s{number}", answered("r1", created_at=made_at), user_id="bob" if number == 1 else "alice")
    storage.append_items("s4/a", [Item(1, created_at="2026-01-01T10:00:00Z")], user_id="alice", part_of="s4")
    storage.append("new", answered("r1"))
    found = storage.prune(Filter(user="alice"), older_than="1d", keep=1, dry_run=True)
    assert ([info.session_id for info in found.sessions], found.removal) == (["s3", "s2"], None)
    assert storage.prune(larger_than=10**9).sessions == ()
    assert not storage.prune(Filter(user="alice"), older_than="1d", keep=1).problems
    assert ids(storage) == ["new", "s1", "s4", "s4/a"]  # a sub-session goes with its session, and not before
    storage.prune(older_than="1d", keep=2)
    assert ids(storage) == ["new", "s4", "s4/a"]
    storage.prune(older_than="1d")
    assert ids(storage) == ["new"]
    assert sorted(str(one.session_id) for one in storage.trashed()) == ["s1", "s2", "s3", "s4", "s4/a"]
