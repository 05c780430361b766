"""Runs as plain entries of a document: compare two of them, and keep the rating that a person gave."""

from typing import Any

from localstore.format.values import json_equal

Entry = dict[str, Any]

_RATING_KEYS = ("rating", "rating_note")
"""Keys that people add to a stored run. A caller who stores the run again need not know them."""
_LAST = ("error", "status")


def comparable_fields(entry: Entry) -> Entry:
    """Return the entry without its time and its cost."""
    return {key: value for key, value in entry.items() if key not in ("created_at", "metrics")}


def is_same_run(new: Entry, stored: Entry) -> bool:
    """Whether a run that is stored again equals the stored one, apart from time and cost.

    A rating that only the stored run has makes no difference.
    """
    ignored = _RATING_KEYS if new.get("rating") is None else ()
    fields = {key: value for key, value in comparable_fields(stored).items() if key not in ignored}
    return json_equal(comparable_fields(new), fields)


def with_rating(entry: Entry, rating: str | None, note: str | None) -> Entry:
    """Return the run with this rating and note in place of its own; None removes it."""
    rest = {key: value for key, value in entry.items() if key not in _RATING_KEYS}
    last = {key: rest.pop(key) for key in _LAST if key in rest}
    new = dict(zip(_RATING_KEYS, (rating, note), strict=True))
    return {**rest, **{key: value for key, value in new.items() if value is not None}, **last}


def keep_rating(stored: Entry, new: Entry) -> Entry:
    """Return the run `new` that replaces `stored`, with the rating of `stored` unless it has its own."""
    if stored.get("rating") is None or new.get("rating") is not None:
        return new
    return with_rating(new, stored["rating"], stored.get("rating_note"))
