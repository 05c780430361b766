"""Fork a session at any of its runs, or remove its last run. Both may be called again after an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from localstore.disk.document_file import DocumentFile
from localstore.engine.engine import Engine
from localstore.engine.removal import REMOVED
from localstore.engine.transaction import Transaction
from localstore.errors import Conflict, SessionNotFound
from localstore.format.document import order_header, parse_strictly
from localstore.format.values import json_equal
from localstore.index.row import IndexRow
from localstore.models.times import now
from localstore.storage.arguments import check_id, check_text
from localstore.storage.run_removal import RunRemoval, Undone


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
    snapshot = engine.look(session_id, lambda row: user_id is None or row.get("user_id") == user_id, None)
    if snapshot is None:
        raise SessionNotFound(f"There is no session {session_id!r} to fork.", session_id=session_id)
    with DocumentFile(snapshot.path) as file:
        parse_strictly(file.read_all(), file.layout, file.path)  # the copy would drop or round what this refuses
    entries = snapshot.entries[: _end(snapshot.entries, session_id, run_id)]
    kept = [entry for entry in entries if entry.get("status") != "unfinished"]
    last = next((entry["run_id"] for entry in reversed(kept) if entry["type"] == "run"), None)
    origin = {"session_id": session_id} if last is None else {"session_id": session_id, "run_id": last}
    header = {**snapshot.header, "session_id": target, "created_at": now(), "forked_from": origin}
    header.pop(REMOVED, None)
    if header.get("name"):
        header["name"] = f"{header['name']} (fork)"

    for attempt in engine.edit(target):
        with attempt as document:
            if document is not None:
                if _is_fork(document, origin, kept):
                    return target
                raise Conflict(
                    f"There is a session {target!r}. Nothing was written. Give the fork another id.",
                    path=document.file.path,
                    session_id=target,
                )
            engine.create(order_header(header), kept, suffix)
    return target


def _is_fork(document: Transaction, origin: dict[str, Any], entries: list[dict[str, Any]]) -> bool:
    """Return whether the document is the fork that an earlier attempt wrote, and nothing else happened in it."""
    parsed = document.whole()
    return json_equal(parsed.header.get("forked_from"), origin) and json_equal(parsed.entries, entries)


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
