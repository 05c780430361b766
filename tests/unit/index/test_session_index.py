"""The session index: listings are right whatever people and other programs do with the files."""

import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest

from localstore import DocumentBroken, JsonStorage, YamlStorage
from localstore.disk.document_file import DocumentFile
from localstore.index import session_index
from tests.effort import rounds
from tests.unit.raw import Storage, answered, edit, in_our_layout, parse, run_ids
from tests.unit.watched_disk import WatchedDisk


@pytest.fixture(params=[True, False], ids=["the same process", "another process"])
def later(request: pytest.FixtureRequest, storage: Storage) -> Callable[[], Storage]:
    """Return the storage that the test goes on with."""
    for name in ("a", "b", "c"):
        storage.append(name, answered(f"run-{name}"), user_id="alice")
    storage.list_sessions()
    return lambda: storage if request.param else type(storage)(storage.root)


def give_id(path: Path, session_id: str) -> None:
    old = parse(path)["session_id"]
    edit(path, f'"session_id": "{old}"' if path.suffix == ".json" else f"session_id: {old}\n",
         f'"session_id": "{session_id}"' if path.suffix == ".json" else f"session_id: {session_id}\n")  # fmt: skip


def check(storage: Storage, *expected: str) -> None:
    """Assert that the listing and every other call agree on which sessions exist."""
    infos = storage.list_sessions()
    assert sorted(info.session_id for info in infos) == sorted(expected)
    for info in infos:
        assert parse(info.path)["session_id"] == info.session_id
        assert storage.path(info.session_id) == info.path
        session = storage.read(info.session_id)
        assert session is not None
        assert session.session_id == info.session_id
    for name in {"a", "b", "c"} - set(expected):
        assert storage.read(name) is None


def test_a_document_that_was_removed_is_gone(storage: Storage, later: Callable[[], Storage]) -> None:
    storage.path("a").unlink()
    check(later(), "b", "c")


def test_a_document_that_was_renamed_is_found(storage: Storage, later: Callable[[], Storage]) -> None:
    path = storage.path("a")
    path.rename(path.with_name(f"Trip to Vienna{path.suffix}"))
    opened = later()
    assert opened.read("a") is not None, "without a listing before"
    check(opened, "a", "b", "c")
    opened.append("a", answered("next"))
    assert run_ids(opened.path("a")) == ["run-a", "next"]
    assert not path.exists()


def test_a_document_that_was_moved_to_another_folder_is_found(storage: Storage, later: Callable[[], Storage]) -> None:
    path = storage.path("a")
    folder = storage.root / "sessions" / "archive"
    folder.mkdir()
    path.rename(folder / path.name)
    opened = later()
    opened.append("a", answered("next"))
    assert opened.path("a") == folder / path.name
    check(opened, "a", "b", "c")


def test_a_folder_that_was_renamed_or_removed_takes_its_documents_along(
    storage: Storage, later: Callable[[], Storage]
) -> None:
    folder = storage.path("a").parent
    folder.rename(folder.with_name("elsewhere"))
    check(later(), "a", "b", "c")
    shutil.rmtree(folder.with_name("elsewhere"))
    check(later())


def test_a_document_that_was_added_is_found_by_name_and_by_listing(
    storage: Storage, later: Callable[[], Storage], tmp_path: Path
) -> None:
    other = type(storage)(tmp_path / "other")
    for name in ("d", "E"):
        other.append(name, answered("run-d"))
        path = storage.path("a").parent / other.path(name).name
        shutil.copy2(other.path(name), path)
    opened = later()
    opened.append("d", answered("next"))
    assert run_ids(opened.path("d")) == ["run-d", "next"]
    check(opened, "a", "b", "c", "d", "E")


def test_a_document_of_the_other_format_is_the_same_session(storage: Storage, later: Callable[[], Storage]) -> None:
    other = (YamlStorage if isinstance(storage, JsonStorage) else JsonStorage)(storage.root)
    other.append("d", answered("run-d"))
    opened = later()
    opened.append("d", answered("next"))
    other.append("a", answered("next"))
    assert run_ids(other.path("a")) == ["run-a", "next"]
    assert {path.suffix for path in storage.root.glob("sessions/*/*")} == {".json", ".yaml"}
    check(opened, "a", "b", "c", "d")


def test_documents_that_took_each_others_names_are_both_there(storage: Storage, later: Callable[[], Storage]) -> None:
    a, b = storage.path("a"), storage.path("b")
    aside = a.with_name("aside")
    a.rename(aside)
    b.rename(a)
    aside.rename(b)
    check(later(), "a", "b", "c")
    opened = later()
    opened.append("a", answered("next"))
    assert run_ids(b) == ["run-a", "next"]


def test_a_document_that_took_the_name_of_another_is_found_by_listing(
    storage: Storage, later: Callable[[], Storage]
) -> None:
    a, b = storage.path("a"), storage.path("b")
    os.replace(a, b)
    opened = later()
    check(opened, "a", "c")
    opened.append("a", answered("next"))
    assert run_ids(b) == ["run-a", "next"]
    check(opened, "a", "c")


def test_a_document_that_was_given_another_id_is_that_session(storage: Storage, later: Callable[[], Storage]) -> None:
    path = storage.path("a")
    give_id(path, "new")
    opened = later()
    assert opened.delete_session("a") is False
    assert path.exists(), "it is not the session that was to be deleted"
    check(opened, "new", "b", "c")
    opened.append("new", answered("next"))
    assert run_ids(path) == ["run-a", "next"]


def test_a_name_in_the_way_is_refused_and_the_run_is_kept(storage: Storage, later: Callable[[], Storage]) -> None:
    path = storage.path("a")
    give_id(path, "new")
    raw = path.read_bytes()
    with pytest.raises(DocumentBroken, match="is in the way") as caught:
        later().append("a", answered("next"))
    assert caught.value.rescued is not None
    assert path.read_bytes() == raw


def test_a_copy_of_a_document_goes_to_the_trash_at_the_next_write(
    storage: Storage, later: Callable[[], Storage]
) -> None:
    path = storage.path("a")
    copy = path.with_name(f"copy{path.suffix}")
    shutil.copy2(path, copy)
    raw = copy.read_bytes()
    opened = later()
    with pytest.warns(UserWarning, match="has two documents"):
        check(opened, "a", "b", "c")
    assert opened.duplicate_files() == {copy: "a"}
    assert copy.read_bytes() == raw
    with pytest.warns(UserWarning, match="was moved to") as caught:
        opened.append("a", answered("next"))
    assert run_ids(path) == ["run-a", "next"]
    assert not copy.exists()
    (trashed,) = (storage.root / ".localstore" / "trash").rglob(copy.name)
    assert trashed.read_bytes() == raw
    assert str(trashed) in str(caught[0].message)
    check(later(), "a", "b", "c")


def test_a_deleted_session_does_not_come_back_from_a_copy(storage: Storage, later: Callable[[], Storage]) -> None:
    path = storage.path("a")
    shutil.copy2(path, path.with_name(f"copy{path.suffix}"))
    opened = later()
    opened.list_sessions()
    assert opened.delete_session("a")
    check(opened, "b", "c")
    check(type(storage)(storage.root), "b", "c")


@pytest.mark.parametrize("text", ["", "{", "just a text", "\xff\xfe", "[]", "a: [\n"])
def test_a_file_that_is_no_session_is_left_alone_and_never_taken_for_missing(
    storage: Storage, later: Callable[[], Storage], text: str
) -> None:
    path = storage.path("a").with_stem("d")
    path.write_bytes(text.encode("latin-1"))
    opened = later()
    check(opened, "a", "b", "c")
    calls: list[Callable[[], object]] = [lambda: opened.read("d"), lambda: opened.append("d", answered("next"))]
    for call in calls:
        with pytest.raises(DocumentBroken) as caught:
            call()
        assert caught.value.path == str(path)
    assert path.read_bytes() == text.encode("latin-1")
    assert opened.read("d-e") is None
    path.unlink()
    opened.append("d", answered("next"))
    check(opened, "a", "b", "c", "d")


def test_a_document_that_was_broken_and_mended_is_listed_with_its_problem_and_without(
    storage: Storage, later: Callable[[], Storage]
) -> None:
    path = storage.path("a")
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"run_id", b'"run_id": [', 1))
    info = next(info for info in later().list_sessions() if info.session_id == "a")
    assert info.problem is not None
    assert str(path) in info.problem
    assert (info.runs, info.user_id) == (1, "alice")
    path.write_bytes(raw)
    assert [info.problem for info in later().list_sessions()] == [None] * 3


def test_links_and_other_kinds_of_files_are_no_documents(
    storage: Storage, later: Callable[[], Storage], tmp_path: Path
) -> None:
    path = storage.path("a")
    outside = tmp_path / f"outside{path.suffix}"
    path.rename(outside)
    path.symlink_to(outside)
    raw = outside.read_bytes()
    os.mkfifo(path.with_stem("pipe"))
    path.with_stem("folder").mkdir()
    path.with_stem("dangling").symlink_to(tmp_path / "nowhere")
    opened = later()
    assert {info.session_id for info in opened.list_sessions() if info.problem is None} == {"b", "c"}
    for name in ("a", "dangling"):
        with pytest.raises(DocumentBroken, match="symbolic link"):
            opened.append(name, answered("next"))
        with pytest.raises(DocumentBroken, match="symbolic link"):
            opened.read(name)
    for name in ("pipe", "folder"):
        with pytest.raises((DocumentBroken, OSError)):
            opened.append(name, answered("next"))
    assert outside.read_bytes() == raw


def test_a_folder_that_is_a_link_is_not_followed(storage: Storage, tmp_path: Path) -> None:
    storage.append("a", answered("run-a"))
    folder = storage.path("a").parent
    folder.rename(tmp_path / "outside")
    folder.symlink_to(tmp_path / "outside")
    before = {path.name: path.read_bytes() for path in (tmp_path / "outside").iterdir()}
    opened = type(storage)(storage.root)
    assert opened.read("a") is None
    assert opened.list_sessions() == []
    with pytest.raises(DocumentBroken, match="symbolic link"):
        opened.append("d", answered("run-d"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "outside").iterdir()} == before


def test_listing_opens_no_document(storage: Storage, later: Callable[[], Storage], disk: WatchedDisk) -> None:
    opened = later()
    opened.list_sessions()
    disk.forget()
    assert len(opened.list_sessions(user_id="alice", limit=2)) == 2
    assert not disk.of("open", name=storage.path("a").suffix)
    storage.append("b", answered("next"))
    disk.forget()
    opened.list_sessions()
    assert not disk.of("open", name=storage.path("a").suffix), "what one of us wrote is in the manifest"


def test_what_one_of_us_writes_during_a_listing_is_not_read(
    storage: Storage, later: Callable[[], Storage], disk: WatchedDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, path, status = later(), storage.path("a"), disk.status
    opened.list_sessions()

    def write_before(name: str) -> os.stat_result:
        if name == str(path):
            monkeypatch.setattr(disk, "status", status)
            storage.append("a", answered("next"))
        return status(name)

    monkeypatch.setattr(disk, "status", write_before)
    disk.forget()
    assert {info.session_id: info.runs for info in opened.list_sessions()}["a"] == 2
    assert len(disk.of("open", name=path.suffix)) == 1, "the writer's"


def test_a_document_that_was_edited_is_the_only_one_that_is_read(
    storage: Storage, later: Callable[[], Storage], disk: WatchedDisk
) -> None:
    path = storage.path("a")
    edit(path, "alice", "carol")
    opened = later()
    disk.forget()
    infos = {info.session_id: info for info in opened.list_sessions()}
    assert infos["a"].user_id == "carol"
    assert {call.path for call in disk.of("open", name=path.suffix)} == {str(path)}
    disk.forget()
    assert [info.session_id for info in opened.list_sessions(user_id="carol")] == ["a"]
    assert not disk.of("open", name=path.suffix)


def test_a_broken_document_has_the_time_of_its_header_in_utc(storage: Storage) -> None:
    """Regression: without a manifest, as in a store that was cloned, a time with an offset stayed as it was, and the
    session was in the wrong place where sessions are sorted by the time of their creation."""
    storage.append("a", answered("run-a"))
    path = storage.path("a")
    text = path.read_text().replace(parse(path)["created_at"], "2026-11-25T23:30:00+14:00")
    path.write_text(text.replace("completed", "completed\n!broken"))
    (storage.root / ".localstore/manifest.jsonl").unlink()
    (info,) = type(storage)(storage.root).list_sessions()
    assert info.problem is not None
    assert (info.created_at, info.updated_at) == (datetime(2026, 11, 25, 9, 30, tzinfo=UTC),) * 2


def test_an_entry_added_by_hand_moves_its_session_to_the_front(storage: Storage, later: Callable[[], Storage]) -> None:
    path = storage.path("a")
    created_at = parse(path)["history"][0]["created_at"]
    raw = path.read_bytes()
    head, _, tail = raw.rpartition(created_at.encode())
    path.write_bytes(head + b"2999" + created_at.encode()[4:] + tail)
    assert later().get_all_session_ids()[0] == "a"


@pytest.mark.parametrize("status", ["completed", "unfinished"])
def test_yaml_without_its_end_marker_is_listed_as_what_it_holds(
    tmp_path: Path, status: Literal["completed", "unfinished"]
) -> None:
    """Regression: formatters of YAML remove the end marker. Once the manifest was gone, as in a store that was cloned,
    such a document was listed as cut off, without its runs and in the wrong place, until somebody wrote to it."""
    storage = YamlStorage(tmp_path)
    storage.append("s1", answered("first"))
    storage.append("s1", answered("second", status=status, created_at="2099-01-01T00:00:00.000Z"))
    edit(storage.path("s1"), "\n...\n", "\n")
    (tmp_path / ".localstore/manifest.jsonl").unlink()
    opened = YamlStorage(tmp_path)
    (info,) = opened.list_sessions()
    assert (info.problem, info.runs, info.updated_at) == (None, 2, datetime(2099, 1, 1, tzinfo=UTC))
    opened.append("s1", answered("third"))
    assert run_ids(opened.path("s1")) == ["first", "second", "third"]
    assert in_our_layout(opened.path("s1"))


# Threads


@pytest.fixture
def eager_switches() -> Iterator[None]:
    """Let Python switch between threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_switches")
@pytest.mark.parametrize("text", ["yesterday", "2999-01-01T00:00:00.000Z", "9999"])
def test_an_impossible_time_does_not_pin_a_session_to_the_top(storage: Storage, text: str) -> None:
    """Such a session stood above all others in every listing, as text that is greater than any time."""
    storage.append("odd", answered("first"))
    path = storage.path("odd")
    time = storage.list_sessions()[0].as_dict()["updated_at"]
    before, _, after = path.read_text().rpartition(time)
    path.write_text(before + text + after)
    os.utime(path, (1_600_000_000, 1_600_000_000))
    storage.append("new", answered("first"))
    for opened in (storage, type(storage)(storage.root)):
        assert [info.session_id for info in opened.list_sessions()] == ["new", "odd"]
        assert opened.list_sessions(limit=1)[0].session_id == "new"
    storage.append("odd", answered("second"))
    assert storage.list_sessions(limit=1)[0].session_id == "odd"


def test_ignored_files_follow_the_folders(storage: Storage) -> None:
    """A file that is not read is named while it is there, also if another scan of the process saw the folder before."""
    storage.append("a", answered("r1"))
    storage.list_sessions()
    path = storage.path("a")
    ignored = path.with_suffix(".yml")
    ignored.write_bytes(path.read_bytes())
    storage.list_sessions()
    assert list(storage.ignored_files()) == [ignored]
    ignored.unlink()
    storage.list_sessions()
    assert storage.ignored_files() == {}


def test_unreadable_files_can_be_asked_for_while_other_threads_list(storage: Storage) -> None:
    """Regression: `unreadable_files()` raised "dictionary changed size during iteration" when another thread found one
    more unreadable file in the middle of the call."""
    storage.append("a", answered("run-a"))
    folder = storage.path("a").parent
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            storage.unreadable_files()

    with ThreadPoolExecutor(2) as threads:
        asking = [threads.submit(ask) for _ in range(2)]
        try:
            for number in range(rounds(16, 40, 40)):
                for name in range(20):
                    (folder / f"{number}-{name}.json").write_bytes(b"{")
                storage.list_sessions()
                for path in folder.glob(f"{number // 2}-*.json"):
                    path.unlink()
        finally:
            stop.set()
    for thread in asking:
        thread.result()
    assert set(storage.unreadable_files()) == set(folder.glob("*-*.json"))


def test_a_thread_sees_the_documents_that_another_thread_is_reading(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: the first scan marked a folder as scanned before it had read the documents in it. A second thread
    that listed meanwhile got no sessions, and its append made a second document of a session that was there."""
    storage.append("a", answered("first"))
    path = storage.path("a")
    path.rename(path.with_name(f"renamed{path.suffix}"))
    os.utime(path.parent, (1_700_000_000, 1_700_000_000))  # a folder that has just changed is scanned again and again
    (storage.root / ".localstore/manifest.jsonl").unlink()
    opened = type(storage)(storage.root)
    is_reading, may_go_on = threading.Event(), threading.Event()
    read_all = DocumentFile.read_all

    def read_slowly(file: DocumentFile) -> bytes:
        if threading.current_thread() is not threading.main_thread():
            is_reading.set()
            may_go_on.wait(60)
        return read_all(file)

    monkeypatch.setattr(DocumentFile, "read_all", read_slowly)
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(opened.list_sessions)
        try:
            assert is_reading.wait(60)
            assert [info.session_id for info in opened.list_sessions()] == ["a"]
            opened.append("a", answered("second"))
        finally:
            may_go_on.set()
        assert [info.session_id for info in slow.result()] == ["a"]
    (document,) = path.parent.iterdir()
    assert run_ids(document) == ["first", "second"]


def test_a_file_that_is_being_read_again_is_unreadable_until_then(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: a file that had changed was no longer known as unreadable while one thread read it again, so that
    another thread did not list it."""
    storage.append("a", answered("first"))
    broken = storage.path("a").with_name(f"broken{storage.path('a').suffix}")
    broken.write_bytes(b"{")
    storage.list_sessions()
    broken.write_bytes(b"{{")
    is_reading, may_go_on = threading.Event(), threading.Event()
    read_all = DocumentFile.read_all

    def read_slowly(file: DocumentFile) -> bytes:
        is_reading.set()
        may_go_on.wait(60)
        return read_all(file)

    monkeypatch.setattr(DocumentFile, "read_all", read_slowly)
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(storage.list_sessions)
        try:
            assert is_reading.wait(60)
            assert list(storage.unreadable_files()) == [broken]
        finally:
            may_go_on.set()
        slow.result()
    assert list(storage.unreadable_files()) == [broken]


def make_copies(root: Path) -> dict[str, Path]:
    """Make a store with 12 sessions, half of which have two documents. Return the document that counts for each."""
    storage = JsonStorage(root)
    with storage.bulk():
        for number in range(12):
            storage.append(f"s{number}", answered(f"run-{number}"))
    expected = {f"s{number}": storage.path(f"s{number}") for number in range(12)}
    for number in range(0, 12, 2):
        path = expected[f"s{number}"]
        shutil.copy(path, path.with_name(("a copy of " if number % 4 else "z ") + path.name))
    forget_indexes(root)
    return expected


def forget_indexes(root: Path) -> None:
    for path in (root / ".localstore").iterdir():
        if path.is_file():
            path.unlink()


@pytest.mark.parametrize("moment", range(1, 19, 3))
def test_two_that_read_all_documents_again_agree_on_the_document_of_each_session(
    tmp_path: Path, moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one begins when the first one has read some, and ends before it."""
    monkeypatch.setattr(session_index, "_BATCH", 3)
    expected = make_copies(tmp_path / "store")
    second = JsonStorage(tmp_path / "store")
    pids = iter(range(100))
    monkeypatch.setattr(os, "getpid", lambda: next(pids))  # each takes the documents in another order

    def progress(done: int, total: int) -> None:
        if (done, total) == (moment, 18):
            assert {info.session_id: info.path for info in second.list_sessions()} == expected

    first = JsonStorage(tmp_path / "store", progress=progress)
    for storage in (first, second, JsonStorage(tmp_path / "store")):
        assert {info.session_id: info.path for info in storage.list_sessions()} == expected
        assert {info.session_id: storage.path(info.session_id) for info in storage.list_sessions()} == expected


def test_documents_that_another_process_has_read_meanwhile_are_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_index, "_BATCH", 3)
    second = JsonStorage(tmp_path / "store")
    for number in range(12):
        second.append(f"s{number}", answered(f"run-{number}"))
    forget_indexes(second.root)
    read: list[str] = []
    read_all = DocumentFile.read_all

    def counted(file: DocumentFile) -> bytes:
        read.append(file.path)
        return read_all(file)

    def progress(done: int, _: int) -> None:
        if done == 1:
            second.list_sessions()
            monkeypatch.setattr(DocumentFile, "read_all", counted)

    first = JsonStorage(tmp_path / "store", progress=progress)
    assert len(first.list_sessions()) == 12
    assert len(read) == 2, "the rest of the first batch"


def test_the_progress_of_reading_is_reported(storage: Storage, tmp_path: Path) -> None:
    for number in range(5):
        storage.append(f"s{number}", answered(f"run-{number}"))
    forget_indexes(storage.root)
    calls: list[tuple[int, int]] = []
    opened = type(storage)(storage.root, progress=lambda done, total: calls.append((done, total)))
    opened.list_sessions()
    assert calls == [(done, 5) for done in range(1, 6)]
    calls.clear()
    opened.list_sessions()
    assert calls == []
    assert opened.search("run") == []
    assert calls == [(done, 5) for done in range(1, 6)]


def test_a_progress_that_is_no_function_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="progress must be a function of two numbers, not True"):
        JsonStorage(tmp_path, progress=True)  # type: ignore[arg-type]


def test_a_document_with_the_canonical_name_counts_even_if_the_manifest_names_another(storage: Storage) -> None:
    """As after the index was deleted. What the other one has is read as well."""
    storage.append("a", answered("first"))
    canonical = storage.path("a")
    named = canonical.with_name(f"Trip{canonical.suffix}")
    content = canonical.read_bytes()
    canonical.rename(named)
    assert storage.path("a") == named
    storage.append("a", answered("second"))
    storage.list_sessions()
    canonical.write_bytes(content)
    for opened in (storage, type(storage)(storage.root)):
        assert [info.path for info in opened.list_sessions()] == [canonical]
        with pytest.warns(UserWarning, match="has two documents"):
            session = opened.read("a")
        assert session is not None
        assert [run.run_id for run in session.runs] == ["first", "second"]
    forget_indexes(storage.root)
    assert [info.path for info in type(storage)(storage.root).list_sessions()] == [canonical]
