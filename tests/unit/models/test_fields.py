"""Words and times in records: a program must set valid ones, and what a document holds is kept as it is."""

import copy
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from localstore import ContentPart, Message, Metrics, Run, Session, Step, ToolCall
from localstore.format.values import to_json_value
from localstore.models.fields import DocumentText
from localstore.models.session import Entry, Update


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda word: Run(status=word("complete")), ["status", "'complete'", "unfinished, completed", "'completed'?"]),
        (lambda word: Run(rating=word("godo")), ["rating", "'godo'", "good, bad", "Did you mean 'good'?"]),
        (lambda word: Message(role=word("robot")), ["role", "'robot'", "user, assistant, tool, system, developer"]),
        (lambda word: Message(role=word("User")), ["role", "'User'", "Did you mean 'user'?"]),
        (lambda word: Step(name="s", status=word("canceled")), ["status", "Did you mean 'cancelled'?"]),
        (lambda word: Session(kind=word("agnet")), ["kind", "'agnet'", "Did you mean 'agent'?"]),
        (lambda word: Run(created_at=word("yesterday")), ["created_at", "'yesterday' is not a time"]),
        (lambda word: Session(created_at=word("2026-11-22T07:01:20")), ["created_at", "has no time zone"]),
        (lambda word: Step(name="s", created_at=word(5)), ["created_at", "not 5"]),
        (lambda word: Run(messages=[word({"role": "robot"})]), ["messages.0.role", "'robot'"]),
    ],
)
def test_a_wrong_word_or_time_is_an_error_where_it_is_made(make: Callable[[Any], object], parts: list[str]) -> None:
    """A mistyped word was stored: a run with the status "complete" was never shown as completed, and never resumed."""
    with pytest.raises(ValidationError) as caught:
        make(lambda value: value)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [("status", "done"), ("rating", "fine"), ("created_at", "noon")])
def test_a_wrong_word_or_time_cannot_be_assigned(name: str, value: str) -> None:
    run = Run()
    before = to_json_value(run)
    with pytest.raises(ValidationError, match=name):
        setattr(run, name, value)
    assert to_json_value(run) == before


@pytest.mark.parametrize(
    "record", [Session(), Run(), Message(role="user"), Step(name="s"), ToolCall(name="f"), Metrics()]
)
def test_an_attribute_that_is_no_field_cannot_be_set(record: Any) -> None:
    """`session.nmae = "Trip"` gave the document a key `nmae`, and the session kept its name."""
    with pytest.raises(AttributeError, match="nmae"):
        record.nmae = "Trip"
    assert "nmae" not in to_json_value(record)


def test_the_error_for_an_attribute_suggests_the_field() -> None:
    session: Any = Session()
    with pytest.raises(AttributeError, match=r"Session has no field 'nmae'\. Did you mean 'name'\?"):
        session.nmae = "Trip"
    with pytest.raises(AttributeError, match="'messages' is derived"):
        session.messages = []
    run: Any = Run()
    with pytest.raises(AttributeError):
        run.answer = "hi"


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (Run, {"stauts": "error"}),
        (Run, {"question": "hi"}),
        (Message, {"role": "user", "contnet": "hi"}),
        (Message, {"role": "user", "text": "hi"}),
        (Session, {"runs": []}),
        (ToolCall, {"name": "f", "argument": {}}),
        (ContentPart, {"type": "text", "mimetype": "text/plain"}),
        (Metrics, {"input_token": 3}),
    ],
)
def test_a_mistyped_keyword_is_an_error(model: Any, values: dict[str, Any]) -> None:
    """`Message(role="user", text="hi")` made a message without content."""
    with pytest.raises(TypeError, match=f"{model.__name__} has no field"):
        model(**values)


def test_own_keys_are_kept() -> None:
    """An unknown key comes from a document or the constructor, and then can be changed."""
    run: Any = Run(flavour="mint")  # type: ignore[call-arg]
    run.flavour = "lime"
    assert to_json_value(run)["flavour"] == "lime"
    document = {"session_id": "s", "created_at": "2026-11-22T07:01:20.123Z", "nmae": "Trip"}
    session: Any = Session.model_validate(document)
    session.nmae = "Journey"
    assert to_json_value(session)["nmae"] == "Journey"


def test_times_are_datetimes_in_utc() -> None:
    late = datetime(2026, 11, 22, 12, 31, 20, 123_456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    expected = datetime(2026, 11, 22, 7, 1, 20, 123_000, tzinfo=UTC)
    for record in (Run(created_at=late), Session(created_at=late), Step(name="s", created_at=late)):
        assert record.created_at == expected
        assert record.created_at.tzinfo is UTC
        assert to_json_value(record)["created_at"] == "2026-11-22T07:01:20.123Z"
    run = Run()
    run.created_at = "2026-11-22T08:01:20+01:00"
    assert run.created_at == datetime(2026, 11, 22, 7, 1, 20, tzinfo=UTC)
    assert Entry.model_validate({"type": "note"}).created_at is None
    assert abs(datetime.now(UTC) - (Update().created_at or expected)) < timedelta(minutes=1)


TEXTS = {
    "2026-11-22T07:01:20.123Z": datetime(2026, 11, 22, 7, 1, 20, 123_000, tzinfo=UTC),
    "2026-11-22T08:01:20.123456+01:00": datetime(2026, 11, 22, 7, 1, 20, 123_456, tzinfo=UTC),
    "2026-11-22": datetime(2026, 11, 22, tzinfo=UTC),
    "yesterday": None,
    "": None,
}


@pytest.mark.parametrize("text", TEXTS)
def test_the_text_of_a_document_is_kept(text: str) -> None:
    """A time with microseconds or an offset was rewritten when something else in the run changed."""
    document = {
        "type": "run",
        "run_id": "r1",
        "created_at": text,
        "messages": [{"role": "robot", "content": "hi"}],
        "steps": [{"name": "s", "created_at": text, "status": "skipped"}],
        "rating": "so so",
        "status": "done",
    }
    run = Run.model_validate(document)
    assert run.created_at == TEXTS[text]
    copies = [run, run.model_copy(deep=True), copy.deepcopy(run), pickle.loads(pickle.dumps(run))]  # noqa: S301
    for one in copies:
        assert to_json_value(one) == document
        assert to_json_value(Run(messages=one.messages, status=one.status, steps=one.steps))["status"] == "done"
    assert isinstance(run.status, DocumentText)
    run.created_at = datetime(2026, 1, 1, tzinfo=UTC)
    run.status = "completed"
    changed = {**document, "created_at": "2026-01-01T00:00:00.000Z", "status": "completed"}
    assert to_json_value(run) == changed


def test_a_subclass_has_the_same_fields() -> None:
    class Rated(Run):
        stars: int = 0

    rated = Rated(stars=3)
    rated.stars = 4
    assert isinstance(rated.created_at, datetime)
    assert Rated.model_validate(to_json_value(rated)).stars == 4
