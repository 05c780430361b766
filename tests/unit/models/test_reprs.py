"""The short forms of the models: one line in a debugger, and HTML in a notebook."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from localstore import ContentPart, Counts, Filter, Message, Run, Session, SessionInfo, Stats, Step, ToolCall, Update
from localstore.models.session_info import session_info


def question(text: str) -> Run:
    return Run(run_id="r1", messages=[Message(role="user", content=text), Message(role="assistant", content="Yes.")])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            Session(session_id="trip", user_id="alice", history=[Run() for _ in range(12)]),
            "Session('trip', 12 runs, alice)",
        ),
        (Session(session_id="trip", history=[Run(), Update()]), "Session('trip', 1 run)"),
        (Session(session_id="a\nb", user_id="\x1b[2J"), "Session('a\\nb', 0 runs, '\\x1b[2J')"),
        (question("hi\nthere"), "Run('r1', completed, 'hi there')"),
        (Run(run_id="r1", status="error"), "Run('r1', error)"),
        (Message(role="user", content="hi"), "Message(user, 'hi')"),
        (Message(role="user"), "Message(user, '')"),
        (
            Message(role="assistant", tool_calls=[ToolCall(name="a"), ToolCall(name="b")]),
            "Message(assistant, calls a, calls b)",
        ),
        (Message(role="user", content=[ContentPart(type="text", text="hi")]), "Message(user, 'hi')"),
        (ToolCall(name="a", arguments={"x": 1}), "ToolCall(name='a', arguments={'x': 1})"),
    ],
)
def test_a_record_is_shown_on_one_line(value: object, expected: str) -> None:
    """A session was shown with all of its messages, and a notebook or a debugger filled the screen."""
    assert repr(value) == str(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        question("long " * 1000),
        Message(role="user", content="long\n" * 1000),
        Step(name="s", output={"text": "long\n" * 1000}, messages=[Message(role="user", content="x" * 1000)] * 50),
        Update(session_state={"text": ["long\n"] * 1000}),
        ToolCall(name="a", arguments="x\n" * 1000),
    ],
)
def test_long_values_are_shortened(value: object) -> None:
    assert "\n" not in repr(value)
    assert len(repr(value)) < 250


def test_a_row_of_a_listing_is_shown_on_one_line() -> None:
    row: dict[str, Any] = {
        "session_id": "trip", "user_id": "alice", "kind": "agent", "created_at": "2026-11-22T07:01:20.123Z", "runs": 2,
        "version": 1, "updated_at": "2026-11-22T07:05:00.000Z", "fingerprint": (812, 0, 0, 0),
    }  # fmt: skip
    info: SessionInfo = session_info(row, "/store/sessions/2026-11/trip.json")
    assert repr(info) == "SessionInfo('trip', 2 runs, alice)"


def test_filters_and_counts_are_shown_with_what_they_have() -> None:
    """A filter of one field was shown with ten times None, and stats filled the screen."""
    assert repr(Filter(user="alice", tag="x", since="7d")) == "Filter(user='alice', tag=('x',), since='7d')"
    assert repr(Filter()) == "Filter()"
    counts = Counts(day="2026-11-22", sessions=2, runs=3, seconds=1.5)
    numbers = "sessions=2, runs=3, failures=0, input_tokens=0, output_tokens=0, cached_tokens=0, seconds=1.5"
    assert repr(counts) == f"Counts(day='2026-11-22', {numbers})"
    assert repr(Stats((counts,), counts)) == f"Stats(1 group, total={counts!r})"
    assert repr(Stats((counts,) * 300, counts)).startswith("Stats(300 groups, total=Counts(")


def page_of(frame: str) -> str:
    """Return the page inside a frame, and check the frame."""
    match = re.search(r'<iframe sandbox srcdoc="([^"]*)"', frame)
    assert match is not None
    return html.unescape(match[1])


def test_a_notebook_shows_a_session_and_a_run_as_the_html_export_does() -> None:
    session = Session(session_id="trip", history=[question("<script>alert(1)</script>")])
    for value in (session, session.runs[0]):
        page = page_of(value._repr_html_())
        assert page.startswith("<!DOCTYPE html>")
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "<script" not in page
        assert "Yes." in page


def test_a_notebook_shows_the_end_of_a_long_session() -> None:
    """The whole of it would be stored in the notebook's file."""
    session = Session(session_id="trip", history=[question(f"q{number}.") for number in range(200)])
    shown = session._repr_html_()
    assert shown.startswith("<p>The newest 50 of 200 entries.")
    page = page_of(shown)
    assert "q199." in page
    assert "q149." not in page
    assert len(session.history) == 200
