"""Undo restores every byte and loses nothing that was added since."""

import contextlib
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from localstore import JsonStorage, LockTimeout, OlderFormat, YamlStorage
from localstore.disk import backup_folder, filesystem, rescue_folder
from localstore.disk.locks import pool_of
from localstore.errors import BackupNotFound
from localstore.maintenance.upgrade import convert, undo, upgrade
from tests import oracle
from tests.crash.faults import FaultySystem, Stopped, StoppingSystem, installed
from tests.effort import ci_only, rounds
from tests.unit.maintenance.upgrade.old_folders import (
    Tree,
    agno_bytes,
    documents_of,
    folder_of_agno,
    ids,
    in_month,
    old_session,
    runs,
    tree_of,
)
from tests.unit.raw import Storage, answered, edit, parse, rescued

SUFFIXES = pytest.mark.parametrize("suffix", [".json", ".yaml"])


KINDS = pytest.mark.parametrize(
    "kind", ["upgrade", "convert", pytest.param("redact", marks=ci_only), "upgrade in place"]
)


def document(root: Path, session_id: str) -> Path:
    return JsonStorage(root, create=False).path(session_id)


@SUFFIXES
def test_a_folder_of_agno_is_one_again(tmp_path: Path, suffix: str) -> None:
    """Bytes and modes of the whole tree; nothing of the store is left, and it can be upgraded again."""
    before = tree_of(folder_of_agno(tmp_path / "f", suffix=suffix))
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "f").iterdir()}
    for _ in range(2):
        upgrade(tmp_path / "f")
        done = undo(tmp_path / "f")
        assert (done.restored, done.changed, done.problems) == (3, 0, [])
        assert tree_of(tmp_path / "f") == before
        assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "f").iterdir()} == times
    with pytest.raises(OlderFormat):
        JsonStorage(tmp_path / "f")


def test_other_files_in_the_folder_stay(tmp_path: Path) -> None:
    """Somebody's own files and folders, and one that has the name of a folder of ours."""
    folder_of_agno(tmp_path / "f")
    (tmp_path / "f" / "notes.txt").write_text("mine")
    (tmp_path / "f" / "schemas").mkdir()
    (tmp_path / "f" / "schemas" / "mine.json").write_text("{}")
    (tmp_path / "f" / "other.json").write_text("[1]")
    before = tree_of(tmp_path / "f")
    assert upgrade(tmp_path / "f").documents == 3
    assert undo(tmp_path / "f").problems == []
    assert tree_of(tmp_path / "f") == before


def test_old_documents_in_a_store_are_as_they_were(storage: Storage) -> None:
    """The store stays, and so does the document that was current."""
    storage.append("new", answered("r1"))
    in_month(storage, "old.json", agno_bytes(old_session("old"), ".json"))
    in_month(storage, "other.yaml", agno_bytes(old_session("other"), ".yaml"))
    before = documents_of(storage.root)
    upgrade(storage.root)
    assert undo(storage.root).restored == 2
    assert documents_of(storage.root) == before
    assert ids(storage.root) == {"new", "old", "other"}
    assert runs(storage.root, "old") == ["o0", "o1"]
    assert backup_folder.listing(str(storage.root)) == []


@SUFFIXES
@pytest.mark.parametrize("where", ["flat", "in a month"])
def test_runs_that_were_added_since_stay(tmp_path: Path, suffix: str, where: str) -> None:
    """In the old form, which agno reads; an upgrade brings all of them back."""
    if where == "flat":
        root = folder_of_agno(tmp_path / "f", ["s1", "s2"], suffix)
    else:
        storage = JsonStorage(tmp_path / "f")
        root = storage.root
        for name in ("s1", "s2"):
            in_month(storage, f"{name}{suffix}", agno_bytes(old_session(name), suffix))
    before = documents_of(root)
    upgrade(root)
    JsonStorage(root).append("s1", answered("since", "Since?", "Yes."))
    JsonStorage(root).update("s1", session_state={"visited": ["Graz"]}, tags=["mine"])
    done = undo(root)
    assert (done.restored, done.changed, done.problems) == (1, 1, [])
    after = documents_of(root)
    assert after.keys() == before.keys()
    (changed,) = [name for name in before if after[name] != before[name]]
    session = parse(root / changed)
    assert changed.endswith(f"s1{suffix}")
    assert "schema_version" not in session
    assert [run["run_id"] for run in session["memory"]["runs"]][-1] == "since"
    assert session["session_data"]["session_state"] == {"visited": ["Graz"]}
    upgrade(root)
    assert runs(root, "s1")[-1] == "since"
    session_again = JsonStorage(root).read("s1")
    assert session_again is not None
    assert (session_again.session_state, session_again.tags) == ({"visited": ["Graz"]}, ["mine"])


@SUFFIXES
def test_runs_that_were_added_since_a_conversion_stay(storage: Storage, suffix: str) -> None:
    """The document has its old format again, with them."""
    opened = (JsonStorage if suffix == ".json" else YamlStorage)(storage.root)
    for name in ("s1", "s2"):
        opened.append(name, answered("r1"))
    before = documents_of(storage.root)
    convert(storage, "yaml" if suffix == ".json" else "json")
    storage.append("s1", answered("since"))
    done = undo(storage.root)
    assert (done.restored, done.changed, done.problems) == (1, 1, [])
    assert documents_of(storage.root).keys() == before.keys()
    assert runs(storage.root, "s1") == ["r1", "since"]
    for one in oracle.sessions(storage.root).values():
        assert one.path.suffix == suffix
        oracle.assert_own_layout(one)


def test_documents_that_went_on_apart_are_merged_before_an_undo(tmp_path: Path) -> None:
    """A sync tool brought the old document back, with a run of another machine. The undo does not choose one."""
    storage = JsonStorage(tmp_path / "store")
    storage.append("s", answered("r1"))
    old = storage.path("s")
    other_machine = old.read_bytes().replace(b'"r1"', b'"r2"')
    convert(storage.root, "yaml")
    old.write_bytes(other_machine)
    (problem,) = undo(storage.root).problems
    assert "localstore merge" in problem.problem
    JsonStorage(storage.root).merge_copies()
    assert undo(storage.root).problems == []
    assert sorted(entry["run_id"] for entry in parse(old)["history"]) == ["r1", "r2"]


def test_an_edit_by_hand_since_stays(tmp_path: Path) -> None:
    """As if it had been made in the old document; a document that was moved by hand is found."""
    root = folder_of_agno(tmp_path / "f")
    upgrade(root)
    edit(document(root, "a"), "question 0", "what I meant")
    moved = document(root, "b")
    (moved.parent.parent / "elsewhere").mkdir()
    moved.rename(moved.parent.parent / "elsewhere" / "renamed.json")
    done = undo(root)
    assert (done.restored, done.changed, done.problems) == (2, 1, [])
    assert "what I meant" in (root / "a.json").read_text()
    assert sorted(tree_of(root)) == ["a.json", "b.json", "c.json"]


def test_digits_that_a_person_typed_since_are_not_rounded(storage: Storage) -> None:
    """Undo removed the document, and the old form had the decimal rounded: the last digits were lost."""
    own = "yaml" if isinstance(storage, YamlStorage) else "json"
    storage.append("s1", answered("r1", session_state={"pi": 3.141592653589793}))
    convert(storage, "json" if own == "yaml" else "yaml")
    path = document(storage.root, "s1")
    edit(path, "3.141592653589793", "3.14159265358979323846")
    raw = path.read_bytes()
    (problem,) = undo(storage.root).problems
    assert "would be rounded" in problem.problem
    assert document(storage.root, "s1").read_bytes() == raw


def test_comments_that_a_person_typed_since_are_set_aside(tmp_path: Path) -> None:
    """Undo of a conversion to YAML removed the document, and with it the comments."""
    storage = JsonStorage(tmp_path / "store")
    storage.append("s1", answered("r1"))
    convert(storage, "yaml")
    edit(document(storage.root, "s1"), "kind: agent\n", "kind: agent  # mine\n")
    assert undo(storage.root).problems == []
    assert document(storage.root, "s1").suffix == ".json"
    (kept,) = rescued(storage)
    assert "kind: agent  # mine\n" in kept["text"]
    assert kept["reason"] == rescue_folder.COMMENTS


def test_a_session_that_was_deleted_since_stays_deleted(tmp_path: Path) -> None:
    """It is named, its old version stays in the backup, and the others are restored."""
    root = folder_of_agno(tmp_path / "f")
    upgrade(root)
    JsonStorage(root).delete_session("b")
    for _ in range(2):
        done = undo(root)
        (problem,) = done.problems
        assert problem.path == str(root / "b.json")
        assert "deleted since" in problem.problem
        assert sorted(path.name for path in root.glob("?.json")) == ["a.json", "c.json"]
    (one,) = backup_folder.listing(str(root))
    assert one.documents == 1


def test_a_session_created_since_keeps_the_store(tmp_path: Path) -> None:
    """The session was never in the folder of agno."""
    root = folder_of_agno(tmp_path / "f")
    upgrade(root)
    JsonStorage(root).append("new", answered("r1"))
    assert undo(root).problems == []
    assert runs(root, "new") == ["r1"]
    assert (root / "a.json").exists()
    assert ids(root) == {"new"}


@pytest.mark.parametrize("content", [b"[1, 2]", b"{", agno_bytes(old_session("another"), ".json"), None])
def test_a_file_in_the_way_is_named_and_stays(tmp_path: Path, content: bytes | None) -> None:
    """A file, or a folder, where an old document stood."""
    root = folder_of_agno(tmp_path / "f")
    upgrade(root)
    if content is None:
        (root / "b.json").mkdir()
    else:
        (root / "b.json").write_bytes(content)
    done = undo(root)
    assert [problem.path for problem in done.problems] == [str(root / "b.json")]
    assert done.restored == 2
    assert content is None or (root / "b.json").read_bytes() == content
    assert runs(root, "b") == ["o0", "o1"]
    (root / "b.json").rmdir() if content is None else (root / "b.json").unlink()
    assert undo(root).problems == []
    assert sorted(tree_of(root)) == ["a.json", "b.json", "c.json"]


def test_a_document_that_became_broken_since_is_named(tmp_path: Path) -> None:
    """What a person typed is not replaced."""
    root = folder_of_agno(tmp_path / "f")
    upgrade(root)
    path = document(root, "b")
    path.write_bytes(b"{ mine")
    done = undo(root)
    assert len(done.problems) == 1
    assert path.read_bytes() == b"{ mine"
    assert not (root / "b.json").exists()


def test_two_backups_one_after_the_other(tmp_path: Path) -> None:
    """The conversion first, then the upgrade; then there is none."""
    root = folder_of_agno(tmp_path / "f")
    before = tree_of(root)
    upgrade(root)
    between = documents_of(root)
    convert(root, "yaml")
    assert undo(root).restored == 3
    assert documents_of(root) == between
    assert undo(root).restored == 3
    assert tree_of(root) == before
    with pytest.raises(BackupNotFound, match="no backup"):
        undo(root)


def test_several_conversions_are_undone_one_by_one(storage: Storage) -> None:
    """Three of them, undone."""
    storage.append("s1", answered("r1"))
    states = []
    for to in ("yaml", "json", "yaml", "json"):
        states.append(documents_of(storage.root))
        convert(storage, to)
    for state in states[:0:-1]:
        undo(storage.root)
        assert documents_of(storage.root) == state


def test_after_writes_that_upgraded(storage: Storage) -> None:
    """The document kept before a write upgraded it is restored, with what was written."""
    path = in_month(storage, "old.json", agno_bytes(old_session("old"), ".json"))
    opened = type(storage)(storage.root, auto_upgrade_schema=True)
    opened.append("old", answered("r9"))
    done = undo(storage.root)
    assert (done.restored, done.changed, done.problems) == (0, 1, [])
    assert [run["run_id"] for run in parse(path)["memory"]["runs"]] == ["o0", "o1", "r9"]
    opened.append("old", answered("r10"))
    assert runs(storage.root, "old") == ["o0", "o1", "r9", "r10"]
    assert undo(storage.root).changed == 1
    assert runs(storage.root, "old") == ["o0", "o1", "r9", "r10"]


def test_a_document_without_an_old_form_stays_and_is_named(tmp_path: Path) -> None:
    """Nothing is dropped to fit into the old form."""
    root = folder_of_agno(tmp_path / "f")
    upgrade(root)
    path = document(root, "b")
    edit(path, '"kind": "agent",\n', '"kind": "agent",\n  "updated_at": [1],\n')
    before = path.read_bytes()
    done = undo(root)
    if done.problems:
        assert path.read_bytes() == before
    else:
        upgrade(root)
        assert parse(document(root, "b"))["updated_at"] == [1]


def test_undo_waits_for_an_upgrade(tmp_path: Path) -> None:
    """It raises an error if that takes too long."""
    root = folder_of_agno(tmp_path / "f")
    upgrade(root)
    before = tree_of(root)
    with pool_of(root).migration(1), pytest.raises(LockTimeout):
        undo(root, lock_timeout=0.05)
    assert tree_of(root) == before


def migrated(root: Path, kind: str) -> tuple[Path, dict[str, Any]]:
    """A folder in which something was migrated, and its files before that."""
    root = prepared(root, kind)
    before = files_of(root, kind)
    if kind == "convert":
        convert(root, "yaml")
    elif kind == "redact":
        assert JsonStorage(root).redact(["s1", "s2"], ["good"]).documents == 2
    else:
        upgrade(root)
    return root, before


@KINDS
@pytest.mark.parametrize("fault", ["EIO", "Ctrl-C"])
def test_an_interrupted_undo_continues(tmp_path: Path, kind: str, fault: Any) -> None:
    """Each operation fails once; called again, undo ends as if it had never been stopped."""
    number = 1
    while True:
        root, before = migrated(tmp_path / str(number), kind)
        system = FaultySystem(fault, number)
        done = None
        with contextlib.suppress(OSError, KeyboardInterrupt), installed(system):
            done = undo(root)
        if done is None or done.problems:
            with contextlib.suppress(BackupNotFound):  # only what came behind it failed
                assert undo(root).problems == []
        assert files_of(root, kind) == before, system.trace[number - 1]
        oracle.assert_no_temporary_files(root)
        if not system.happened:
            break
        number += rounds(11, 1, 1)
    assert number > 20


@KINDS
@pytest.mark.parametrize("share", [0.0, 1.0], ids=["before", "behind"])
def test_a_killed_undo_continues(tmp_path: Path, kind: str, share: float) -> None:
    """As above, without any cleanup. In the end a folder of agno is not a store."""
    number = 0
    while True:
        number += rounds(3, 1, 1)
        root, before = migrated(tmp_path / str(number), kind)
        system = StoppingSystem(number, share)
        with contextlib.suppress(Stopped), installed(system):
            undo(root)
        with contextlib.suppress(BackupNotFound):
            assert undo(root).problems == []
        left = {name: one for name, one in files_of(root, kind).items() if not name.endswith(".tmp")}
        assert left == before, number
        if not system.happened:
            break
    assert number > 4


def files_of(root: Path, kind: str) -> Tree:
    """What is not derived; of a folder of agno, nothing may be left that makes a store of it."""
    found = tree_of(root, without=[".localstore"]) if kind == "upgrade" else documents_of(root)
    return {name: one for name, one in found.items() if one[1] is not None}


def prepared(root: Path, kind: str) -> Path:
    if kind == "upgrade":
        return folder_of_agno(root, ["a", "b"])
    storage = JsonStorage(root)
    if kind in ("convert", "redact"):
        storage.append("s1", answered("r1"))
        storage.append("s2", answered("r1"))
    else:
        in_month(storage, "s1.json", agno_bytes(old_session("s1"), ".json"))
        in_month(storage, "s2.yaml", agno_bytes(old_session("s2"), ".yaml"))
    return root


def test_without_hard_links_a_full_disk_leaves_the_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be restored is named, and is restored later."""

    def link(*_: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(filesystem.System, "link", link)
    root = folder_of_agno(tmp_path / "f")
    before = tree_of(root)
    upgrade(root)

    def write(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(filesystem.System, "write", write)
        assert len(undo(root).problems) == 3
    assert ids(root) == {"a", "b", "c"}
    assert undo(root).problems == []
    assert tree_of(root) == before
