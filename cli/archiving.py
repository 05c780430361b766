"""Archives sessions, or brings them back to the listings, and prints what was done."""

from __future__ import annotations

from . import output
from .arguments import find_sessions
from .store_option import open_store


def archive(sessions: tuple[str, ...], store: str | None, *, archived: bool) -> None:
    """Archive the sessions that the texts name, or undo that if `archived` is false. A wrong name changes nothing."""
    storage = open_store(store)
    session_ids = [info.session_id for info in find_sessions(storage, sessions)]
    if archived:
        storage.archive(session_ids)
    else:
        storage.unarchive(session_ids)
    is_one = len(session_ids) == 1
    what = session_ids[0] if is_one else f"{len(session_ids):,} sessions"
    how = "archived" if archived else "no longer archived"
    output.write(f"{output.one_line(what)} {'is' if is_one else 'are'} {how}\n")
