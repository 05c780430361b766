"""Converts times to the form used in documents: ISO 8601 text in UTC with milliseconds."""

from datetime import UTC, datetime

_LENGTH = len("2026-11-22T07:01:20.123Z")


def now() -> str:
    """Return the current time in the form used in documents.

    >>> len(now()) == len("2026-11-22T07:01:20.123Z")
    True
    """
    return time_text(datetime.now(UTC))


def time_text(time: datetime) -> str:
    """Return `time` as text in the form used in documents. A time without a time zone is taken as local time.

    >>> time_text(datetime(2026, 11, 22, 7, 1, 20, 123456, tzinfo=UTC))
    '2026-11-22T07:01:20.123Z'
    """
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def canonical_time(value: object) -> object:
    """Return a datetime, or a time as ISO 8601 text, in the form used in documents.

    Any other value, including text that is not a time with a time zone, is returned unchanged.

    >>> canonical_time("2026-11-22T08:01:20+01:00")
    '2026-11-22T07:01:20.000Z'
    """
    if isinstance(value, datetime):
        return time_text(value)
    return utc_time(value) if isinstance(value, str) else value


def utc_time(text: str) -> str:
    """Return a time given as ISO 8601 text in the form used in documents, in which times can be compared as text.

    Text that is not a time, or names no time zone, is returned unchanged.

    >>> utc_time("2026-11-25T23:30:00+14:00")
    '2026-11-25T09:30:00.000Z'
    """
    if len(text) == _LENGTH and text[-1] == "Z":
        return text
    try:
        time = datetime.fromisoformat(text)
        return text if time.tzinfo is None else time_text(time)
    except (ValueError, OverflowError):  # the first and the last day of the calendar may have no time in UTC
        return text
