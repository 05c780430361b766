"""Fork a session at any of its runs, or remove its last run. Both may be called again after an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from localstore.disk.document_file import DocumentFile
from localstore.engine.engine import Engine
from localstore.engine.removal import REMOVED
from localstore.errors import Conflict, SessionNotFound
from localstore.format.document import order_header, parse_strictly
from localstore.format.values import json_equal
from localstore.index.row import IndexRow
from localstore.models.times import now
from localstore.storage.arguments import check_id, check_text
from localstore.storage.run_removal import RunRemoval, Undone

Entry = dict[str, Any]


def fork(
    engine: Engine,
    suffix: str,
    session_id: str,
    run_id: str | None,
    *,
    new_id: str | None,
    user_id: str | None,
) -> str:
    """Copy the history of a session into a new one, and return the id of the new session; see `Storage.fork`."""
    check_id(session_id)
    check_text("user_id", user_id)
    target = str(uuid4()) if new_id is None else new_id
    check_id(target)
    snapshot = engine.snapshot(session_id, lambda row: user_id is None or row.get("user_id") == user_id)
    if snapshot is None:
        raise SessionNotFound(f"There is no session {session_id!r} to fork.", session_id=session_id)
    with DocumentFile(snapshot.path) as file:
        parse_strictly(file.read_all(), file.layout, file.path)  # the copy would drop or round what this refuses
    header, kept = forked(snapshot.header, snapshot.entries, run_id, target)
    for attempt in engine.edit(target):
        with attempt as document:
            if document is not None:
                if is_fork(document.whole().header, document.whole().entries, header, kept):
                    return target
                raise target_exists(target, document.file.path)
            engine.create(header, kept, suffix)
    return target


def target_exists(target: str, path: str | None = None) -> Conflict:
    """Return the error for a fork whose id another session has."""
    message = f"There is a session {target!r}. Nothing was written. Give the fork another id."
    return Conflict(message, path=path, session_id=target)


def forked(header: Entry, entries: list[Entry], run_id: str | None, target: str) -> tuple[Entry, list[Entry]]:
    """Return the header and the entries of a fork up to a run, with the id `target`. Raises LookupError."""
    session_id = header["session_id"]
    kept = [entry for entry in entries[: _end(entries, session_id, run_id)] if entry.get("status") != "unfinished"]
    last = next((entry["run_id"] for entry in reversed(kept) if entry["type"] == "run"), None)
    origin = {"session_id": session_id} if last is None else {"session_id": session_id, "run_id": last}
    new = {**header, "session_id": target, "created_at": now(), "forked_from": origin}
    new.pop(REMOVED, None)
    new.pop("part_of", None)  # a person goes on with it: it is a session of its own
    if new.get("name"):
        new["name"] = f"{new['name']} (fork)"
    return order_header(new), kept


def is_fork(stored_header: Entry, stored: list[Entry], header: Entry, kept: list[Entry]) -> bool:
    """Return whether a stored session is the fork that an earlier attempt wrote, and nothing else happened in it."""
    return json_equal(stored_header.get("forked_from"), header["forked_from"]) and json_equal(stored, kept)


def _end(entries: list[dict[str, Any]], session_id: str, run_id: str | None) -> int:
    if run_id is None:
        return len(entries)
    for at in range(len(entries) - 1, -1, -1):
        if entries[at]["type"] == "run" and entries[at]["run_id"] == run_id:
            return at + 1
    raise LookupError(f"Session {session_id!r} has no run {run_id!r}. 'localstore show {session_id}' lists them.")


def undo(
    engine: Engine,
    session_id: str,
    run_id: str | None,
    allow: Callable[[IndexRow], None],
) -> Undone | None:
    """Remove the last run of a session and return it; see `Storage.undo`. `allow` may raise to prevent it."""
    check_id(session_id)
    return RunRemoval(engine.root, session_id, run_id).remove(engine, allow)
