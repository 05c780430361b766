"""Formats times of documents for a person, in the local time zone."""

from __future__ import annotations

from datetime import datetime


def when(text: str, now: datetime | None = None) -> str:
    """Return a time in a short form such as `5 min ago`, at most ten columns wide. Return other text unchanged."""
    moment = _local(text)
    if moment is None:
        return text
    now = now or datetime.now().astimezone()
    seconds = (now - moment).total_seconds()
    if 0 <= seconds < 60:
        return "just now"
    if 0 <= seconds < 3600:
        return f"{seconds // 60:.0f} min ago"
    if moment.date() == now.date():
        return f"{moment:%H:%M}"
    days = (now.date() - moment.date()).days
    if days == 1:
        return "yesterday"
    if 1 < days < 7:
        return f"{days} days ago"
    return f"{moment:%Y-%m-%d}"


def local_time(text: str) -> str:
    """Return a document's time in the local time zone. Return text that is not a time unchanged."""
    moment = _local(text)
    return text if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def _local(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        return None
