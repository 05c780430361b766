"""Fork a session at any of its runs, or remove its last run. Both may be called again after an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from localstore.disk.document_file import DocumentFile
from localstore.engine.transaction import Transaction
from localstore.errors import Conflict, SessionNotFound
from localstore.format.document import order_header, parse_strictly
from localstore.format.values import json_equal
from localstore.models.times import now
from localstore.storage.arguments import check_id, check_text
from localstore.storage.run_removal import RunRemoval, Undone

if TYPE_CHECKING:
    from localstore.storage.storage import Storage


def fork(
    storage: Storage,
    session_id: str,
    run_id: str | None = None,
    *,
    new_id: str | None = None,
    user_id: str | None = None,
) -> str:
    """Copy the history of a session into a new one, and return the id of the new session.

    The new session gets the header of the old one. `forked_from` names the old session and the last run copied, and
    " (fork)" is added to the name if there is one. Unfinished runs are not copied. The old session does not change. The
    cost is proportional to its size.

    Args:
        storage: The storage.
        session_id: The session to copy.
        run_id: The last run to copy; None copies the whole history.
        new_id: The id of the new session; None generates a random one.
        user_id: If given, the session must belong to this user.

    If the session `new_id` is already this fork, nothing is written. So a call that raised OSError can be repeated with
    the same `new_id`: a fork that is there is complete.

    Raises SessionNotFound if there is no such session or it belongs to another user, LookupError if the session has no
    run `run_id`, and Conflict if `new_id` is in use.
    """
    check_id(session_id)
    check_text("user_id", user_id)
    target = str(uuid4()) if new_id is None else new_id
    check_id(target)
    engine = storage._engine
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
            engine.create(order_header(header), kept, storage._suffix)
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


def undo(storage: Storage, session_id: str, run_id: str | None = None, *, user_id: str | None = None) -> Undone | None:
    """Remove the last run of a session and return it with the name of its rescue file, or None if there is no run.

    State that the run set is removed with it. The run is kept in `.localstore/rescue/`; `localstore rescue NAME
    --restore` puts it back. The document is rewritten.

    An OSError may be raised after the document was written. The attribute `run` of every error that is raised after a
    run was chosen is that run. Repeat the call with its `run_id`: it removes this run and no other one. If the run is
    removed already, nothing is done and the result is the same.

    Args:
        storage: The storage.
        session_id: The session.
        run_id: The id of the run, which must be the last one; None removes whichever run is the last.
        user_id: If given, the session must belong to this user.

    Raises SessionNotFound; OwnerMismatch if the session does not belong to `user_id`; RunNotFound if the session has no
    run `run_id` and none with this id was removed by `undo`; and Conflict if `run_id` is not the last run.
    """
    check_id(session_id)
    check_text("user_id", user_id)
    removal = RunRemoval(storage._engine.root, session_id, run_id)
    return removal.remove(storage._engine, lambda row: storage._check_access(row, user_id, None))
