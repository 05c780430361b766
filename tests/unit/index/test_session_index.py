"""The session index: listings are right whatever people and other programs do with the files."""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from localstore import DocumentBroken, Filter, JsonStorage, YamlStorage
from localstore.index.row import IndexRow
from localstore.index.session_index import SessionIndex
from localstore.models.session_info import SORT_KEYS
from tests.effort import sampled
from tests.unit.raw import Storage, answered, edit, parse, run_ids
from tests.unit.watched_disk import WatchedDisk


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


def test_a_copy_of_a_document_is_named_and_left_alone(storage: Storage, later: Callable[[], Storage]) -> None:
    path = storage.path("a")
    copy = path.with_name(f"copy{path.suffix}")
    shutil.copy2(path, copy)
    raw = copy.read_bytes()
    opened = later()
    with pytest.warns(UserWarning, match="has a copy"):
        check(opened, "a", "b", "c")
    assert opened.duplicate_files() == {copy: "a"}
    opened.append("a", answered("next"))
    assert run_ids(path) == ["run-a", "next"]
    assert copy.read_bytes() == raw
    opened.merge_copies()
    assert not copy.exists()
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


def test_a_session_that_is_written_to_during_a_listing_comes_first_and_nothing_is_listed_again(
    storage: Storage, later: Callable[[], Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen processes that kept writing made each other list everything twice or three times."""
    storage, other = later(), type(storage)(storage.root)
    before = [info.session_id for info in storage.list_sessions()]
    listings: list[object] = []
    in_order = SessionIndex._in_order

    def meanwhile(self: SessionIndex, *args: Any) -> Iterator[tuple[str, IndexRow]]:
        found = list(in_order(self, *args))
        listings.append(found)
        other.append(before[-1], answered(f"next-{len(listings)}"))
        return iter(found)

    monkeypatch.setattr(SessionIndex, "_in_order", meanwhile)
    assert [info.session_id for info in storage.list_sessions(limit=3)] == [before[-1], *before[:-1]]
    assert len(listings) == 1
    after = [info.session_id for info in storage.list_sessions(newest_first=False)]
    assert after == [*before[-2::-1], before[-1]]


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


@pytest.mark.usefixtures("folding")
def test_the_index_selects_what_the_filter_matches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tags, ratings, models, the status and names are asked of the index if there are many sessions.

    So is the order: a page is the beginning of the whole listing.
    """
    monkeypatch.setattr("localstore.index.sweep._FEW", 0)
    monkeypatch.setattr("localstore.index.session_index._FIRST_PAGE", 1)
    storage = JsonStorage(tmp_path / "store", durability="relaxed")
    chance = random.Random(3)
    filters = [
        Filter(tag=tag, model=model, rating=rating, status=status, name=name, archived=archived)
        for tag in (None, "a", ("a", "b"))
        for model in (None, "m1", "none")
        for rating in (None, "good")
        for status in (None, "error")
        for name in (None, "trip")
        for archived in (None, True, False)
    ]

    of_parts = [
        Filter(part_of="s0"),
        Filter(part_of=("s0", "s1"), archived=False),
        Filter(sub_sessions=True, tag="a"),
        Filter(sub_sessions=False),
    ]

    def change(session_id: str) -> None:
        run = answered(f"run-{chance.random()}")
        run.model, run.status = chance.choice(("m1", "m2")), chance.choice(("completed", "error"))
        storage.append(session_id, run)
        tags = [tag for tag in ("a", "b", "archived") if chance.random() < 0.5]
        storage.update(session_id, tags=tags, name=chance.choice(("A trip", "other")))
        if chance.random() < 0.5:
            storage.rate(session_id, run.run_id, chance.choice(("good", "bad")))
        session = storage.read(session_id)
        assert session is not None
        session.part_of = chance.choice((None, "s0", "s1", "nowhere"))
        storage.upsert(session)

    for number in range(12):
        change(f"s{number}")
    for turn in range(3):
        for where in [*of_parts, *sampled(filters[turn:], 3)]:
            rows = storage._engine.rows(Filter())
            expected = [row["session_id"] for row in rows if where.matches(row)]
            for opened in (storage, JsonStorage(storage.root)) if where == filters[turn] else (storage,):
                assert [info.session_id for info in opened.list_sessions(where=where)] == expected
                assert opened.count(where) == len(expected)
                assert opened.stats(where=where).total.sessions == len(expected)
                for sort in sampled(SORT_KEYS, 3):
                    for newest_first in (True, False):
                        ordered = partial(opened.list_sessions, where=where, sort=sort, newest_first=newest_first)
                        assert ordered(limit=3) == ordered()[:3]
        change(f"s{chance.randrange(12)}")
        storage.delete_session(f"s{chance.randrange(12)}")
