"""Times as documents write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from localstore.models.times import canonical_time, now, time_text, utc_time


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
    assert time_text(noon) == canonical_time(noon) == "2026-11-25T11:00:00.123Z"


def test_a_value_that_is_no_time_is_returned_as_it_is() -> None:
    assert canonical_time(None) is None
    assert canonical_time(12) == 12
    assert canonical_time("2026-11-25T11:00:00+00:00") == "2026-11-25T11:00:00.000Z"


def test_now_is_the_current_time() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)  # the text has no microseconds
    assert before <= datetime.fromisoformat(now()) <= datetime.now(UTC)
