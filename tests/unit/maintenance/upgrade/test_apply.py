"""Upgrading a whole store or a folder of agno 1.x: the result for every file."""

import errno
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from localstore import JsonStorage, LockTimeout, NewerFormat, OlderFormat, StoreNotFound
from localstore.disk import backup_folder, filesystem
from localstore.disk.backup_folder import Backup
from localstore.disk.locks import pool_of
from localstore.maintenance.upgrade import make_plan, undo, upgrade
from tests import oracle
from tests.effort import ci_only
from tests.unit.maintenance.upgrade.old_folders import (
    agno_bytes,
    documents_of,
    folder_of_agno,
    ids,
    in_month,
    newer_bytes,
    old_session,
    runs,
    tree_of,
)
from tests.unit.raw import Storage, answered, in_our_layout, parse
from tests.unit.watched_disk import WatchedDisk

FROZEN = sorted(
    path for path in (Path(__file__).parents[3] / "format" / "agno-1").glob("*") if path.suffix in (".json", ".yaml")
)


def only_backup(root: Path) -> Path:
    (backup,) = (root / ".localstore" / "backups").iterdir()
    return backup / "files"


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_a_folder_of_agno_becomes_a_store_in_place(tmp_path: Path, suffix: str) -> None:
    """Its files are removed; the backup has them byte for byte, with their modes."""
    before = tree_of(folder_of_agno(tmp_path / "f", suffix=suffix))
    done = upgrade(tmp_path / "f")
    assert (done.documents, done.problems) == (3, [])
    assert not [path for path in (tmp_path / "f").iterdir() if path.stem in ("a", "b", "c")]
    assert tree_of(only_backup(tmp_path / "f")) == before
    assert ids(tmp_path / "f") == {"a", "b", "c"}
    assert runs(tmp_path / "f", "c") == ["o0", "o1", "o2"]
    for document in oracle.sessions(tmp_path / "f").values():
        assert in_our_layout(document.path)
        assert document.path.suffix == suffix
        assert document.path.stat().st_mode & 0o777 == 0o600
    oracle.assert_sound(tmp_path / "f")
    JsonStorage(tmp_path / "f").append("a", answered("r1"))
    assert runs(tmp_path / "f", "a") == ["o0", "r1"]


@pytest.mark.parametrize("frozen", FROZEN, ids=lambda path: path.name)
def test_every_frozen_session_of_agno_goes_there_and_back(tmp_path: Path, frozen: Path) -> None:
    """Each is a flat file with the name that agno gave it."""
    stem = frozen.stem
    raw = frozen.read_bytes()
    import json

    import yaml

    try:
        value = json.loads(raw) if frozen.suffix == ".json" else yaml.safe_load(raw)
        stem = value["session_id"]
    except (ValueError, yaml.YAMLError):
        pass
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / f"{stem}{frozen.suffix}").write_bytes(raw)
    before = tree_of(tmp_path / "f")
    done = upgrade(tmp_path / "f")
    assert (done.documents, done.problems) == (1, [])
    undo(tmp_path / "f")
    assert tree_of(tmp_path / "f") == before


def test_other_documents_do_not_keep_one_from_being_upgraded(storage: Storage) -> None:
    """Old, current, newer, broken and foreign documents, flat ones and others, in one store."""
    storage.append("current", answered("r1"))
    in_month(storage, "old.json", agno_bytes(old_session("old"), ".json"))
    in_month(storage, "old-yaml.yaml", agno_bytes(old_session("old-yaml"), ".yaml"), "elsewhere")
    (storage.root / "flat.json").write_bytes(agno_bytes(old_session("flat"), ".json"))
    (storage.root / "mine.json").write_text('{"mine": true}')
    left = [
        in_month(storage, "newer.json", newer_bytes("newer")),
        in_month(storage, "broken.json", b'{"session_id": "broken"'),
        in_month(storage, "bad.json", agno_bytes({**old_session("bad"), "created_at": "long ago"}, ".json")),
    ]
    untouched = [*left, storage.root / "mine.json", storage.path("current")]
    before = {path: path.read_bytes() for path in untouched}
    done = upgrade(storage.root)
    assert done.documents == 3
    assert {problem.path for problem in done.problems} == {str(path) for path in left}
    assert {path: path.read_bytes() for path in untouched} == before
    for session_id in ("old", "old-yaml", "flat"):
        assert runs(storage.root, session_id) == ["o0", "o1"]
    assert in_our_layout(storage.root / "sessions" / "elsewhere" / "old-yaml.yaml")
    assert not (storage.root / "flat.json").exists()
    assert len(tree_of(only_backup(storage.root), without=["sessions/2026-11/old", "flat", "sessions/elsewhere"])) == 2


def test_documents_left_alone_are_named_with_line_and_column(storage: Storage) -> None:
    """The path appears once; line and column are numbers."""
    storage.append("current", answered("r1"))
    path = in_month(storage, "bad.json", b'{\n  "session_id": "bad",\n  "kind" "agent"\n}\n')
    broken = in_month(storage, "broken.json", b"{\n  3\n}")
    old = in_month(storage, "old.json", agno_bytes({**old_session("old"), "user_id": 5}, ".json"))
    found = {problem.path: problem for problem in upgrade(storage.root).problems}
    assert set(found) == {str(path), str(broken), str(old)}
    assert (found[str(path)].line, found[str(broken)].line) == (3, 2)
    assert found[str(old)].line == 3
    assert "user_id: expected text" in found[str(old)].problem
    for one in found.values():
        assert one.path not in one.problem
        assert "Nothing was" not in str(one)
        assert not str(one).endswith(".")


def test_a_second_upgrade_has_nothing_to_do(tmp_path: Path) -> None:
    """No byte changes, and there is no second backup."""
    folder_of_agno(tmp_path / "f")
    upgrade(tmp_path / "f")
    before = tree_of(tmp_path / "f", without=[".localstore/index.sqlite"])
    again = upgrade(tmp_path / "f")
    assert (again.documents, again.problems, again.backup) == (0, [], None)
    assert tree_of(tmp_path / "f", without=[".localstore/index.sqlite"]) == before


def test_a_folder_that_is_neither_a_store_nor_one_of_agno_is_refused(tmp_path: Path) -> None:
    """Nothing is created there."""
    (tmp_path / "mine.json").write_text('{"mine": true}')
    before = tree_of(tmp_path)
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(StoreNotFound, match="no folder of agno"):
            upgrade(folder)
    assert tree_of(tmp_path) == before


def test_a_store_of_a_newer_format_is_refused(storage: Storage) -> None:
    """It stays byte for byte as it was."""
    (storage.root / "localstore.json").write_text('{"localstore": "store", "format": 9}')
    in_month(storage, "old.json", agno_bytes(old_session(), ".json"))
    before = tree_of(storage.root)
    with pytest.raises(NewerFormat):
        upgrade(storage.root)
    assert tree_of(storage.root) == before


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_a_session_of_agno_may_be_named_like_the_marker(tmp_path: Path, suffix: str) -> None:
    """`localstore.json` may be a session: the marker takes its place."""
    folder_of_agno(tmp_path / "f", ["localstore", "b"], suffix)
    before = tree_of(tmp_path / "f")
    done = upgrade(tmp_path / "f")
    assert (done.documents, done.problems) == (2, [])
    assert ids(tmp_path / "f") == {"localstore", "b"}
    assert undo(tmp_path / "f").problems == []
    assert tree_of(tmp_path / "f") == before


def test_a_file_of_another_program_with_the_name_of_the_marker_is_not_replaced(tmp_path: Path) -> None:
    """The marker of the new store replaced it."""
    folder = folder_of_agno(tmp_path / "f")
    (folder / "localstore.json").write_text('{"theme": "dark"}')
    before = tree_of(folder)
    for work in (make_plan, upgrade):
        with pytest.raises(StoreNotFound, match="is not a file of localstore or of agno"):
            work(folder)
        assert tree_of(folder) == before


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
@pytest.mark.parametrize("session_id", ["Zoë", "日本", "a b", 'quo"te', "it's", "a\\b", "UPPER", "x" * 150, "a#b", "1"])
def test_sessions_with_unusual_ids_are_upgraded(tmp_path: Path, suffix: str, session_id: str) -> None:
    """In YAML, agno escapes characters that are not ASCII; such a session was taken for a foreign file."""
    folder_of_agno(tmp_path / "f", [session_id], suffix)
    before = tree_of(tmp_path / "f")
    done = upgrade(tmp_path / "f")
    assert (done.documents, done.problems) == (1, [])
    assert ids(tmp_path / "f") == {session_id}
    undo(tmp_path / "f")
    assert tree_of(tmp_path / "f") == before


# One session, two files


def stateless(session_id: str, runs: int) -> dict[str, Any]:
    """A session of which a longer one is the continuation: the state stands at the end, and would differ."""
    return {**old_session(session_id, runs), "session_data": {}}


def upgraded_bytes(tmp_path: Path, session_id: str, runs: int) -> tuple[str, bytes]:
    """Path and bytes of the document that a session of agno becomes."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / f"{session_id}.json").write_bytes(agno_bytes(stateless(session_id, runs), ".json"))
    upgrade(folder)
    (path,) = oracle.document_paths(folder)
    return path.relative_to(folder).as_posix(), path.read_bytes()


@pytest.mark.parametrize("runs_there", [1, 2, 3])
def test_a_flat_file_of_a_session_that_the_store_has(storage: Storage, tmp_path: Path, runs_there: int) -> None:
    """Somebody was stopped in between, or the session went on here or there: the longer one stays. Undo leaves both
    files again, none of them with less in it than before; it took the document away that had been there before."""
    path, raw = upgraded_bytes(tmp_path, "s1", runs_there)
    document = storage.root / path
    in_month(storage, document.name, raw, document.parent.name)
    flat = storage.root / "s1.json"
    flat.write_bytes(agno_bytes(stateless("s1", 2), ".json"))
    before = documents_of(storage.root)
    done = upgrade(storage.root)
    assert (done.documents, done.problems) == (1, [])
    assert not flat.exists()
    assert runs(storage.root, "s1") == ["o0", "o1", "o2"][: max(runs_there, 2)]
    assert undo(storage.root).problems == []
    after = documents_of(storage.root)
    assert after == before if runs_there == 2 else after.keys() == before.keys()
    assert len(parse(flat)["memory"]["runs"]) == max(runs_there, 2)
    assert runs(storage.root, "s1") == ["o0", "o1", "o2"][: max(runs_there, 2)]


def test_a_flat_file_that_contradicts_the_session_of_the_store(storage: Storage) -> None:
    """Which one is right is unknown, so both stay and are named."""
    storage.append("s1", answered("r1"))
    flat = storage.root / "s1.json"
    flat.write_bytes(agno_bytes(old_session("s1"), ".json"))
    before = documents_of(storage.root)
    done = upgrade(storage.root)
    (problem,) = done.problems
    assert (done.documents, done.backup, problem.path) == (0, None, str(flat))
    assert str(storage.path("s1")) in problem.problem
    assert documents_of(storage.root) == before


def test_one_session_in_both_formats(tmp_path: Path) -> None:
    """Two flat files of one session with the same content are one session; undo brings both back."""
    folder_of_agno(tmp_path / "f", ["s1"], ".json")
    folder_of_agno(tmp_path / "f", ["s1"], ".yaml")
    before = tree_of(tmp_path / "f")
    done = upgrade(tmp_path / "f")
    assert done.problems == []
    assert ids(tmp_path / "f") == {"s1"}
    assert len(oracle.document_paths(tmp_path / "f")) == 1
    assert undo(tmp_path / "f").problems == []
    assert tree_of(tmp_path / "f") == before


def test_the_longer_of_two_documents_keeps_its_format(tmp_path: Path) -> None:
    """The JSON of the longer one was written into the YAML document of the shorter one."""
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "s1.json").write_bytes(agno_bytes(stateless("s1", 1), ".json"))
    upgrade(folder)
    (folder / "s1.yaml").write_bytes(agno_bytes(stateless("s1", 2), ".yaml"))
    upgrade(folder)
    for path in oracle.document_paths(folder):
        assert in_our_layout(path)


def test_duplicates_are_upgraded_or_named(storage: Storage) -> None:
    """A second, older document of a session, which no listing shows, was silently left as it was."""
    first = in_month(storage, "s1.json", agno_bytes(old_session("s1"), ".json"))
    second = in_month(storage, "copy.json", agno_bytes(old_session("s1"), ".json"))
    done = upgrade(storage.root)
    assert (done.documents, done.problems) == (2, [])
    assert [parse(path)["schema_version"] for path in (first, second)] == [1, 1]
    assert undo(storage.root).restored == 2
    assert [path.read_bytes() for path in (first, second)] == [agno_bytes(old_session("s1"), ".json")] * 2


# Many, others, and interruptions


@ci_only
@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_several_processes_make_the_same_tree_as_one(tmp_path: Path, suffix: str) -> None:
    """With enough documents for several processes."""
    names = [f"s{number:03d}" for number in range(300)]
    folder_of_agno(tmp_path / "one", names, suffix)
    (tmp_path / "one" / "bad.json").write_bytes(agno_bytes({**old_session("bad"), "user_id": 5}, ".json"))
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    told: list[tuple[int, int]] = []
    one = upgrade(tmp_path / "one")
    two = upgrade(tmp_path / "two", processes=2, progress=lambda *count: told.append(count))
    assert (one.documents, two.documents) == (300, 300)
    assert [p.problem for p in one.problems] == [p.problem for p in two.problems]
    ids_of_stores = [
        json.loads((tmp_path / name / "localstore.json").read_bytes())["store_id"] for name in ("one", "two")
    ]
    marker = tmp_path / "two" / "localstore.json"
    marker.write_bytes(marker.read_bytes().replace(ids_of_stores[1].encode(), ids_of_stores[0].encode()))
    assert documents_of(tmp_path / "one") == documents_of(tmp_path / "two")
    assert tree_of(only_backup(tmp_path / "one")) == tree_of(only_backup(tmp_path / "two"))
    assert told[-1] == (301, 301)
    assert told == sorted(told)
    assert ids(tmp_path / "two") == set(names)


def test_writers_lose_nothing_during_an_upgrade(storage: Storage) -> None:
    """Threads that write to documents of today and, with auto_upgrade_schema, to old ones."""
    names = [f"old-{number}" for number in range(40)]
    for name in names:
        in_month(storage, f"{name}.json", agno_bytes(old_session(name), ".json"))
    opened = type(storage)(storage.root, auto_upgrade_schema=True)
    done = threading.Event()
    written: dict[str, list[str]] = {name: [] for name in [*names, "new"]}
    failures: list[BaseException] = []

    def write(mine: list[str]) -> None:
        try:
            number = 0
            while not done.is_set() or number < 2:
                for name in mine:
                    opened.append(name, answered(f"{name}-{number}"))
                    written[name].append(f"{name}-{number}")
                number += 1
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=write, args=(mine,)) for mine in (names[:20], names[20:30], ["new"])]
    for thread in threads:
        thread.start()
    result = upgrade(storage.root)
    done.set()
    for thread in threads:
        thread.join()
    assert (result.problems, failures) == ([], [])
    for name in names:
        assert runs(storage.root, name) == ["o0", "o1", *written[name]]
    assert runs(storage.root, "new") == written["new"]
    oracle.assert_sound(storage.root)


def test_an_upgrade_waits_for_another_one(storage: Storage) -> None:
    """It raises an error if that takes too long, and makes no backup."""
    in_month(storage, "old.json", agno_bytes(old_session(), ".json"))
    with pool_of(storage.root).migration(1), pytest.raises(LockTimeout):
        upgrade(storage.root, lock_timeout=0.05)
    assert backup_folder.listing(str(storage.root)) == []
    assert upgrade(storage.root).documents == 1


@ci_only
def test_two_upgrades_at_once_do_the_work_once(tmp_path: Path) -> None:
    """In two processes: one of them finds nothing left to do, and there is one backup with everything in it."""
    before = tree_of(folder_of_agno(tmp_path / "f", [f"s{number}" for number in range(60)]))
    code = (
        "import sys; from localstore.maintenance.upgrade import upgrade; "
        "print(upgrade(sys.argv[1], lock_timeout=60).documents)"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "f")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    told = [process.communicate(timeout=120) for process in running]
    for process, (_, errors) in zip(running, told, strict=True):
        assert process.returncode == 0 or b"There is no store" in errors, errors
    assert sum(int(out) for out, _ in told if out) == 60
    assert tree_of(only_backup(tmp_path / "f")) == before


@pytest.mark.parametrize("kind", ["folder of agno", "store"])
@pytest.mark.parametrize("links", [True, False], ids=["with links", "without links"])
def test_too_little_room_is_reported_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, links: bool
) -> None:
    """No backup is left, nor anything else that would make a store of the folder."""
    folder = folder_of_agno(tmp_path / "f")
    if kind == "store":
        storage = JsonStorage(tmp_path / "store")
        in_month(storage, "old.json", agno_bytes(old_session(), ".json"))
        folder = storage.root
        make_plan(folder)
    before = documents_of(folder) if kind == "store" else tree_of(folder)
    if not links:
        monkeypatch.setattr(filesystem.System, "link", no_links)
    monkeypatch.setattr(filesystem.System, "free_space", lambda *_: 16 << 20)
    with pytest.raises(OSError, match="Too little room") as caught:
        upgrade(folder)
    assert caught.value.errno == errno.ENOSPC
    assert backup_folder.listing(str(folder)) == []
    assert (documents_of(folder) if kind == "store" else tree_of(folder)) == before


def test_too_little_room_for_aliases_is_reported_before_the_document_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new document was taken to be as large as the old one, and filled the disk."""
    folder = folder_of_agno(tmp_path / "f", suffix=".yaml")
    raw = "agent_id: a\nmemory: {}\nsession_data:\n  session_state:\n    a: &a " + "x" * 1000 + "\n"
    raw += "".join(f"    a{number}: *a\n" for number in range(5000)) + "session_id: big\n"
    (folder / "big.yaml").write_text(raw)
    monkeypatch.setattr(filesystem.System, "free_space", lambda *_: 20 << 20)
    with pytest.raises(OSError, match="Too little room: 22 MB are needed, and 21 MB are free") as caught:
        upgrade(folder)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(folder / "big.yaml"))
    assert (folder / "big.yaml").read_text() == raw
    monkeypatch.setattr(filesystem.System, "free_space", lambda *_: 30 << 20)
    assert upgrade(folder).problems == []


def no_links(*_: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP])
def test_without_hard_links_the_backup_has_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """With the modes of the files; undo works."""

    def link(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(filesystem.System, "link", link)
    before = tree_of(folder_of_agno(tmp_path / "f"))
    assert upgrade(tmp_path / "f").problems == []
    assert tree_of(only_backup(tmp_path / "f")) == before
    assert undo(tmp_path / "f").restored == 3
    assert tree_of(tmp_path / "f") == before


def test_a_full_disk_stops_an_upgrade_and_the_next_one_continues(tmp_path: Path, disk: WatchedDisk) -> None:
    """The system's error is raised, nothing is lost, and the next call uses the same backup."""
    names = [f"s{number}" for number in range(10)]
    before = tree_of(folder_of_agno(tmp_path / "f", names))
    written = 0

    def full(call: object) -> None:
        nonlocal written
        if getattr(call, "operation", "") == "write" and "/sessions/" in getattr(call, "path", ""):
            written += 1
            if written > 4:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    disk.before = full
    with pytest.raises(OSError, match="No space") as caught:
        upgrade(tmp_path / "f")
    assert caught.value.errno == errno.ENOSPC
    assert all((tmp_path / "f" / f"{name}.json").exists() for name in names)
    disk.before = lambda call: None
    done = upgrade(tmp_path / "f")
    assert (done.documents, done.problems) == (10, [])
    assert ids(tmp_path / "f") == set(names)
    assert tree_of(only_backup(tmp_path / "f")) == before
    assert undo(tmp_path / "f").problems == []
    assert tree_of(tmp_path / "f") == before


def test_progress_is_reported_up_to_the_last_document(tmp_path: Path) -> None:
    """The number of documents done, and of all documents."""
    folder_of_agno(tmp_path / "f", [f"s{number}" for number in range(130)])
    told: list[tuple[int, int]] = []
    upgrade(tmp_path / "f", progress=lambda *count: told.append(count))
    assert told == [(64, 130), (128, 130), (130, 130)]


def test_after_an_error_in_the_progress_callback_an_upgrade_can_continue(tmp_path: Path) -> None:
    """As with Ctrl-C: finished documents stay upgraded, and the same backup later holds the rest."""
    before = tree_of(folder_of_agno(tmp_path / "f", [f"s{number}" for number in range(100)]))

    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upgrade(tmp_path / "f", progress=stop)
    assert make_plan(tmp_path / "f").was_interrupted
    assert upgrade(tmp_path / "f").documents == 36
    assert tree_of(only_backup(tmp_path / "f")) == before
    (one,) = backup_folder.listing(str(tmp_path / "f"))
    assert (one.finished, one.documents) == (True, 100)
    assert Backup(str(tmp_path / "f"), one.name).paths()[0] == "s0.json"


@pytest.mark.parametrize("processes", [1, 2])
def test_a_folder_in_which_nothing_can_be_upgraded_stays_one_of_agno(tmp_path: Path, processes: int) -> None:
    """It became an empty store that did not show its sessions."""
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "a.json").write_bytes(agno_bytes({**old_session("a"), "user_id": 5}, ".json"))
    before = tree_of(folder)
    done = upgrade(folder, processes=processes)
    assert (done.documents, done.backup, len(done.problems)) == (0, None, 1)
    assert tree_of(folder) == before
    with pytest.warns(UserWarning, match="Not upgraded"), pytest.raises(OlderFormat):
        JsonStorage(folder, auto_upgrade_schema=True)
    assert tree_of(folder) == before


def test_a_document_that_is_fixed_later_is_upgraded_later(tmp_path: Path) -> None:
    """As a flat file of the store; two backups, which are undone one after the other."""
    folder = folder_of_agno(tmp_path / "f")
    bad = agno_bytes({**old_session("d"), "user_id": 5}, ".json")
    (folder / "d.json").write_bytes(bad)
    assert len(upgrade(folder).problems) == 1
    assert (folder / "d.json").read_bytes() == bad
    (folder / "d.json").write_bytes(agno_bytes(old_session("d"), ".json"))
    of_a_store = [".gitignore", "sessions", "schemas", "manifest.jsonl", ".localstore", "localstore.json"]
    before = tree_of(folder, without=of_a_store)
    assert upgrade(folder).documents == 1
    assert ids(folder) == {"a", "b", "c", "d"}
    assert undo(folder).restored == 1
    assert ids(folder) == {"a", "b", "c"}
    assert undo(folder).restored == 3
    assert sorted(tree_of(folder)) == ["a.json", "b.json", "c.json", "d.json"]
    assert before.items() <= tree_of(folder).items()


@pytest.mark.parametrize("name", ["sessions", "schemas", ".localstore"])
def test_a_file_with_the_name_of_a_folder_of_the_store_is_an_error(tmp_path: Path, name: str) -> None:
    """The error names it, and every file stays as it was."""
    folder = folder_of_agno(tmp_path / "f")
    (folder / name).write_text("mine")
    before = tree_of(folder)
    with pytest.raises(OSError, match=name):
        upgrade(folder)
    (folder / name).unlink()
    del before[name]
    assert tree_of(folder, without=[".localstore"]) == before
    assert upgrade(folder).documents == 3


def test_after_a_worker_process_is_killed_the_next_upgrade_continues(tmp_path: Path) -> None:
    names = [f"s{number:03d}" for number in range(300)]
    root = folder_of_agno(tmp_path / "f", names, ".json")

    def kill_one(done: int, total: int) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(OSError, match="A worker process"):
        upgrade(root, processes=2, progress=kill_one)
    done = upgrade(root, processes=2)
    assert done.problems == []
    assert ids(root) == set(names)
    assert len(backup_folder.listing(str(root))) == 1
