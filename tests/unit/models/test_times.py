"""Times as documents write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from localstore.models.times import now, parse_time, text_of_time, time_text, utc_time


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-25T23:30:00+14:00", "2026-11-25T09:30:00.000Z"),
        ("2026-11-25T11:00:00Z", "2026-11-25T11:00:00.000Z"),
        ("2026-11-25T11:00:00.5-01:00", "2026-11-25T12:00:00.500Z"),
        ("2026-11-25T11:00:00.123Z", "2026-11-25T11:00:00.123Z"),
        ("2026-11-25T11:00:00", "2026-11-25T11:00:00"),
        ("yesterday", "yesterday"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+14:00"),
        ("", ""),
    ],
)
def test_a_time_is_brought_to_utc(text: str, expected: str) -> None:
    assert utc_time(text) == expected


def test_a_datetime_becomes_utc_with_milliseconds() -> None:
    noon = datetime(2026, 11, 25, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=1)))
    assert time_text(noon) == text_of_time(noon) == "2026-11-25T11:00:00.123Z"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("yesterday", "is not a time"),
        ("", "is not a time"),
        ("2026-11-25T11:00:00", "has no time zone"),
        ("2026-11-25", "has no time zone"),
        (datetime(2026, 11, 25, tzinfo=UTC).replace(tzinfo=None), "has no time zone"),
        ("0001-01-01T00:00:00+14:00", "is outside the calendar"),
    ],
)
def test_a_program_must_give_a_time_with_a_time_zone(value: datetime | str, problem: str) -> None:
    """A time without a zone was taken as local time if it was a datetime, and as UTC if it was text."""
    with pytest.raises(ValueError, match=problem):
        text_of_time(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-25T11:00:00.123456+01:00", datetime(2026, 11, 25, 10, 0, 0, 123456, tzinfo=UTC)),
        ("2026-11-25T11:00:00", datetime(2026, 11, 25, 11, tzinfo=UTC)),
        ("2026-11-25", datetime(2026, 11, 25, tzinfo=UTC)),
        ("yesterday", None),
        ("9999-12-31T23:59:59-12:00", None),
        ("", None),
    ],
)
def test_a_time_of_a_document_is_read_as_utc(text: str, expected: datetime | None) -> None:
    assert parse_time(text) == expected


def test_now_is_the_current_time() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)  # the text has no microseconds
    assert before <= datetime.fromisoformat(now()) <= datetime.now(UTC)
