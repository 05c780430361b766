"""The ids of removed entries in a header: so that no merge brings back what was removed on purpose."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from localstore.format.document import order_header
from localstore.models.times import now, parse_time, time_text, utc_time

REMOVED = "removed"
"""The key of a header with the ids of the entries that were removed on purpose, each with the time of the removal."""


def removals(header: Mapping[str, Any]) -> dict[str, str]:
    """Return the ids of removed entries with the times of their removal, in a form that sorts as text."""
    stored = header.get(REMOVED)
    if not isinstance(stored, dict):
        return {}
    return {key: utc_time(time) if isinstance(time, str) else "" for key, time in stored.items()}


def with_removal(header: Mapping[str, Any], ids: Iterable[str]) -> dict[str, Any]:
    """Return a header that says that the entries with these ids are removed now.

    If one was removed before and put back, the new time is later than the old one, also if the clock was set back.
    """
    before = removals(header)
    times = {name: _after(before.get(name, "")) for name in ids}
    return order_header({**header, REMOVED: {**(header.get(REMOVED) or {}), **times}}) if times else dict(header)


def _after(earlier: str) -> str:
    """Return the current time, or the time just after `earlier` if that is not before it."""
    time, before = now(), parse_time(earlier)
    return time if before is None or time > earlier else time_text(before + timedelta(milliseconds=1))
