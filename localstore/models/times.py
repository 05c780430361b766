"""Converts times between `datetime` and the text of documents: ISO 8601 in UTC with milliseconds."""

import re
from datetime import UTC, datetime, timedelta

CLOCK_TOLERANCE = timedelta(minutes=10)
"""How far a time may lie in the future: the clock of the machine that wrote it may be ahead."""

_LENGTH = len("2026-11-22T07:01:20.123Z")
_AGE = re.compile(r"([0-9]{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_TIME_TEXT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")


def now() -> str:
    """Return the current time in the form used in documents.

    >>> len(now()) == len("2026-11-22T07:01:20.123Z")
    True
    """
    return time_text(datetime.now(UTC))


def time_text(time: datetime) -> str:
    """Return a time with a time zone as text in the form used in documents. Microseconds are cut off.

    >>> time_text(datetime(2026, 11, 22, 7, 1, 20, 123456, tzinfo=UTC))
    '2026-11-22T07:01:20.123Z'

    Raises ValueError if the time has no time zone, or if it has no equivalent in UTC (in the first and the last hours
    of the calendar).
    """
    if time.tzinfo is None:
        raise ValueError("has no time zone. Use datetime.now(UTC), or add one with replace(tzinfo=...)")
    try:
        return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except OverflowError:
        raise ValueError("is outside the calendar in UTC") from None


def parse_time(text: str) -> datetime | None:
    """Return the time that a text in a document names, in UTC, or None if it names none.

    Text without a time zone is taken as UTC, as times in documents are.

    >>> parse_time("2026-11-22T08:01:20+01:00")
    datetime.datetime(2026, 11, 22, 7, 1, 20, tzinfo=datetime.timezone.utc)
    >>> parse_time("yesterday") is None
    True
    """
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):  # the first and the last day of the calendar may have no time in UTC
        return None


def parse_age(text: str) -> timedelta | None:
    """Return the time span that a text such as `30m`, `12h`, `7d` or `2w` names, or None if it names none.

    >>> parse_age("12h"), parse_age("soon")
    (datetime.timedelta(seconds=43200), None)
    """
    age = _AGE.fullmatch(text)
    return None if age is None else timedelta(**{_UNITS[age[2]]: int(age[1])})


def utc_time_of_ns(moment: int) -> str:
    """Return a file's time, in ns since 1970, as text in the form used in documents; "" if it has none.

    >>> utc_time_of_ns(0)
    '1970-01-01T00:00:00.000Z'
    """
    try:
        return time_text(
            datetime.fromtimestamp(moment // 1_000_000_000, UTC).replace(microsecond=moment // 1000 % 10**6)
        )
    except (ValueError, OverflowError, OSError):
        return ""


def is_time_text(text: str) -> bool:
    """Return whether `text` is a time in the form used in documents.

    >>> is_time_text("2026-11-22T07:01:20.123Z"), is_time_text("2026-11-22T08:01:20+01:00")
    (True, False)
    """
    if _TIME_TEXT.fullmatch(text) is None:
        return False
    try:
        datetime.fromisoformat(text)  # alone, because a manifest may have very many lines
    except ValueError:
        return False
    return True


def text_of_time(value: datetime | str) -> str:
    """Return a time that a program gives, a datetime or ISO 8601 text, in the form used in documents.

    >>> text_of_time("2026-11-22T08:01:20+01:00")
    '2026-11-22T07:01:20.000Z'

    Raises ValueError, whose text continues the name of the field, if it is not a time or has no time zone.
    """
    time = value
    if isinstance(time, str):
        if is_time_text(time):
            return time
        try:
            time = datetime.fromisoformat(time)
        except ValueError:
            raise ValueError("is not a time. Use a datetime, or text such as 2026-11-22T07:01:20Z") from None
    return time_text(time)


def utc_time(text: str) -> str:
    """Return a time given as ISO 8601 text in the form used in documents, in which times can be compared as text.

    Text that is not a time, or names no time zone, is returned unchanged.

    >>> utc_time("2026-11-25T23:30:00+14:00")
    '2026-11-25T09:30:00.000Z'
    """
    if len(text) == _LENGTH and text[-1] == "Z":
        return text
    try:
        return text_of_time(text)
    except ValueError:
        return text
