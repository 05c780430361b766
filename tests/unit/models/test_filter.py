"""Filters: which sessions they match, and which values they refuse."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from localstore import Filter
from localstore.models.session_info import session_info

ROW: dict[str, Any] = {
    "user_id": "alice",
    "entity_id": "guide",
    "kind": "agent",
    "name": "Trip to Vienna",
    "tags": ["travel", "2026"],
    "updated_at": "2026-11-22T07:01:20.123Z",
    "overview": {"status": "error", "ratings": {"good": 1}, "usage": {"2026-11": {"m": [1, 1, 0, 0, 0, 0]}}},
}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"user": "alice", "entity": "guide", "kind": "agent"},
        {"name": "VIENNA"},
        {"tag": "travel"},
        {"tag": ["2026", "travel"]},
        {"model": "m", "status": "error", "rating": "good"},
        {"since": datetime(2026, 11, 22, tzinfo=UTC), "until": "2026-11-24"},
        {"since": "2026-11-22T07:01:20.123Z"},
    ],
)
def test_a_session_that_matches_every_field_is_selected(fields: Any) -> None:
    assert Filter(**fields).matches(ROW)


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "bob"},
        {"user": "alice", "entity": "other"},
        {"kind": "team"},
        {"name": "Linz"},
        {"tag": ("travel", "x")},
        {"model": "n"},
        {"status": "completed"},
        {"rating": "bad"},
        {"until": "2026-11-22T07:01:20.123Z"},
        {"since": "2026-11-24"},
    ],
)
def test_a_session_that_differs_in_one_field_is_left_out(fields: Any) -> None:
    assert not Filter(**fields).matches(ROW)
    assert Filter(**fields)


def test_a_session_without_the_value_is_left_out() -> None:
    row = {"kind": "agent", "updated_at": "soon"}
    for fields in (
        {"user": ""},
        {"name": "x"},
        {"tag": "x"},
        {"rating": "bad"},
        {"since": "1999-01-01"},
    ):
        assert not Filter(**fields).matches(row)  # type: ignore[arg-type]


def test_a_row_of_a_listing_takes_nothing_but_a_filter() -> None:
    row = session_info({**ROW, "session_id": "s1"}, "/store/s1.json", ROW["updated_at"])
    assert row.matches(Filter(user="alice"))
    for wrong in ("alice", None, {"user": "alice"}):
        with pytest.raises(TypeError, match=r"where must be a Filter, not .*\. Use Filter\(user=\.\.\.\)"):
            row.matches(wrong)  # type: ignore[arg-type]


def test_a_filter_without_tags_is_empty() -> None:
    assert Filter(tag=()) == Filter()
    assert not Filter(tag=())


def test_times_before_now() -> None:
    now = datetime.now(UTC)
    for text, ago in (("7d", timedelta(7)), ("12h", timedelta(hours=12)), ("5m", timedelta(minutes=5))):
        since = Filter(since=text).since_text
        assert since is not None
        assert abs(datetime.fromisoformat(since) - (now - ago)) < timedelta(minutes=1)


def test_a_day_is_included_to_its_end() -> None:
    """Sessions of the last day that a person names must not be missing."""
    day = Filter(since="2026-11-01", until="2026-11-01")
    assert day.since_text is not None
    assert day.until_text is not None
    length = datetime.fromisoformat(day.until_text) - datetime.fromisoformat(day.since_text)
    assert timedelta(hours=22) < length < timedelta(hours=26)
    assert Filter(until="yesterday").until_text == Filter(since="today").since_text
    for same in ("20261101", date(2026, 11, 1)):
        assert Filter(since=same, until=same).until_text == day.until_text


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"kind": "agnet"}, "Did you mean 'agent'"),
        ({"status": "done"}, "status must be one of"),
        ({"rating": "great"}, "rating must be one of"),
        ({"user": 5}, "user must be text"),
        ({"tag": 5}, "tag must be text"),
        ({"tag": (5,)}, "tag must be text"),
        ({"since": "soon"}, "since is not a time: 'soon'. Use 2026-11-01"),
        ({"since": "2026-13-01"}, "since is not a time"),
        ({"until": "999999w"}, "until is not a time"),
        ({"until": ""}, "until is not a time"),
        ({"since": datetime(2026, 11, 1)}, "since has no time zone"),  # noqa: DTZ001
        ({"since": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))}, "since is outside the calendar"),
        ({"until": "9999-12-31"}, "until is not a time"),
        ({"since": 5}, "since must be a datetime"),
        (
            {"since": "2026-11-02", "until": "2026-11-01"},
            "since is '2026-11-02', which is not before until ('2026-11-01')",
        ),
        ({"since": datetime(2026, 11, 1, tzinfo=UTC), "until": datetime(2026, 11, 1, tzinfo=UTC)}, "not before until"),
        ({"name": ""}, "name is empty. Leave it out"),
        ({"model": ""}, "model is empty. Leave it out"),
        ({"user": "\ud800"}, "user holds a lone surrogate"),
        ({"tag": ("x", "\udcff")}, "tag holds a lone surrogate"),
        ({"kind": []}, "kind must be one of"),
    ],
)
def test_a_wrong_value_is_refused(fields: Any, problem: str) -> None:
    with pytest.raises((TypeError, ValueError), match=problem.replace("(", r"\(").replace(")", r"\)")):
        Filter(**fields)
