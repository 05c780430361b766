"""Search: what is found, and that it is what the documents have."""

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localstore import Filter, JsonStorage, Message, Run, SearchHit, Step, ToolCall
from localstore.disk import filesystem
from localstore.format.entry_texts import FoundText, entry_texts, header_texts
from localstore.index import search_index, search_matches
from localstore.index.search_query import parse_query
from localstore.storage import search_listing
from tests.effort import rounds
from tests.unit.raw import Storage, answered, edit, edit_by_rename, parse, question


def found(storage: Storage, text: str, **options: Any) -> list[tuple[str, str | None]]:
    """The sessions and runs of the hits."""
    return [(hit.session_id, hit.run_id) for hit in storage.search(text, **options)]


def scanned(storage: Storage, text: str) -> set[tuple[str, int | None]]:
    """The sessions and entries that a plain reading of all documents finds."""
    query = parse_query(text)
    assert query is not None
    hits: set[tuple[str, int | None]] = set()
    for path in storage.root.glob("sessions/*/*.*"):
        document = parse(path)
        if query.matches(header_texts(document)):
            hits.add((document["session_id"], None))
        for number, entry in enumerate(document["history"] or []):
            if query.matches(entry_texts(entry)):
                hits.add((document["session_id"], number))
    return hits


def index_file(storage: Storage) -> Path:
    return storage.root / ".localstore" / "search.sqlite"


# What is found


def test_everything_that_was_said_is_found_and_where(storage: Storage) -> None:
    call = ToolCall(id="c1", name="find_trains", arguments={"city": "Salzburg", "tags": ["night", 5]})
    member = Run(messages=[Message(role="assistant", content="member word")])
    run = Run(
        run_id="r1",
        input={"topic": "inputword"},
        messages=[
            Message(role="user", content=[{"type": "text", "text": "parted"}]),  # type: ignore[list-item]
            Message(role="assistant", tool_calls=[call]),
            Message(role="tool", content="resultword", tool_call_id="c1"),
        ],
        member_runs=[member],
        steps=[Step(name="draft", output={"text": "stepword"}, messages=[Message(role="user", content="stepsaid")])],
        output={"answer": "outputword"},
        session_summary="summaryword",
        error="errorword",
        status="error",
    )
    storage.append("s1", run, user_id="alice")
    storage.update("s1", name="nameword", tags=["tagword", "other"])
    storage.rate("s1", "r1", "bad", "noteword")
    for word, field, role, message in (
        ("parted", "content", "user", 0),
        ("salzburg find night 5", "tool call", "assistant", 1),
        ("resultword", "content", "tool", 2),
        ("inputword", "input", None, None),
        ("member", "member run", "assistant", None),
        ("stepword", "step", None, None),
        ("stepsaid", "step", "user", None),
        ("outputword", "output", None, None),
        ("summaryword", "summary", None, None),
        ("errorword", "error", None, None),
        ("noteword", "rating note", None, None),
    ):
        (hit,) = storage.search(word)
        assert (hit.session_id, hit.title, hit.user_id, hit.run_id, hit.entry) == ("s1", "nameword", "alice", "r1", 0)
        assert (hit.field, hit.role, hit.message) == (field, role, message), word
        assert hit.created_at == run.created_at
    for word, field in (("nameword", "name"), ("tagword other", "tags")):
        (hit,) = storage.search(word)
        assert (hit.field, hit.run_id, hit.entry) == (field, None, None)


def test_updates_and_entries_of_other_programs_are_found(storage: Storage) -> None:
    storage.append("s1", question("r1", "first"))
    storage.update("s1", session_summary={"text": "about Linz"})
    session = storage.read("s1")
    assert session is not None
    session.history.append({"type": "note", "text": "call Graz"})  # type: ignore[arg-type]
    session.history = [type(session).model_validate({"history": [entry]}).history[0] for entry in session.history]
    storage.upsert(session)
    assert [(hit.field, hit.entry, hit.run_id) for hit in storage.search("linz")] == [("summary", 1, None)]
    assert [(hit.field, hit.entry) for hit in storage.search("graz")] == [("item", 2)]


def test_the_newest_entry_comes_first_and_limit_cuts_off(storage: Storage) -> None:
    for day in (3, 1, 2):
        run = question(f"r{day}", "train to Wien", created_at=f"2026-11-0{day}T10:00:00Z")
        storage.append(f"s{day}", run, user_id=f"u{day}", entity_id="planner", kind="team")
    assert found(storage, "wien train") == [("s3", "r3"), ("s2", "r2"), ("s1", "r1")]
    assert found(storage, "wien", limit=2) == [("s3", "r3"), ("s2", "r2")]
    assert found(storage, "wien", limit=0) == []
    assert found(storage, "wien", limit=None, user_id="u1", entity_id="planner", kind="team") == [("s1", "r1")]
    assert found(storage, "wien", user_id="u1", kind="agent") == []
    assert found(storage, "Wien", literal=True, user_id="u2") == [("s2", "r2")]


def test_the_best_match_comes_first_if_asked_for(storage: Storage) -> None:
    storage.append("old", question("r1", "Wien Wien Wien", created_at="2026-11-01T10:00:00Z"))
    storage.append("new", question("r2", "Wien is one of many words here", created_at="2026-11-02T10:00:00Z"))
    assert found(storage, "wien") == [("new", "r2"), ("old", "r1")]
    assert found(storage, "wien", rank=True) == [("old", "r1"), ("new", "r2")]


def test_a_snippet_is_one_line_around_the_first_word(storage: Storage) -> None:
    storage.append("s1", question("r1", "word\n" * 100 + "Vienna\tby\ntrain " + "more " * 100))
    (hit,) = storage.search("vienna train")
    assert hit.snippet[0] == hit.snippet[-1] == "…"
    assert "\n" not in hit.snippet
    assert len(hit.snippet) < 250
    assert [hit.snippet[start:end] for start, end in hit.places] == ["Vienna", "train"]
    assert hit.as_dict()["places"] == [list(place) for place in hit.places]


def test_a_literal_search_sees_case_punctuation_and_parts_of_words(storage: Storage) -> None:
    storage.append("s1", answered("r1", 'Say "C++", Ångström\nand\x07 more', "fine"))
    for text in ("C++", '"C++', "ngström\nand", "or", "\x07 m"):
        assert found(storage, text, literal=True) == [("s1", "r1")], text
    for text in ("c++", "ANGSTROM", "C++ ,"):
        assert found(storage, text, literal=True) == []
    assert found(storage, "++") == [("s1", "r1")]  # without a word, the text is searched as it is


@pytest.mark.parametrize("text", ['"', "(", "a AND", "NEAR(", "*", "-", "a:b^", "x" * 5000, "w " * 3000, "\0", "'; --"])
def test_no_text_is_an_error(storage: Storage, text: str) -> None:
    storage.append("s1", question("r1", "a b"))
    assert isinstance(storage.search(text, literal=False), list)


def test_very_many_words_are_found(storage: Storage) -> None:
    """SQLite refuses a query with too many words. The documents are read then."""
    many = " ".join(f"w{number}" for number in range(3000))
    storage.append("s1", question("r1", many))
    assert found(storage, many) == [("s1", "r1")]
    assert found(storage, f"{many} missing") == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"text": ""}, ValueError),
        ({"text": " "}, ValueError),
        ({"text": 5}, TypeError),
        ({"limit": -1}, ValueError),
        ({"limit": True}, ValueError),
        ({"kind": "robot"}, ValueError),
        ({"user_id": 5}, TypeError),
        ({"literal": 1}, TypeError),
        ({"rank": None}, TypeError),
        ({"sweep": 0}, TypeError),
    ],
)
def test_invalid_arguments_are_errors(storage: Storage, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        storage.search(**{"text": "a", **options})


# It is what the documents have


def test_an_append_is_found_at_once_and_costs_its_entries(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        storage.append("s1", question(f"r{number}", f"word{number} common"))
    assert len(storage.search("common", limit=None)) == 50
    indexed: list[str] = []

    def record(entry: dict[str, Any]) -> list[FoundText]:
        indexed.append(entry["run_id"])
        return entry_texts(entry)

    monkeypatch.setattr(search_index, "entry_texts", record)
    storage.append("s1", question("new", "another common"))
    assert found(storage, "another") == [("s1", "new")]
    assert indexed == ["new"]
    assert len(storage.search("common", limit=None)) == 51


def test_a_run_that_grows_is_found_in_its_newest_form_once(storage: Storage) -> None:
    storage.append("s1", question("r0", "before"))
    run = question("r1", "train", status="unfinished")
    for word in ("one", "two", "three"):
        storage.append("s1", run)
        assert found(storage, "train") == [("s1", "r1")]
        run.messages.append(Message(role="assistant", content=word))
    run.status = "completed"
    storage.append("s1", run)
    assert found(storage, "one two three train") == [("s1", "r1")]
    storage.append("s1", question("r2", "train"))
    assert sorted(found(storage, "train")) == [("s1", "r1"), ("s1", "r2")]


@pytest.mark.parametrize("change", [edit, edit_by_rename])
def test_an_edit_by_hand_is_found_and_what_it_removed_is_not(
    storage: Storage, change: Callable[[Path, str, str], None]
) -> None:
    for number in range(3):
        storage.append("s1", question(f"r{number}", f"place{number}"))
    assert found(storage, "place1") == [("s1", "r1")]
    change(storage.path("s1"), "place1", "lake77")
    storage.append("s1", question("r3", "after the edit"))
    assert found(storage, "place1") == []
    assert found(storage, "lake77") == [("s1", "r1")]
    assert found(storage, "after") == [("s1", "r3")]


class Later:
    """The clock, an hour on."""

    @staticmethod
    def monotonic() -> float:
        return time.monotonic() + 3600


def test_an_edit_since_the_last_comparison_shows_no_hit_that_is_gone(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a second, the documents of a store of many sessions are not compared. A hit is read from its document."""
    storage.append("s1", answered("r1", "place1"))
    monkeypatch.setattr(search_listing, "_MANY", -1)
    assert found(storage, "place1") == [("s1", "r1")]
    edit(storage.path("s1"), "place1", "lake77")
    assert found(storage, "place1") == []
    monkeypatch.setattr(search_listing, "time", Later)
    assert found(storage, "lake77") == [("s1", "r1")]


def test_without_a_sweep_only_edits_in_place_are_missed(storage: Storage, reopen: Callable[[], Storage]) -> None:
    for number in range(3):
        storage.append(f"s{number}", answered("r1", f"place{number}"))
    assert found(storage, "place1", sweep=False) == [("s1", "r1")]
    edit(storage.path("s1"), "place1", "lake77")
    reopen().append("s2", answered("r2", "added"))
    reopen().update("s0", name="renamed")
    copy = storage.path("s0").with_name(f"copied{storage.path('s0').suffix}")
    copy.write_bytes(storage.path("s0").read_bytes().replace(b"s0", b"s9"))
    for searching in (storage, reopen()):
        assert found(searching, "added", sweep=False) == [("s2", "r2")]
        assert sorted(found(searching, "renamed", sweep=False)) == [("s0", None), ("s9", None)]
        assert found(searching, "lake77", sweep=False) == []
    assert found(storage, "place1", sweep=False) == []  # the hit is read from its document, which localstore reads then
    assert found(storage, "lake77", sweep=False) == [("s1", "r1")]


def test_a_sweep_finds_what_a_search_without_one_missed(storage: Storage) -> None:
    storage.append("s1", answered("r1", "place1"))
    assert found(storage, "place1", sweep=False) == [("s1", "r1")]
    edit(storage.path("s1"), "place1", "lake77")
    assert found(storage, "lake77", sweep=False) == []
    assert found(storage, "lake77") == [("s1", "r1")]


def test_a_search_without_a_sweep_looks_at_no_document_but_those_that_changed(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        storage.append(f"s{number}", question("r1", f"word{number}"))
    assert len(found(storage, "word*")) == 3
    storage.append("s2", question("r2", "added"))
    looked_at: list[str] = []
    state = search_listing.SearchListing._state

    def note(listing: search_listing.SearchListing, path: str) -> str | None:
        looked_at.append(Path(path).stem)
        return state(listing, path)

    monkeypatch.setattr(search_listing.SearchListing, "_state", note)
    assert found(storage, "added", sweep=False) == [("s2", "r2")]
    assert set(looked_at) == {"s2"}


def test_searches_without_a_sweep_list_the_sessions_once(
    storage: Storage, reopen: Callable[[], Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each letter that a person typed into the search of the browser listed all sessions again."""
    other = reopen()
    for number in range(3):
        storage.append(f"s{number}", question("r1", f"word{number}"))
    assert len(found(storage, "word*", sweep=False)) == 3
    listed: list[bool] = []
    listing = search_listing.SearchListing._all

    def note(self: search_listing.SearchListing, known: Mapping[str, str], *, sweep: bool) -> Mapping[str, str]:
        listed.append(sweep)
        return listing(self, known, sweep=sweep)

    monkeypatch.setattr(search_listing.SearchListing, "_all", note)
    assert found(storage, "word1", sweep=False) == [("s1", "r1")]
    other.append("s1", question("r2", "added"))
    assert found(storage, "added", sweep=False) == [("s1", "r2")]
    other.delete_session("s0")
    assert found(storage, "word0", sweep=False) == []
    assert listed == []
    copy = storage.path("s1").with_name(f"copied{storage.path('s1').suffix}")
    copy.write_bytes(storage.path("s1").read_bytes().replace(b"s1", b"s9"))
    assert sorted(found(storage, "added", sweep=False)) == [("s1", "r2"), ("s9", "r2")]
    storage.path("s2").unlink()
    assert found(storage, "word2", sweep=False) == []


def test_what_localstore_writes_is_found_at_once_among_many_sessions(
    storage: Storage, reopen: Callable[[], Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search among many sessions uses the listing of the last second. It would miss what was written since."""
    monkeypatch.setattr(search_listing, "_MANY", -1)
    other = reopen()
    storage.append("s1", question("r1", "first"))
    for number, writer in enumerate((storage, other, storage, other), 2):
        assert found(storage, "first") == [("s1", "r1")]
        writer.append("s1", question(f"r{number}", f"later {number}"))
        assert found(storage, f"later {number}") == [("s1", f"r{number}")]
        writer.append(f"new{number}", question("r1", f"created {number}"))
        assert found(storage, f"created {number}") == [(f"new{number}", "r1")]
    other.update("s1", name="renamed")
    assert found(storage, "renamed") == [("s1", None)]
    other.delete_session("s1")
    assert found(storage, "first") == []


def test_a_search_reads_no_rows_but_those_of_its_hits(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search took the rows of all sessions, also to find one run that had just been added."""
    for number in range(5):
        storage.append(f"s{number}", question("r1", f"word{number}"))
    assert len(found(storage, "word*")) == 5
    engine = storage._engine
    looked_up: list[str] = []
    locate = engine.locate

    def note(session_id: str) -> Any:
        looked_up.append(session_id)
        return locate(session_id)

    monkeypatch.setattr(engine, "rows", None)
    monkeypatch.setattr(engine, "locate", note)
    assert found(storage, "word3") == [("s3", "r1")]
    assert set(looked_up) == {"s3"}
    monkeypatch.setattr(search_listing, "_MANY", 0)
    storage.append("s4", question("r2", "added"))
    looked_up.clear()
    assert found(storage, "added") == [("s4", "r2")]
    assert set(looked_up) == {"s4"}


def test_what_is_deleted_renamed_or_moved_is_known(storage: Storage, reopen: Callable[[], Storage]) -> None:
    for number in range(4):
        storage.append(f"s{number}", question("r", f"word{number} common"))
    assert len(storage.search("common")) == 4
    reopen().delete_session("s0")
    storage.path("s1").unlink()
    path = storage.path("s2")
    path.rename(path.with_name(f"moved{path.suffix}"))
    edit(storage.path("s3"), "s3", "t3")
    assert sorted(found(storage, "common")) == [("s2", "r"), ("t3", "r")]
    storage.drop()
    assert found(storage, "common") == []
    storage.append("s0", question("r9", "common"))
    assert found(storage, "common") == [("s0", "r9")]


def test_broken_documents_are_left_out_until_they_are_mended(storage: Storage) -> None:
    storage.append("s1", question("r1", "here"))
    storage.append("s2", question("r2", "here"))
    path = storage.path("s1")
    sound = path.read_bytes()
    path.write_bytes(sound.replace(b"history", b"{[:history", 1))
    assert found(storage, "here") == [("s2", "r2")]
    assert found(storage, "here", literal=True) == [("s2", "r2")]
    path.write_bytes(sound)
    assert sorted(found(storage, "here")) == [("s1", "r1"), ("s2", "r2")]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_copy_of_a_session_is_not_searched(storage: Storage) -> None:
    """It takes part in nothing until `localstore merge` unites it with the session."""
    storage.append("s1", question("r1", "first"))
    path = storage.path("s1")
    copy = path.with_name(f"copy{path.suffix}")
    copy.write_bytes(path.read_bytes())
    storage.append("s1", question("r2", "second"))
    copy.write_bytes(copy.read_bytes().replace(b"r1", b"r5").replace(b"first", b"other"))
    assert found(storage, "other") == []
    assert found(storage, "second") == [("s1", "r2")]


@settings(max_examples=rounds(15, 60, 1000))
@given(seed=st.integers(0, 10**9))
def test_search_agrees_with_reading_all_documents(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Random writes, edits, deletions and searches, by two handles, compared with a scan of the raw files."""
    choose = random.Random(seed)
    root = tmp_path_factory.mktemp("store") / "s"
    handles = [JsonStorage(root, durability="relaxed"), JsonStorage(root, durability="relaxed")]
    vocabulary = ["wien", "Linz", "graz", "train", "Züge", "東京", "east", "東"]
    for number in range(12):
        storage = choose.choice(handles)
        session_id = f"s{choose.randrange(4)}"
        text = " ".join(choose.choices(vocabulary, k=choose.randint(1, 5)))
        action = choose.randrange(8)
        exists = storage.read(session_id) is not None
        if action < 4 or not exists:
            status = choose.choice(["completed", "unfinished"])
            storage.append(session_id, question(f"r{number}", text, status=status))
        elif action == 4:
            storage.update(session_id, name=text, session_summary=choose.choice(vocabulary))
        elif action == 5:
            path = storage.path(session_id)
            old = choose.choice(vocabulary)
            path.write_text(path.read_text("utf-8").replace(old, choose.choice(vocabulary)), "utf-8")
        elif action == 6:
            session = storage.read(session_id)
            assert session is not None
            del session.history[choose.randrange(len(session.history) + 1) :]
            storage.upsert(session)
        else:
            storage.delete_session(session_id)
        words = choose.sample(vocabulary, 2)
        for query in (
            words[0],
            " ".join(words),
            f"{words[0]} -{words[1]}",
            f"{words[0][0]}*",
            '"{} {}"'.format(*words),
        ):
            hits = choose.choice(handles).search(query, limit=None)
            assert {(hit.session_id, hit.entry) for hit in hits} == scanned(storage, query)
            assert len(hits) == len({(hit.session_id, hit.entry) for hit in hits})
            assert hits == sorted(hits, key=lambda hit: str(hit.created_at), reverse=True) or not hits
            assert all(hit.places for hit in hits)


# The index file


def test_the_index_is_private_and_machine_local(storage: Storage) -> None:
    storage.append("s1", question("r1", "here"))
    storage.search("here")
    for path in index_file(storage).parent.glob("search.sqlite*"):
        assert path.stat().st_mode & 0o777 == 0o600
    assert (storage.root / ".localstore" / ".gitignore").read_text() == "*\n"


def damage(storage: Storage, how: str) -> None:
    path = index_file(storage)
    files = [path.with_name(path.name + end) for end in ("", "-wal", "-shm")]
    if how == "deleted":
        for file in files:
            file.unlink(missing_ok=True)
    elif how == "garbage":
        path.write_bytes(random.Random(1).randbytes(50_000))
    elif how == "truncated":
        os.truncate(path, 5000)
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "pages":
        raw = bytearray(path.read_bytes())
        raw[4096:] = random.Random(2).randbytes(len(raw) - 4096)
        path.write_bytes(raw)
    elif how == "other":
        import sqlite3

        path.unlink()
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE other(x)")
        connection.commit()
        connection.close()
    elif how == "newer":
        import sqlite3

        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
    elif how == "folder":
        for file in files:
            file.unlink(missing_ok=True)
        path.mkdir()
    elif how == "link":
        for file in files:
            file.unlink(missing_ok=True)
        (storage.root.parent / "target").write_bytes(b"precious")
        path.symlink_to(storage.root.parent / "target")


HOW = ["deleted", "garbage", "truncated", "empty", "pages", "other", "newer", "folder", "link"]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("is_open", [True, False])
def test_a_damaged_index_is_made_again_silently(
    storage: Storage, reopen: Callable[[], Storage], how: str, is_open: bool
) -> None:
    for number in range(30):
        storage.append(f"s{number}", question("r", f"word{number} common"))
    assert len(storage.search("common", limit=None)) == 30
    if not is_open:
        storage.close()
    damage(storage, how)
    for handle in (storage, reopen()):
        assert len(handle.search("common", limit=None)) == 30
        assert found(handle, "word7") == [("s7", "r")]
        handle.append("s7", question("r2", "word7"))
        assert len(handle.search("word7")) == 2
        handle.delete_session("s7")
        handle.append("s7", question("r", "word7 common"))
    if how == "link":
        assert (storage.root.parent / "target").read_bytes() == b"precious"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs file modes")
def test_a_store_that_cannot_be_written_is_searched_in_memory(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, reopen: Callable[[], Storage]
) -> None:
    storage.append("s1", question("r1", "here"))
    original = filesystem.System.open

    def refuse(self: filesystem.System, path: str, flags: int) -> int:
        if "search.sqlite" in path:
            raise PermissionError(13, "Permission denied", path)
        return original(self, path, flags)

    monkeypatch.setattr(filesystem.System, "open", refuse)
    reader = reopen()
    assert found(reader, "here") == [("s1", "r1")]
    storage.append("s1", question("r2", "here"))
    assert sorted(found(reader, "here")) == [("s1", "r1"), ("s1", "r2")]
    assert not index_file(storage).exists()


def test_a_full_disk_makes_no_difference(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    storage.append("s1", question("r1", "here"))
    storage.search("here")
    original = search_index.SearchIndex._index
    calls: list[int] = []

    def fail(self: search_index.SearchIndex, *args: Any) -> None:
        original(self, *args)
        if not calls:
            calls.append(1)
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

    monkeypatch.setattr(search_index.SearchIndex, "_index", fail)
    storage.append("s1", question("r2", "here"))
    assert sorted(found(storage, "here")) == [("s1", "r1"), ("s1", "r2")]
    assert calls


def test_without_full_text_search_the_documents_are_read(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    def fail(*_: Any, **__: Any) -> None:
        raise sqlite3.OperationalError("no such module: fts5")

    storage.append("s1", question("r1", "train to Wien"))
    monkeypatch.setattr(search_index.SearchIndex, "update", fail)
    assert found(storage, "wien tra*") == [("s1", "r1")]
    assert found(storage, "wien -train") == []


def test_an_index_of_outdated_words_is_filled_again(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words of changed entries stay in the index until most of it is outdated. It would grow without bounds."""
    monkeypatch.setattr(search_index, "_SPARE_ENTRIES", 5)
    storage.append("s0", question("r0", "steady"))
    for number in range(20):
        storage.append("s1", question("r1", f"draft {number}"))
        assert found(storage, f"draft {number}") == [("s1", "r1")]
        storage.delete_session("s1")
        assert found(storage, "draft") == []
    import sqlite3

    connection = sqlite3.connect(index_file(storage))
    assert connection.execute("SELECT max(seq) FROM sqlite_sequence").fetchone()[0] < 12
    connection.close()
    assert found(storage, "steady") == [("s0", "r0")]


@pytest.mark.parametrize(("rare", "most"), [(100, 100), (10, 100), (10, 20)], ids=["sorted", "in a set", "looked up"])
def test_the_newest_entries_come_first_however_common_the_words_are(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, rare: int, most: int
) -> None:
    """Rare words, common words and words of most entries are looked up in different ways, with the same result."""
    monkeypatch.setattr(search_matches, "_RARE", rare)
    monkeypatch.setattr(search_matches, "_COMMON", most)
    monkeypatch.setattr(search_matches, "_FIRST_PAGE", 3)
    monkeypatch.setattr(search_matches, "_SECOND_PAGE", 11)
    monkeypatch.setattr(search_matches, "_AT_ONCE", 7)
    monkeypatch.setattr(search_matches, "_MOST_LOOKED_UP", 21)
    for number in range(60):
        second = (number * 37) % 60
        run = question(
            f"r{second}", "common" if second % 2 else "common even", created_at=f"2026-11-01T10:00:{second:02}Z"
        )
        storage.append(f"s{number % 5}", run, user_id=f"u{number % 5}")
    times = [str(hit.created_at) for hit in storage.search("common", limit=None)]
    assert len(times) == 60
    assert times == sorted(times, reverse=True)
    assert [hit.run_id for hit in storage.search("even", limit=4)] == ["r58", "r56", "r54", "r52"]
    assert len(storage.search("common", user_id="u3", limit=None)) == 12
    assert len({hit.run_id for hit in storage.search("common", limit=40)}) == 40
    assert [hit.run_id for hit in storage.search("comm* -even", limit=4)] == ["r59", "r57", "r55", "r53"]
    assert len({hit.run_id for hit in storage.search("common", limit=40, rank=True)}) == 40


def segments(storage: Storage) -> int:
    """The number of places in which the index stores what it knows of a word."""
    import sqlite3

    connection = sqlite3.connect(index_file(storage))
    ((count,),) = connection.execute("SELECT count(DISTINCT segid) FROM body_idx")
    connection.close()
    assert isinstance(count, int)
    return count


def test_the_index_is_merged_after_many_entries_were_added(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each search looked a word up in every part of an index that was filled in many transactions."""
    monkeypatch.setattr(search_index, "_BATCH", 10)
    for number in range(7):
        storage.append(f"s{number}", question("r1", f"common {number}"))
    assert len(found(storage, "common")) == 7
    assert segments(storage) > 1
    monkeypatch.setattr(search_index, "_WORTH_MERGING", 3)
    storage.append("s8", question("r1", "common 8"))
    assert len(found(storage, "common")) == 8
    assert segments(storage) > 1  # one entry is not worth it
    for number in range(9, 13):
        storage.append(f"s{number}", question("r1", f"common {number}"))
    assert len(found(storage, "common")) == 12
    assert segments(storage) == 1
    assert found(storage, "common 11") == [("s11", "r1")]
    import sqlite3

    connection = sqlite3.connect(index_file(storage))
    assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)  # a tenth of a large index was empty pages
    assert connection.execute("PRAGMA freelist_count").fetchone() == (0,)
    connection.close()


def test_an_index_that_cannot_be_merged_is_used_as_it_is(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that writes to the index during the merge is no reason to leave it and index everything in memory."""
    import sqlite3

    def merge(index: search_index.SearchIndex) -> None:
        index._file.use(lambda connection: connection.execute("PRAGMA busy_timeout = 10"))
        blocker = sqlite3.connect(index_file(storage))
        blocker.execute("BEGIN IMMEDIATE")
        original(index)
        blocker.close()
        merged.append(True)

    original = search_index.SearchIndex._merge
    merged: list[bool] = []
    monkeypatch.setattr(search_index, "_WORTH_MERGING", 1)
    monkeypatch.setattr(search_index.SearchIndex, "_merge", merge)
    for number in range(3):
        storage.append(f"s{number}", question("r1", "common"))
        assert len(found(storage, "common")) == number + 1
    assert len(merged) == 3
    connection = sqlite3.connect(index_file(storage))
    assert connection.execute("SELECT count(*) FROM entry").fetchone() == (3,)
    connection.close()


# Threads and processes


def test_threads_search_and_write_at_the_same_time(storage: Storage) -> None:
    errors: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(8):
                storage.append(name, question(f"r{number}", f"common {name}"))
                assert len(storage.search(name, limit=None)) == number + 1
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(f"thread{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(storage.search("common", limit=None)) == 32


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_uses_a_connection_of_its_own(storage: Storage) -> None:
    storage.append("s1", question("r1", "common"))
    assert found(storage, "common") == [("s1", "r1")]
    child = os.fork()
    if not child:
        code = 1
        try:
            storage.append("s2", question("r2", "common"))
            code = 0 if {("s1", "r1"), ("s2", "r2")} <= set(found(storage, "common")) else 2
        finally:
            os._exit(code)
    storage.append("s3", question("r3", "common"))
    assert ("s3", "r3") in found(storage, "common")
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert len(storage.search("common")) == 3


BUILD = """
import sys
from localstore import JsonStorage
from localstore.index import search_index, search_matches
search_index._BATCH = 2000
print("begins", flush=True)
print(len(JsonStorage(sys.argv[1]).search("common", limit=None)), flush=True)
"""


def building(storage: Storage) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, str(storage.root)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )


def filled(tmp_path: Path, sessions: int) -> JsonStorage:
    storage = JsonStorage(tmp_path / "many", durability="relaxed")
    for number in range(sessions):
        storage.append(f"s{number}", question("r", f"common word{number} " + "filling " * 20))
    return storage


def test_two_processes_build_the_index_together(tmp_path: Path) -> None:
    storage = filled(tmp_path, 200)
    processes = [building(storage) for _ in range(2)]
    assert [process.communicate(timeout=100)[0].split() for process in processes] == [["begins", "200"]] * 2
    assert len(storage.search("common", limit=None)) == 200


def test_a_build_that_was_killed_is_continued(tmp_path: Path) -> None:
    storage = filled(tmp_path, 200)
    for delay in (0.0, 0.02, 0.1)[: rounds(2, 3, 3)]:
        process = building(storage)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.kill()
        process.communicate()
    assert len(storage.search("common", limit=None)) == 200
    assert found(storage, "word77") == [("s77", "r")]


def test_an_index_that_another_process_locks_for_ever_is_done_without(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, reopen: Callable[[], Storage]
) -> None:
    import sqlite3

    from localstore.index import sqlite_file

    storage.append("s1", question("r1", "common"))
    storage.search("common")
    monkeypatch.setattr(sqlite_file, "_PATIENCE", 0.1)
    holder = sqlite3.connect(index_file(storage), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    reader = reopen()
    storage.append("s1", question("r2", "common"))
    assert sorted(found(reader, "common")) == [("s1", "r1"), ("s1", "r2")]
    holder.close()


def test_importing_and_storing_load_no_sqlite(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom localstore import JsonStorage, Run, SearchHit\n"
        f"storage = JsonStorage({str(tmp_path / 'store')!r})\nstorage.append('s', Run())\nstorage.read('s')\n"
        "print('sqlite3' in sys.modules)\nstorage.search('a')\nprint('sqlite3' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_a_hit_is_shown_on_one_line() -> None:
    hit = SearchHit("s", "", None, None, None, None, None, None, "name", "Trip", ((0, 4),), None)
    assert repr(hit) == "SearchHit('s', name, 'Trip')"
    assert hit.as_dict()["places"] == [[0, 4]]


@pytest.mark.parametrize("few", [0, 500])
def test_a_filter_selects_the_same_hits_whether_it_is_asked_before_or_after_the_words(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """All sessions that matched a filter were listed before each search."""
    monkeypatch.setattr("localstore.storage.search._FEW", few)
    for number in range(6):
        status: Any = "error" if number == 3 else "completed"
        run = answered(f"r{number}", "common words", status=status, error="x" if number == 3 else None)
        storage.append(f"s{number}", run, user_id="alice" if number % 2 else "bob")
        storage.update(f"s{number}", tags=["archived"] if number == 5 else [])
    for where, expected in (
        (Filter(user="alice", archived=False), ["s3", "s1"]),
        (Filter(user="bob"), ["s4", "s2", "s0"]),
        (Filter(status="error"), ["s3"]),
        (Filter(user="carl"), []),
        (Filter(), ["s5", "s4", "s3", "s2", "s1", "s0"]),
    ):
        assert [session_id for session_id, _ in found(storage, "common", where=where)] == expected
        assert [session_id for session_id, _ in found(storage, "common", where=where, limit=1)] == expected[:1]
