"""Compares runs in their plain form, keeps the rating that a person gave a run, and refuses steps that do not fit."""

from typing import Any

from localstore.errors import Conflict
from localstore.format.values import json_equal

Entry = dict[str, Any]

RATING_KEYS = ("rating", "rating_note")
"""Keys that people add to a stored run. A program that stores the run again may not know them."""
_LAST = ("error", "status")


def comparable_fields(entry: Entry) -> Entry:
    """Return a copy of `entry` without `created_at` and `metrics`."""
    return {key: value for key, value in entry.items() if key not in ("created_at", "metrics")}


def is_same_run(new: Entry, stored: Entry) -> bool:
    """Return whether the run `new` equals the stored one, apart from `created_at` and `metrics`.

    A rating that only the stored run has makes no difference.
    """
    ignored = RATING_KEYS if new.get("rating") is None else ()
    fields = {key: value for key, value in comparable_fields(stored).items() if key not in ignored}
    return json_equal(comparable_fields(new), fields)


def with_rating(entry: Entry, rating: str | None, note: str | None) -> Entry:
    """Return a copy of the run `entry` with this rating and this note. None removes the existing one."""
    rest = {key: value for key, value in entry.items() if key not in RATING_KEYS}
    last = {key: rest.pop(key) for key in _LAST if key in rest}
    new = dict(zip(RATING_KEYS, (rating, note), strict=True))
    return {**rest, **{key: value for key, value in new.items() if value is not None}, **last}


def keep_rating(stored: Entry, new: Entry) -> Entry:
    """Return `new`, the run that replaces `stored`, with the rating and note of `stored` unless `new` has a rating.

    `new` is not changed; if its rating is kept, it is returned itself.
    """
    if stored.get("rating") is None or new.get("rating") is not None:
        return new
    return with_rating(new, stored["rating"], stored.get("rating_note"))


def refuse_step(run_id: str, session_id: str, status: str, count: int, number: int, path: str | None = None) -> None:
    """Raise Conflict unless step `number`, counted from 0, can be added to a run with `count` steps and this status.

    `path` is that of the document, if there is one.
    """
    if status != "unfinished":
        problem = f"is {status}, so no step can be added"
    elif number < count:
        problem = f"already has a different step {number}, perhaps of another process"
    elif number > count:
        problem = f"has {count} steps, so step {number} (counted from 0) would leave a gap"
    else:
        return
    raise Conflict(
        f"Run {run_id!r} of session {session_id!r} {problem}. Nothing was written. Read the session again.",
        path=path,
        session_id=session_id,
    )
