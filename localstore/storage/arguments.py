"""Check the arguments of storage methods before any file is opened."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from localstore.errors import SessionNotFound
from localstore.format.values import to_json_value
from localstore.models.filter import Filter
from localstore.models.nearest import not_one_of, shown
from localstore.models.schema import KINDS
from localstore.models.session_info import SORT_KEYS, SessionInfo, position
from localstore.models.times import parse_age

_MOST = 10**18
"""The largest limit. SQLite and other databases refuse numbers of more than 64 bits."""


class Unset:
    """The type of `UNSET`, the default of arguments for which None is a value."""

    def __repr__(self) -> str:
        return "unset"


UNSET = Unset()


def check_id(session_id: str) -> None:
    """Raise an error unless `session_id` is text that can be stored.

    Raises TypeError if it is not text, ValueError if it is empty, and UnstorableValue if it has lone surrogates.
    """
    if not isinstance(session_id, str):
        raise TypeError(f"session_id must be text, not {type(session_id).__name__}: {shown(session_id)}")
    if not session_id:
        raise ValueError("session_id must not be empty")
    if not session_id.isascii():
        to_json_value(session_id, "session_id")


def check_ids(session_ids: str | Iterable[str]) -> list[str]:
    """Return one id or several as a list. Raises the errors of `check_id`."""
    chosen = [session_ids] if isinstance(session_ids, str) else list(session_ids)
    for session_id in chosen:
        check_id(session_id)
    return chosen


def is_valid(text: str) -> bool:
    """Return whether a document can hold this text: whether it has no lone surrogates."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def check_text(name: str, value: str | None) -> None:
    """Raise TypeError unless `value` is text or None. `name` is the name of the argument in the message."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{name} must be text or None, not {type(value).__name__}: {shown(value)}. Use str(...).")


def check_part_of(session_id: str, part_of: str | None) -> None:
    """Raise TypeError or ValueError unless a session may be a part of this one."""
    if part_of is not None:
        check_id(part_of)
    if part_of == session_id:
        raise ValueError(f"session {session_id!r} cannot be a part of itself. Give the sub-session another id.")


def require_text(text: object) -> None:
    """Raise TypeError unless `text`, what is searched for, is text."""
    if not isinstance(text, str):
        raise TypeError(f"text must be text, not {type(text).__name__}: {shown(text)}")


def check_flag(name: str, value: object) -> None:
    """Raise TypeError unless `value` is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {shown(value)}")


def check_patterns(patterns: Iterable[str]) -> list[str]:
    """Return regular expressions as a list. Raises TypeError unless all of them are text."""
    if isinstance(patterns, str):
        raise TypeError("patterns must be a list of regular expressions, not text. Put the text into a list.")
    chosen = list(patterns)
    for pattern in chosen:
        if not isinstance(pattern, str):
            raise TypeError(f"a pattern must be text, not {type(pattern).__name__}: {shown(pattern)}")
    return chosen


def check_bytes(name: str, value: object) -> None:
    """Raise TypeError unless `value` is bytes. `name` is the name of the argument in the message."""
    if not isinstance(value, bytes):
        raise TypeError(f"{name} must be bytes, not {type(value).__name__}")


def check_sort(sort: object, after: object) -> None:
    """Raise ValueError unless `sort` is an order of listings, and the one of cursors if there is a cursor."""
    if sort not in SORT_KEYS:
        raise ValueError(f"sort {not_one_of(sort, SORT_KEYS)}")
    if after is not None and sort != "updated":
        raise ValueError('after needs sort="updated": cursors are places in that order')


def check_count(name: str, value: object) -> None:
    """Raise TypeError unless `value` is an integer, and ValueError if it is negative or more than 10**18."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, not {shown(value)}")
    if value < 0:
        raise ValueError(f"{name} must be a whole number from 0 on, not {shown(value)}")
    _check_size(name, value)


def check_jobs(jobs: object) -> None:
    """Raise TypeError or ValueError unless `jobs` is a number of processes."""
    check_count("jobs", jobs)
    if not jobs:
        raise ValueError("jobs must be a whole number from 1 on, not 0")


def check_limit(limit: int | None, name: str = "limit") -> None:
    """Raise ValueError unless `limit` is None or an integer from 0 to 10**18. `name` is that of the argument."""
    if limit is not None and (type(limit) is not int or limit < 0):
        raise ValueError(f"{name} must be None or a whole number from 0 on, not {shown(limit)}")
    if limit is not None:
        _check_size(name, limit)


def _check_size(name: str, value: int) -> None:
    if value > _MOST:
        raise ValueError(f"{name} must be at most 10**18, not {shown(value)}")


def check_lock_timeout(seconds: object) -> None:
    """Raise ValueError unless `seconds` is a number of at least 0."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds >= 0:
        raise ValueError(f"lock_timeout must be a number of seconds from 0 on, not {shown(seconds)}")


def check_search(text: object, limit: int | None, *, literal: object, rank: object, sweep: object) -> None:
    """Raise TypeError or ValueError unless these can be arguments of `search`."""
    check_flag("literal", literal)
    check_flag("rank", rank)
    check_flag("sweep", sweep)
    check_limit(limit)
    require_text(text)
    if not str(text).strip():
        raise ValueError("text is empty. Give the words to search for.")


def narrowed(where: object, user_id: str | None, entity_id: str | None, kind: str | None) -> Filter | None:
    """Return a filter that selects by these too, or None if no session can match. Raises TypeError or ValueError."""
    check_text("user_id", user_id)
    check_text("entity_id", entity_id)
    check_kind(kind)
    return check_filter(where).narrowed(user_id, entity_id, kind)


def expected_fingerprints(sessions: str | SessionInfo | Iterable[str | SessionInfo]) -> dict[str, list[int] | None]:
    """Return the ids of sessions, each with the fingerprint of its document where it was listed."""
    chosen = [sessions] if isinstance(sessions, (str, SessionInfo)) else list(sessions)
    for one in chosen:
        if not isinstance(one, SessionInfo):
            check_id(one)
    return {
        **{one: None for one in chosen if isinstance(one, str)},
        **{one.session_id: list(one._row["fingerprint"]) for one in chosen if isinstance(one, SessionInfo)},
    }


def not_found(session_id: str, why: str = "") -> SessionNotFound:
    """Return the error for a session that does not exist."""
    return SessionNotFound(
        f"There is no session {session_id!r}.{why} Check the id, or store a new session.", session_id=session_id
    )


def optional(check: Callable[[str, Any], None]) -> Callable[[str, Any], None]:
    """Return a check that also accepts None."""

    def check_unless_none(name: str, value: object) -> None:
        if value is not None:
            check(name, value)

    return check_unless_none


def check_kind(kind: str | None) -> None:
    """Raise ValueError unless `kind` is a kind of session or None."""
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind {not_one_of(kind, KINDS)}")


def check_filter(where: object) -> Filter:
    """Return the filter, an empty one for None. Raises TypeError if `where` is anything else."""
    if where is None:
        return Filter()
    if not isinstance(where, Filter):
        raise TypeError(f"where must be a Filter or None, not {shown(where)}. Use Filter(user=...).")
    return where


def check_age(name: str, age: object) -> timedelta | None:
    """Return a time span that is given as such, as text or as None. Raises TypeError or ValueError for others."""
    if age is None or (isinstance(age, timedelta) and age >= timedelta()):
        return age
    if not isinstance(age, (str, timedelta)):
        raise TypeError(f"{name} must be a timedelta, text such as 90d, or None, not {shown(age)}")
    found = parse_age(age) if isinstance(age, str) else None
    if found is None:
        raise ValueError(f"{name} is not an age: {shown(age)}. Use 30m, 12h, 90d or 8w.")
    return found


def check_cursor(after: object) -> tuple[str, str]:
    """Return the time and the session id in a cursor. Raises ValueError if it is none."""
    found = position(after) if isinstance(after, str) else None
    if found is None or not all(map(is_valid, found)):
        raise ValueError(f"after must be the cursor of a session, not {shown(after)}. Use info.cursor.")
    return found


def check_update(state: dict[str, Any], header: dict[str, Any]) -> None:
    """Raise TypeError if an argument of `Storage.update` has a wrong type. None and missing ones are accepted."""
    for values, name, kind, words in (
        (state, "session_state", dict, "a dict"),
        (state, "session_data", dict, "a dict"),
        (state, "instructions", str, "text"),
        (header, "name", str, "text"),
        (header, "tags", list, "a list of texts"),
        (header, "metadata", dict, "a dict"),
    ):
        if not isinstance(values.get(name), (kind, type(None))):
            raise TypeError(f"{name} must be {words}, not {type(values[name]).__name__}")
    if not all(isinstance(tag, str) for tag in header.get("tags") or ()):
        raise TypeError("tags must be a list of texts")
