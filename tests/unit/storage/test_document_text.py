"""`storage.replace_document`: a person's text is stored byte for byte, and merged with what others wrote meanwhile."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localstore import (
    Conflict,
    DocumentBroken,
    JsonStorage,
    Message,
    OlderFormat,
    OwnerMismatch,
    RunNotFound,
    SessionNotFound,
    YamlStorage,
)
from localstore.format.document import LAYOUTS, ParsedDocument, parse_document
from localstore.maintenance.check import check
from localstore.maintenance.rescue import rescued, restore
from tests.crashes import tear
from tests.unit.raw import Storage, answered, question, run_ids


@pytest.fixture
def trip(storage: Storage) -> Storage:
    for number in (1, 2, 3):
        storage.append("trip", answered(f"r{number}", f"question {number}", f"answer {number}"), user_id="alice")
    storage.append("other", answered("r1"))
    return storage


def text(storage: Storage) -> bytes:
    return storage.read_document("trip")


def changed(raw: bytes, **words: str) -> bytes:
    """The text with `question_1="x"` for "question 1" replaced."""
    for old, new in words.items():
        assert raw.count(old.replace("_", " ").encode()) == 1
        raw = raw.replace(old.replace("_", " ").encode(), new.encode())
    return raw


def assert_sound(storage: Storage) -> None:
    assert [one for one in check(storage.root) if one.severity != "note"] == []
    assert {info.session_id for info in storage.list_sessions()} == {"trip", "other"}
    storage.append("trip", answered("later"))
    fresh = type(storage)(storage.root).read("trip")
    assert fresh is not None
    assert fresh.runs[-1].run_id == "later"


def test_what_a_person_typed_is_stored_byte_for_byte(trip: Storage) -> None:
    """Own formatting, comments and numbers that no float holds stay, and listings know what changed."""
    base = text(trip)
    if isinstance(trip, YamlStorage):
        new = changed(base, question_2="Where?   # so she said").replace(b"user_id: alice", b"user_id:   bob # moved")
        new = new.replace(b"history:\n", b"metadata: {n: 1.000000000000000000001}\n# the talk\nhistory:\n")
    else:
        new = changed(base, question_2="Where?").replace(b'"user_id": "alice"', b'"user_id":    "bob"')
        new = new.replace(b'  "history": [', b'  "metadata": {"n": 1.000000000000000000001},\n  "history": [')
    done = trip.replace_document("trip", new, base=base)
    assert set(done.changes) == {"user_id was changed", "metadata was added", "run 2 was changed"}
    assert (done.elsewhere, done.lost, done.rescued) == ((), (), ())
    assert text(trip) == new
    assert trip.list_sessions(user_id="bob")[0].session_id == "trip"
    assert not rescued(trip.root)
    assert list(Path(trip.root).rglob("*.tmp")) == []


def test_an_unchanged_text_writes_nothing(trip: Storage) -> None:
    """Also if others wrote meanwhile."""
    base = text(trip)
    trip.append("trip", answered("r4"))
    before = trip.path("trip").stat()
    assert trip.replace_document("trip", base, base=base).changes == ()
    assert trip.path("trip").stat() == before


def test_runs_that_were_added_meanwhile_stay(trip: Storage) -> None:
    base = text(trip)
    trip.append("trip", answered("r4"))
    trip.update("trip", session_state={"n": 1})
    done = trip.replace_document("trip", changed(base, question_1="edited"), base=base)
    assert done.changes == ("run 1 was changed",)
    assert set(done.elsewhere) == {"run 4 was added", "an update entry was added"}
    assert run_ids(trip.path("trip")) == ["r1", "r2", "r3", "r4"]
    assert text(trip).startswith(changed(base, question_1="edited").removesuffix(oracle_end(trip)))
    assert_sound(trip)


def oracle_end(storage: Storage) -> bytes:
    return b"...\n" if isinstance(storage, YamlStorage) else b"\n  ]\n}\n"


def test_different_runs_and_fields_that_both_sides_changed_are_merged(trip: Storage) -> None:
    """A rating and a tag of the others, another run and another field of the person."""
    base = text(trip)
    trip.rate("trip", "r3", "good")
    trip.update("trip", add_tags=["travel"])
    name = b"name: Linz\nkind:" if isinstance(trip, YamlStorage) else b'"name": "Linz",\n  "kind":'
    new = changed(base, answer_1="edited").replace(b"kind:" if isinstance(trip, YamlStorage) else b'"kind":', name)
    done = trip.replace_document("trip", new, base=base)
    session = trip.read("trip")
    assert session is not None
    assert (session.name, session.tags, session.runs[2].rating) == ("Linz", ["travel"], "good")
    assert session.runs[0].answer == "edited"
    assert done.lost == ()
    assert_sound(trip)


def test_a_run_that_both_sides_changed_stays_as_the_others_wrote_it(trip: Storage) -> None:
    """The person's form is in the rescue folder, and the result names it. The rest of the edit is stored."""
    base = text(trip)
    session = trip.read("trip")
    assert session is not None
    session.runs[1].messages[0].content = "theirs"
    trip.upsert(session)
    done = trip.replace_document("trip", changed(base, question_2="mine", question_1="edited"), base=base)
    assert done.lost == ("run r2",)
    (kept,) = rescued(trip.root)
    assert (kept.name,) == done.rescued
    assert "mine" in Path(kept.path).read_text()
    session = trip.read("trip")
    assert session is not None
    assert [run.question for run in session.runs] == ["edited", "theirs", "question 3"]
    assert restore(trip.root, kept.name).left  # the file stays, because the session has another form
    assert_sound(trip)


def test_an_edit_of_a_run_that_others_rated_keeps_both(trip: Storage) -> None:
    base = text(trip)
    trip.rate("trip", "r2", "bad", "too long")
    done = trip.replace_document("trip", changed(base, question_2="mine"), base=base)
    assert (done.lost, done.rescued) == ((), ())
    session = trip.read("trip")
    assert session is not None
    assert (session.runs[1].rating, session.runs[1].rating_note, session.runs[1].question) == (
        "bad",
        "too long",
        "mine",
    )
    assert_sound(trip)


def test_an_edit_of_a_run_that_others_took_out_is_kept(trip: Storage) -> None:
    """The run stays out, and the rescue folder has both forms."""
    base = text(trip)
    trip.remove_run("trip", "r2")
    done = trip.replace_document("trip", changed(base, question_2="mine", question_1="edited"), base=base)
    assert done.lost == ("run r2",)
    assert run_ids(trip.path("trip")) == ["r1", "r3"]
    kept = {one.name: Path(one.path).read_text() for one in rescued(trip.root)}
    assert "mine" in kept[done.rescued[0]]
    assert len(kept) == 2


def test_comments_that_find_no_place_are_kept(tmp_path: Path) -> None:
    """The person wrote a comment into a run that others rated meanwhile: the run is written again."""
    storage = YamlStorage(tmp_path / "store")
    storage.append("trip", answered("r1"))
    base = text(storage)
    storage.rate("trip", "r1", "good")
    done = storage.replace_document("trip", base.replace(b"  status:", b"  # in March\n  status:"), base=base)
    assert done.lost == ("the comments",)
    assert any("# in March" in Path(one.path).read_text() for one in rescued(storage.root) if one.name in done.rescued)
    session = storage.read("trip")
    assert session is not None
    assert session.runs[0].rating == "good"


def test_long_numbers_elsewhere_in_the_document_stay(trip: Storage) -> None:
    """Only what is written again must not be rounded."""
    base = text(trip)
    number = b"3.14159265358979323846"
    first = changed(base, question_1="edited")
    first = first.replace(b'"run_id": "r3",', b'"run_id": "r3",\n      "x": %b,' % number)
    first = first.replace(b"  run_id: r3\n", b"  run_id: r3\n  x: %b\n" % number)
    trip.replace_document("trip", first, base=base)
    base = text(trip)
    trip.rate("trip", "r1", "good")
    trip.replace_document("trip", changed(base, edited="mine"), base=base)
    assert number in text(trip)
    session = trip.read("trip")
    assert session is not None
    assert (session.runs[0].question, session.runs[0].rating) == ("mine", "good")


def test_a_run_that_one_side_removed(trip: Storage) -> None:
    """It is gone if the other side did not change it. If it did, the change is not lost."""
    base = text(trip)
    trip.rate("trip", "r2", "bad")
    trip.remove_run("trip", "r3")
    without = without_runs(base, trip, "r1", "r2")
    done = trip.replace_document("trip", without, base=base)
    assert run_ids(trip.path("trip")) == ["r2"]
    assert done.lost == ("run r2",)
    assert done.rescued == ()
    assert done.removed is not None
    assert restore(trip.root, done.removed).added == 1
    assert run_ids(trip.path("trip")) == ["r2", "r1"]


def test_runs_that_a_person_removes_can_be_restored(trip: Storage) -> None:
    """They are in one rescue file."""
    base = text(trip)
    done = trip.replace_document("trip", without_runs(base, trip, "r1", "r3"), base=base)
    assert done.changes == ("run 1 was removed", "run 3 was removed")
    assert run_ids(trip.path("trip")) == ["r2"]
    assert [one.name for one in rescued(trip.root)] == [done.removed]
    assert restore(trip.root, str(done.removed)).added == 2
    assert sorted(run_ids(trip.path("trip"))) == ["r1", "r2", "r3"]
    assert rescued(trip.root) == []


def parsed(raw: bytes, storage: Storage) -> ParsedDocument:
    path = storage.path("trip")
    return parse_document(raw, LAYOUTS[path.suffix], path)


def without_runs(raw: bytes, storage: Storage, *run_ids: str) -> bytes:
    document = parsed(raw, storage)
    kept = [
        piece
        for piece, entry in zip(document.slices(), document.entries, strict=True)
        if entry.get("run_id") not in run_ids
    ]
    return document.layout.assemble(document.head, kept)


def test_a_run_that_grows_while_the_editor_is_open_keeps_growing(trip: Storage) -> None:
    trip.append("trip", question("r4", status="unfinished"))
    base = text(trip)
    grown = question("r4", status="unfinished")
    grown.messages.append(Message(role="assistant", content="so far"))
    trip.append("trip", grown)
    trip.replace_document("trip", changed(base, answer_3="edited"), base=base)
    trip.append("trip", answered("r4", answer="so far so good"))
    session = trip.read("trip")
    assert session is not None
    assert [run.answer for run in session.runs[-2:]] == ["edited", "so far so good"]


def test_a_broken_document_is_repaired(trip: Storage) -> None:
    path = trip.path("trip")
    good = path.read_bytes()
    path.write_bytes(good.replace(b'"messages": [', b'"messages": [[', 1).replace(b"messages:\n", b"messages: [\n", 1))
    trip.list_sessions()
    base = text(trip)
    assert trip.replace_document("trip", good, base=base).changes == ("it can be read again",)
    assert path.read_bytes() == good
    assert_sound(trip)
    with pytest.raises(Conflict, match="Nothing was stored"):
        trip.replace_document("trip", changed(good, question_1="late"), base=base)


def test_a_document_that_a_crash_tore_is_repaired_before_it_is_edited(trip: Storage) -> None:
    path = trip.path("trip")
    before = path.read_bytes()
    tear(trip.root, path, "trip")
    assert path.read_bytes() != before
    base = text(trip)
    assert run_ids(path) == ["r1", "r2", "r3"]
    assert trip.replace_document("trip", changed(base, question_1="edited"), base=base).changes


def _other_id(raw: bytes) -> bytes:
    return raw.replace(b"trip", b"else", 1)


def _no_history(raw: bytes) -> bytes:
    return raw.replace(b'"history": [', b'"history": {', 1).replace(b"history:\n", b"history: x\n", 1)


def _wrong_type(raw: bytes) -> bytes:
    return raw.replace(b'"content": "question 1"', b'"content": 5').replace(b"content: question 1", b"content: 5")


@pytest.mark.parametrize("spoil", [_other_id, _no_history, _wrong_type, lambda raw: raw[:-20], lambda _: b""])
def test_a_text_that_is_no_document_of_the_session_is_refused(trip: Storage, spoil: Callable[[bytes], bytes]) -> None:
    base = text(trip)
    with pytest.raises(DocumentBroken) as caught:
        trip.replace_document("trip", spoil(base), base=base)
    assert caught.value.line is not None or not spoil(base)
    assert text(trip) == base


def test_other_refusals(trip: Storage) -> None:
    base = text(trip)
    older = base.replace(b'schema_version": 1', b'schema_version": 0').replace(
        b"schema_version: 1", b"schema_version: 0"
    )
    with pytest.raises((OlderFormat, DocumentBroken)):
        trip.replace_document("trip", older, base=base)
    with pytest.raises(SessionNotFound):
        trip.read_document("nobody")
    with pytest.raises(TypeError):
        trip.replace_document("trip", base.decode(), base=base)  # type: ignore[arg-type]
    trip.trash("trip")
    with pytest.raises(SessionNotFound):
        trip.replace_document("trip", changed(base, question_1="late"), base=base)


def test_a_save_by_another_editor_in_the_last_moment_is_merged(trip: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    from localstore.disk import durable_files

    base, path = text(trip), trip.path("trip")
    put, once = durable_files._put_in_place, [True]

    def late(*args: Any) -> None:
        if once and args[1] == str(path):
            once.clear()
            path.write_bytes(changed(base, question_3="theirs"))
            os.utime(path, ns=(10**18, 10**18))
        put(*args)

    monkeypatch.setattr(durable_files, "_put_in_place", late)
    trip.replace_document("trip", changed(base, question_1="mine"), base=base)
    assert text(trip) == changed(base, question_1="mine", question_3="theirs")


# Taking a run out


@pytest.mark.parametrize("run_id", ["r1", "r2", "r3"])
def test_a_run_that_is_taken_out_can_be_restored(trip: Storage, run_id: str) -> None:
    base = text(trip)
    name = trip.remove_run("trip", run_id)
    after, expected = parsed(text(trip), trip), parsed(without_runs(base, trip, run_id), trip)
    assert after.slices() == expected.slices()
    assert [*after.header.pop("removed")] == [run_id]
    assert after.header == expected.header
    assert trip.remove_run("trip", run_id) == name  # repeated after an error
    assert restore(trip.root, name).added == 1
    assert sorted(run_ids(trip.path("trip"))) == ["r1", "r2", "r3"]


def test_taking_out_what_is_not_there(trip: Storage) -> None:
    for arguments, kind in (
        (("trip", "nothing", None), RunNotFound),
        (("nobody", "r1", None), SessionNotFound),
        (("trip", "r1", "bob"), OwnerMismatch),
    ):
        with pytest.raises(kind):
            trip.remove_run(*arguments[:2], user_id=arguments[2])
    assert run_ids(trip.path("trip")) == ["r1", "r2", "r3"]


def test_a_foreign_layout_is_edited_as_it_is(tmp_path: Path) -> None:
    """One line of JSON stays one line. If others write meanwhile, the document is in localstore's layout, merged."""
    import json

    storage = JsonStorage(tmp_path / "store")
    storage.append("trip", answered("r1", "question 1"))
    path = storage.path("trip")
    path.write_text(json.dumps(json.loads(path.read_text())))
    base = text(storage)
    storage.replace_document("trip", changed(base, question_1="one line"), base=base)
    assert text(storage) == changed(base, question_1="one line")
    storage.append("trip", answered("r2"))
    storage.replace_document("trip", changed(base, question_1="again"), base=changed(base, question_1="one line"))
    session = storage.read("trip")
    assert session is not None
    assert [run.question for run in session.runs] == ["again", "hello"]
