"""Times as documents write them: text, UTC, ISO 8601, milliseconds."""

from datetime import UTC, datetime


def now() -> str:
    """Return the current time as documents write it.

    >>> len(now()) == len("2026-11-22T07:01:20.123Z")
    True
    """
    return time_text(datetime.now(UTC))


def time_text(time: datetime) -> str:
    """Return a time as documents write it. A time without a time zone is taken as local time.

    >>> time_text(datetime(2026, 11, 22, 7, 1, 20, 123456, tzinfo=UTC))
    '2026-11-22T07:01:20.123Z'
    """
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def canonical_time(value: object) -> object:
    """Return a datetime, or a time as ISO 8601 text, as documents write it.

    Any other value, and text that is no time or names no time zone, is returned as it is.

    >>> canonical_time("2026-11-22T08:01:20+01:00")
    '2026-11-22T07:01:20.000Z'
    """
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, str) and not (len(value) == len("2026-11-22T07:01:20.123Z") and value[-1] == "Z"):
        try:
            time = datetime.fromisoformat(value)
            return value if time.tzinfo is None else time_text(time)
        except (ValueError, OverflowError):  # the first and the last day of the calendar may have no time in UTC
            return value
    return value
