"""Reads what the pages show, on any storage of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localstore.errors import RunNotFound, SessionNotFound
from localstore.models.session import entry_adapter
from localstore.storage.plain_session import PlainSession, read_plain
from localstore.storage.session_row import info_of
from localstore.viewer.filters import Query
from localstore.viewer.session_page import FIRST, MORE, Part

if TYPE_CHECKING:
    from localstore.models.session_info import SessionInfo
    from localstore.storage.contract import SessionStorage

PAGE = 50
"""How many sessions a page of the list has."""
_MOST_SKIPPED = 5000
"""How many sessions come before the last page at most, where the cost of a page is that of those before it, too."""
_MOST_AT_ONCE = 2000
"""How many runs are in memory at once while one of them is looked for."""
_MOST_ENTRIES = 500
"""How many of the last entries are shown of a session without runs."""


def read_existing(
    storage: SessionStorage, session_id: str, *, last_runs: int | None = None, most_runs: int | None = None
) -> PlainSession:
    """Return what `read_plain` returns. Raises SessionNotFound if the session does not exist."""
    stored = read_plain(storage, session_id, last_runs=last_runs, most_runs=most_runs)
    if stored is None:
        raise SessionNotFound(f"There is no session {session_id!r}.", session_id=session_id)
    return stored


def read_part(storage: SessionStorage, session_id: str, before: int | None = None) -> Part:
    """Return the newest runs of a session, or those before the run with a number.

    Only the runs that are shown are parsed. Raises SessionNotFound, and DocumentBroken if the
    document cannot be read.
    """
    info = info_of(storage, session_id)
    total = 0 if info is None else info.runs
    last = total if before is None else min(total, max(1, before - 1))
    first = max(0, last - (FIRST if before is None else MORE))
    is_tail = last == total
    session = storage.read(session_id, last_runs=0 if total and not is_tail else total - first if total else None)
    if session is None:
        raise SessionNotFound(
            f"There is no session {session_id!r}. It may have been deleted or renamed.", session_id=session_id
        )
    if not is_tail:  # the models are made of what is shown alone
        stored = read_existing(storage, session_id, last_runs=total - first, most_runs=last - first)
        session.history = [entry_adapter().validate_python(entry) for entry in stored.history]
    if not total:
        session.history = session.history[-_MOST_ENTRIES:]
    return Part(session, info, first, total - last, tuple(storage.sub_sessions(session_id)))


def run_number(storage: SessionStorage, session_id: str, run_id: str) -> tuple[int, int]:
    """Return the number of a run in its session, and how many runs there are. Raises SessionNotFound, RunNotFound.

    The runs are looked through from the newest one back, some at a time.
    """
    info = info_of(storage, session_id)
    total = 0 if info is None else info.runs
    last, size = total, FIRST
    while last > 0:
        first = max(0, last - size)
        stored = read_existing(storage, session_id, last_runs=total - first, most_runs=last - first)
        ids = [entry["run_id"] for entry in stored.history if entry["type"] == "run"]
        if run_id in ids:
            return first + ids.index(run_id) + 1, total
        last, size = first, _MOST_AT_ONCE
    raise RunNotFound(f"Session {session_id!r} has no run {run_id!r}.", session_id=session_id, run_id=run_id)


def page_of_sessions(storage: SessionStorage, query: Query, after: str, skip: int) -> tuple[list[SessionInfo], str]:
    """Return a page of the list, and what the address of the next one has; "" if this is the last page.

    `after` is the cursor of the last session before the page. Other orders than the usual one have no cursors: there,
    `skip` sessions come before it, at most 5,000. Raises ValueError if `after` is no cursor.
    """
    if query.sort == "updated":
        infos = storage.list_sessions(where=query.where, limit=PAGE + 1, after=after or None)
        return infos[:PAGE], infos[PAGE - 1].cursor if len(infos) > PAGE else ""
    skip = min(skip, _MOST_SKIPPED)
    infos = storage.list_sessions(where=query.where, limit=skip + PAGE + 1, sort=query.sort)
    has_more = len(infos) > skip + PAGE and skip < _MOST_SKIPPED
    return infos[skip : skip + PAGE], str(skip + PAGE) if has_more else ""
