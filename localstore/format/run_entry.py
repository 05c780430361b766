"""A run as an entry of a document: what it says, and what people said of it."""

from typing import Any

from localstore.format.values import json_equal

Entry = dict[str, Any]

_OF_PEOPLE = ("rating", "rating_note")
"""Keys that are not of the run itself: whoever stores the run again need not know them."""
_LAST = ("error", "status")


def comparable_fields(entry: Entry) -> Entry:
    """What a run says, without when it was made and what it cost."""
    return {key: value for key, value in entry.items() if key not in ("created_at", "metrics")}


def is_same_run(again: Entry, there: Entry) -> bool:
    """Whether a run that is given again says just what is stored. A rating that it got meanwhile is no difference, as
    long as it does not come with another one."""
    unsaid = _OF_PEOPLE if again.get("rating") is None else ()
    return json_equal(
        comparable_fields(again), {key: value for key, value in comparable_fields(there).items() if key not in unsaid}
    )


def with_rating(entry: Entry, rating: str | None, note: str | None) -> Entry:
    """The run with this rating and note instead of what it had; None is none."""
    rest = {key: value for key, value in entry.items() if key not in _OF_PEOPLE}
    last = {key: rest.pop(key) for key in _LAST if key in rest}
    given = dict(zip(_OF_PEOPLE, (rating, note), strict=True))
    return {**rest, **{key: value for key, value in given.items() if value is not None}, **last}


def keep_rating(old: Entry, new: Entry) -> Entry:
    """The run `new` in the place of `old`: a rating that somebody gave meanwhile stays, unless it has its own."""
    if old.get("rating") is None or new.get("rating") is not None:
        return new
    return with_rating(new, old["rating"], old.get("rating_note"))
