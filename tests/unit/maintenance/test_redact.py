"""Redaction: what is replaced in a store, what stays, what is kept, and how it is undone."""

from pathlib import Path
from typing import Any

import pytest

from localstore import JsonStorage, LockTimeout, SessionNotFound, ToolCall, YamlStorage
from localstore.disk import backup_folder
from localstore.disk.locks import pool_of
from localstore.maintenance.check import check
from localstore.maintenance.upgrade import convert, undo
from tests import oracle
from tests.unit.maintenance.upgrade.old_folders import agno_bytes, in_month, old_session
from tests.unit.raw import Storage, answered, edit, parse, question, rescued

SECRET = "alice@example.com"  # noqa: S105 (an address)


@pytest.fixture
def leaky(storage: Storage) -> Storage:
    """A store with a session that has a secret in its name and in one of three runs, and one that has none."""
    storage.append("s", answered("r1", "plain"), user_id="bob")
    run = answered("r2", f"write to {SECRET}")
    run.messages[1].tool_calls = [ToolCall(id="c1", name="send", arguments={"to": [SECRET]})]
    run.session_state = {"last": {SECRET: 1}}
    storage.append("s", run)
    storage.append("s", answered("r3", "plain too"))
    storage.update("s", name=f"Mail to {SECRET}")
    storage.append("other", answered("r1", SECRET))
    return storage


def files_with(storage: Storage, text: str = SECRET) -> set[str]:
    """The files of a store that have this text, without the other session."""
    found = [path for path in storage.root.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]
    return {path.relative_to(storage.root).as_posix() for path in found if not path.name.startswith("other")}


def test_a_dry_run_says_what_would_be_replaced_and_writes_nothing(leaky: Storage) -> None:
    before = {path: path.read_bytes() for path in (leaky.root / "sessions").rglob("*.*")}
    done = leaky.redact("s", secrets=True, dry_run=True)
    assert (done.documents, done.count, done.backup, done.problems) == (1, 4, None, [])
    assert [(one.place, one.rule) for one in done.sessions[0].redactions] == [
        ("name", "email"),
        ("history[1].messages[0].content", "email"),
        ("history[1].messages[1].tool_calls[0].arguments.to[0]", "email"),
        ("history[1].session_state.last (key)", "email"),
    ]
    assert {path: path.read_bytes() for path in (leaky.root / "sessions").rglob("*.*")} == before
    assert backup_folder.listing(str(leaky.root)) == []


def test_the_secret_is_left_in_the_backup_alone(leaky: Storage) -> None:
    """The document, the row, the manifest, the index and the search index do not have it; what has none keeps its
    bytes."""
    assert leaky.search(f'"{SECRET}"', where=None)
    path = leaky.path("s")
    old = path.read_bytes()
    done = leaky.redact("s", secrets=True)
    backup = f".localstore/backups/{done.backup}/files/{path.relative_to(leaky.root).as_posix()}"
    leaky.delete_session("other")
    leaky.redact("s", secrets=True)  # the rows of the other session go too
    assert files_with(leaky) == {backup}
    assert (leaky.root / backup).read_bytes() == old
    for storage in (leaky, type(leaky)(leaky.root)):
        session = storage.read("s")
        assert session is not None
        assert SECRET not in str(session.model_dump())
        assert session.session_state == {"last": {"[redacted email]": 1}}
        assert [info.name for info in storage.list_sessions()] == ["Mail to [redacted email]"]
        assert storage.search("alice") == []
        assert {hit.session_id for hit in storage.search("plain")} == {"s"}
    layout_lines = path.read_bytes().split(b"r2")
    assert old.split(b"r2")[0].partition(b"history")[2] == layout_lines[0].partition(b"history")[2]
    assert [one for one in check(leaky.root) if one.severity == "error"] == []
    assert len(oracle.sessions(leaky.root)["s"].run_ids) == 3


def test_a_second_time_nothing_is_found(leaky: Storage) -> None:
    leaky.redact("s", secrets=True)
    again = leaky.redact("s", secrets=True)
    assert (again.documents, again.sessions, again.backup) == (0, (), None)
    assert len(backup_folder.listing(str(leaky.root))) == 1


def test_undo_brings_every_byte_back(leaky: Storage) -> None:
    path = leaky.path("s")
    old = path.read_bytes()
    leaky.redact(["s", "other"], secrets=True)
    assert undo(leaky.root).restored == 2
    assert path.read_bytes() == old
    assert len(leaky.search("alice")) > 1
    assert backup_folder.listing(str(leaky.root)) == []


def test_undo_keeps_what_was_added_since(leaky: Storage) -> None:
    old = parse(leaky.path("s"))
    leaky.redact("s", secrets=True)
    leaky.append("s", answered("r4", "added"))
    leaky.update("s", add_tags=["later"])
    done = undo(leaky.root)
    assert (done.restored, done.changed, done.problems) == (0, 1, [])
    new = parse(leaky.path("s"))
    assert new["history"][:-1] == old["history"]
    assert (new["history"][-1]["run_id"], new["name"], new["tags"]) == ("r4", old["name"], ["later"])


@pytest.mark.parametrize("change", ["name", "rating", "removed"])
def test_undo_leaves_what_was_changed_where_it_was_redacted_and_keeps_the_backup(leaky: Storage, change: str) -> None:
    """Its old form would be lost."""
    done = leaky.redact("s", secrets=True)
    if change == "name":
        leaky.update("s", name="Another")
    elif change == "rating":
        leaky.rate("s", "r2", "good")
    else:
        session = leaky.read("s")
        assert session is not None
        session.history = [entry for entry in session.history if getattr(entry, "run_id", "") != "r2"]
        leaky.upsert(session)
    now = leaky.path("s").read_bytes()
    (problem,) = undo(leaky.root).problems
    assert problem.problem.startswith("was changed where it was redacted. The backup still has its old form")
    assert leaky.path("s").read_bytes() == now
    assert [backup.name for backup in backup_folder.listing(str(leaky.root))] == [done.backup]


def test_undo_without_the_rules_changes_nothing(leaky: Storage) -> None:
    """Somebody has edited the file of the backup that has them."""
    done = leaky.redact("s", secrets=True)
    about = leaky.root / ".localstore" / "backups" / str(done.backup) / "backup.json"
    about.write_text(about.read_text().replace('"rules": [', '"rules": [[5], ["", "("],', 1))
    now = leaky.path("s").read_bytes()
    (problem,) = undo(leaky.root).problems
    assert problem.problem.startswith("cannot be brought back: backup.json")
    assert leaky.path("s").read_bytes() == now
    assert len(backup_folder.listing(str(leaky.root))) == 1


def test_an_undo_that_was_stopped_goes_on(leaky: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The document is back already, and the backup still has it."""
    from localstore.disk import durable_files

    old = leaky.path("s").read_bytes()
    leaky.redact("s", secrets=True)
    leaky.append("s", answered("r4"))
    with monkeypatch.context() as patched:
        patched.setattr(durable_files, "remove_file", lambda path: (_ for _ in ()).throw(OSError(5, "x", path)))
        assert undo(leaky.root).problems
    assert SECRET.encode() in leaky.path("s").read_bytes()
    assert undo(leaky.root).problems == []
    assert [run.run_id for run in leaky.read("s").runs] == ["r1", "r2", "r3", "r4"]  # type: ignore[union-attr]
    assert old.count(SECRET.encode()) == leaky.path("s").read_bytes().count(SECRET.encode())


def test_an_older_backup_brings_no_secret_back(leaky: Storage) -> None:
    convert(leaky, "yaml" if leaky._suffix == ".json" else "json")
    done = leaky.redact("s", secrets=True)
    backup_folder.Backup(str(leaky.root), str(done.backup)).remove()
    assert undo(leaky.root).changed == 1
    assert SECRET not in leaky.path("s").read_text()


def test_all_documents_of_a_session_are_redacted(leaky: Storage) -> None:
    """A copy that a sync tool made has the secret too, and a read returns the entries of both."""
    path = leaky.path("s")
    path.with_name(f"s conflict{path.suffix}").write_bytes(path.read_bytes())
    assert leaky.redact("s", secrets=True).documents == 2
    assert files_with(leaky)
    assert all("/backups/" in name for name in files_with(leaky) - {".localstore/manifest.jsonl"})


def test_ids_stay_and_are_named(storage: Storage) -> None:
    storage.append(SECRET, question("r1"), user_id=SECRET)
    before = storage.path(SECRET).read_bytes()
    done = storage.redact(SECRET, secrets=True)
    assert (done.documents, done.count) == (0, 0)
    assert [(one.place, one.is_id) for one in done.sessions[0].redactions] == [("session_id", True), ("user_id", True)]
    assert storage.path(SECRET).read_bytes() == before


def test_a_comment_with_a_secret_goes_and_others_stay(tmp_path: Path) -> None:
    storage = YamlStorage(tmp_path)
    for number in (1, 2, 3):
        storage.append("s", answered(f"r{number}", f"question {number}"))
    path = storage.path("s")
    edit(path, "kind: agent", f"kind: agent  # of {SECRET}")
    edit(path, "  run_id: r1\n", "  run_id: r1  # harmless\n")
    edit(path, "  run_id: r2\n", f"  run_id: r2  # {SECRET}\n")
    done = storage.redact("s", secrets=True)
    places = [one.place for one in done.sessions[0].redactions]
    assert places == ["comment of the header", "comment of history[1]"]
    assert SECRET not in path.read_text()
    assert "run_id: r1  # harmless\n" in path.read_text()
    undo(tmp_path)
    assert path.read_text().count(SECRET) == 2
    storage.redact("s", secrets=True)
    storage.append("s", answered("r4"))
    assert undo(tmp_path).changed == 1
    assert str(rescued(storage)).count(SECRET) == 2


def test_a_document_in_another_layout_is_redacted(tmp_path: Path) -> None:
    storage = JsonStorage(tmp_path)
    storage.append("s", answered("r1", SECRET))
    path = storage.path("s")
    path.write_bytes(b" ".join(path.read_bytes().split()))
    assert storage.redact("s", secrets=True).documents == 1
    assert parse(path)["history"][0]["messages"][0]["content"] == "[redacted email]"
    undo(tmp_path)
    assert SECRET in path.read_text()


def test_documents_that_cannot_be_redacted_are_named_and_the_others_are_done(leaky: Storage) -> None:
    in_month(leaky, "old.json", agno_bytes(old_session("old"), ".json"))
    leaky.append("broken", answered("r1"))
    leaky.path("broken").write_text("{")
    for dry_run in (True, False):
        done = leaky.redact(["old", "broken", "s"], secrets=True, dry_run=dry_run)
        assert done.documents == 1
        assert len(done.problems) == 2
    assert SECRET not in leaky.path("s").read_text()


def test_a_wrong_call_changes_nothing(leaky: Storage) -> None:
    call: Any = leaky
    with pytest.raises(SessionNotFound):
        leaky.redact(["s", "nobody"], secrets=True)
    with pytest.raises(ValueError, match="nothing to redact"):
        leaky.redact("s")
    with pytest.raises(ValueError, match="is not a regular expression"):
        leaky.redact("s", ["("])
    with pytest.raises(TypeError, match="patterns must be a list"):
        leaky.redact("s", "abc")
    with pytest.raises(TypeError, match="a pattern must be text, not int: 5"):
        call.redact("s", [5])
    with pool_of(leaky.root).migration(1), pytest.raises(LockTimeout):
        type(leaky)(leaky.root, lock_timeout=0.01).redact("s", secrets=True)
    assert SECRET in leaky.path("s").read_text()


def test_a_run_that_was_redacted_while_it_was_unfinished_goes_to_the_rescue_folder(storage: Storage) -> None:
    """Its agent does not know of the redaction, and nothing of its answer is lost."""
    from localstore import Conflict

    storage.append("s", question("r1", SECRET, status="unfinished"))
    storage.redact("s", secrets=True)
    with pytest.raises(Conflict):
        storage.append("s", answered("r1", SECRET))
    assert "good day" in str(rescued(storage))
