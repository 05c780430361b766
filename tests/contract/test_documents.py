"""A person edits the document of a session as text, and redacts it, whatever keeps the session."""

import pytest

from localstore import Conflict, DocumentBroken, JsonStorage, Message, Run, SessionNotFound, SessionStorage, YamlStorage
from tests.contract.conftest import Open
from tests.contract.runs import answered, read, run_ids


@pytest.fixture
def trip(storage: SessionStorage) -> SessionStorage:
    for number in (1, 2, 3):
        storage.append("trip", answered(f"r{number}", f"Question {number}?", f"Answer {number}."), user_id="alice")
    storage.update("trip", name="Linz")
    return storage


def answers(storage: SessionStorage, session_id: str = "trip") -> list[str | None]:
    return [run.answer for run in read(storage, session_id).runs]


def without_run(base: bytes, number: int) -> bytes:
    """Return a document without a run, in either format. Its last entry is another one."""
    lines = base.decode().splitlines(keepends=True)
    begins = [at for at, line in enumerate(lines) if line.lstrip(" -{").startswith(("type: run", '"type": "run"'))]
    if not lines[begins[0]].lstrip().startswith("-"):
        begins = [at - 1 for at in begins]  # the line of the brace
    del lines[begins[number - 1] : begins[number]]
    return "".join(lines).encode()


def test_the_text_becomes_the_session(trip: SessionStorage) -> None:
    base = trip.read_document("trip")
    before = trip.revision("trip")
    assert trip.replace_document("trip", base, base=base).changes == ()
    assert trip.revision("trip") == before
    done = trip.replace_document("trip", base.replace(b"Answer 2", b"Edited").replace(b"Linz", b"Graz"), base=base)
    assert (done.changes, done.elsewhere, done.lost) == (("name was changed", "run 2 was changed"), (), ())
    assert (read(trip, "trip").name, answers(trip)) == ("Graz", ["Answer 1.", "Edited.", "Answer 3."])
    assert trip.list_sessions()[0].title == "Graz"
    assert [hit.session_id for hit in trip.search("Edited")] == ["trip"]
    assert b"Edited" in trip.read_document("trip")


def test_what_others_wrote_meanwhile_is_merged(trip: SessionStorage, open_storage: Open) -> None:
    base = trip.read_document("trip")
    open_storage().append("trip", answered("r4", answer="New."))
    done = trip.replace_document("trip", base.replace(b"Answer 1", b"Edited"), base=base)
    assert (done.changes, done.elsewhere, done.lost) == (("run 1 was changed",), ("run 4 was added",), ())
    assert answers(trip) == ["Edited.", "Answer 2.", "Answer 3.", "New."]


def test_a_run_that_both_changed_keeps_the_form_of_the_others(trip: SessionStorage, open_storage: Open) -> None:
    """The other form is kept. So is that of the name."""
    base, other = trip.read_document("trip"), open_storage()
    other.replace_document("trip", base.replace(b"Answer 1", b"Theirs").replace(b"Linz", b"Wels"), base=base)
    mine = base.replace(b"Answer 1", b"Mine").replace(b"Linz", b"Graz").replace(b"Answer 3", b"Mine too")
    done = trip.replace_document("trip", mine, base=base)
    assert sorted(done.lost) == ["name", "run r1"]
    assert len(done.rescued) == 2
    assert (read(trip, "trip").name, answers(trip)) == ("Wels", ["Theirs.", "Answer 2.", "Mine too."])
    if isinstance(trip, (JsonStorage, YamlStorage)):
        return
    for name in done.rescued:
        trip.restore(name, new_id=name)
    forms = {read(trip, name).name: answers(trip, name) for name in done.rescued}
    assert forms == {None: ["Mine."], "Graz": ["Mine.", "Answer 2.", "Mine too."]}


def test_a_run_that_a_person_removed_can_be_put_back(trip: SessionStorage) -> None:
    base = trip.read_document("trip")
    done = trip.replace_document("trip", without_run(base, 2), base=base)
    assert done.changes == ("run 2 was removed",)
    assert done.removed is not None
    assert run_ids(trip, "trip") == ["r1", "r3"]
    assert trip.search("Answer 2") == []
    if not isinstance(trip, (JsonStorage, YamlStorage)):
        assert trip.restore(done.removed) == "trip"
        assert run_ids(trip, "trip") == ["r1", "r3", "r2"]


def test_a_text_that_is_no_valid_document_is_refused(trip: SessionStorage) -> None:
    base = trip.read_document("trip")
    for text in (b"", b"{", base.replace(b"trip", b"other"), base.replace(b"created_at", b"made_at")):
        with pytest.raises(DocumentBroken):
            trip.replace_document("trip", text, base=base)
    assert trip.read_document("trip") == base
    with pytest.raises(SessionNotFound):
        trip.read_document("nobody")
    trip.delete_session("trip")
    with pytest.raises(SessionNotFound):
        trip.replace_document("trip", base.replace(b"Answer 1", b"Edited"), base=base)


def test_a_number_that_a_database_would_round_is_refused(storage: SessionStorage) -> None:
    storage.append("s", Run(run_id="r1", session_state={"n": 1.5}))
    base = storage.read_document("s")
    long = base.replace(b"1.5", b"1.55555555555555555555")
    if isinstance(storage, (JsonStorage, YamlStorage)):
        assert storage.replace_document("s", long, base=base).changes
        return
    with pytest.raises(DocumentBroken, match="more digits"):
        storage.replace_document("s", long, base=base)


def test_secrets_are_replaced_and_the_old_session_is_kept(storage: SessionStorage) -> None:
    storage.append("s", answered("r1", "I am me@example.com", "Hello."), user_id="alice")
    storage.append("s", answered("r2", "And you?", "Fine."))
    storage.append("other", answered("r1", "I am me@example.com"))
    before = read(storage, "s").runs[0].question
    planned = storage.redact("s", secrets=True, dry_run=True)
    assert (planned.documents, planned.count, read(storage, "s").runs[0].question) == (1, 1, before)
    done = storage.redact("s", secrets=True)
    assert done.sessions == planned.sessions
    assert [(one.place, one.rule) for one in done.sessions[0].redactions] == [
        ("history[0].messages[0].content", "email")
    ]
    assert [run.question for run in read(storage, "s").runs] == ["I am [redacted email]", "And you?"]
    assert {info.title for info in storage.list_sessions("alice")} == {"I am [redacted email]"}
    assert [hit.session_id for hit in storage.search("example")] == ["other"]
    assert storage.redact("s", secrets=True).documents == 0
    with pytest.raises(SessionNotFound):
        storage.redact(["s", "nobody"], secrets=True)
    if not isinstance(storage, (JsonStorage, YamlStorage)):
        (kept,) = storage.trashed()
        assert done.trashed == (kept.name,)
        with pytest.raises(Conflict):
            storage.restore(kept.name)
        storage.restore(kept.name, new_id="before")
        assert read(storage, "before").runs[0].question == before


def test_ids_with_a_secret_stay_and_are_named(storage: SessionStorage) -> None:
    storage.append("me@example.com", Run(run_id="r1", messages=[Message(role="user", content="hi")]))
    done = storage.redact("me@example.com", secrets=True)
    assert (done.documents, [one.is_id for one in done.sessions[0].redactions]) == (0, [True])
