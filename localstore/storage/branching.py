"""Fork a session at any of its runs, or remove its last run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from localstore.disk import rescue_folder
from localstore.engine.transaction import Transaction
from localstore.errors import Conflict, SessionNotFound
from localstore.format.document import order_header
from localstore.models.session import Run
from localstore.models.times import now
from localstore.storage.arguments import check_id

if TYPE_CHECKING:
    from localstore.storage.storage import Storage

UNDONE = "undone"
"""The reason that a rescue file gives for a run that `undo` removed."""


@dataclass(frozen=True, slots=True)
class Undone:
    """The result of `undo`: the run that was removed, and the name of the rescue file that holds it."""

    run: Run
    name: str


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

    Raises SessionNotFound if there is no such session or it belongs to another user, LookupError if the session has no
    run `run_id`, and Conflict if `new_id` is in use.
    """
    check_id(session_id)
    target = str(uuid4()) if new_id is None else new_id
    check_id(target)
    engine = storage._engine
    snapshot = engine.look(session_id, lambda row: user_id is None or row.get("user_id") == user_id, None)
    if snapshot is None:
        raise SessionNotFound(f"There is no session {session_id!r} to fork.", session_id=session_id)
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
                raise Conflict(
                    f"There is a session {target!r}. Nothing was written. Give the fork another id.",
                    path=document.file.path,
                    session_id=target,
                )
            engine.create(order_header(header), kept, storage._suffix)
    return target


def _end(entries: list[dict[str, Any]], session_id: str, run_id: str | None) -> int:
    if run_id is None:
        return len(entries)
    for at in range(len(entries) - 1, -1, -1):
        if entries[at]["type"] == "run" and entries[at]["run_id"] == run_id:
            return at + 1
    raise LookupError(f"Session {session_id!r} has no run {run_id!r}. 'localstore show {session_id}' lists them.")


def undo(storage: Storage, session_id: str, *, user_id: str | None = None) -> Undone | None:
    """Remove the last run of a session and return it with the name of its rescue file, or None if there is no run.

    State that the run set is removed with it. The run is kept in `.localstore/rescue/`; `localstore rescue NAME
    --restore` puts it back. The document is rewritten.

    Raises SessionNotFound, and OwnerMismatch if `user_id` is given and the session does not belong to this user.
    """
    check_id(session_id)

    undone: Undone | None = None
    for attempt in storage._engine.edit(session_id):
        with attempt as document:
            if document is None:
                raise SessionNotFound(f"There is no session {session_id!r}.", session_id=session_id)
            storage._check_access(document.row, user_id, None)
            undone = _take_out_last_run(document, storage._engine.root)
    return undone


def _take_out_last_run(document: Transaction, root: str) -> Undone | None:
    parsed = document.whole()
    runs = [number for number, entry in enumerate(parsed.entries) if entry["type"] == "run"]
    if not runs:
        return None
    entry = parsed.entries[runs[-1]]
    row = document.row
    kept = rescue_folder.set_aside(root, row["path"], row["session_id"], UNDONE, {"entry": entry})
    document.change(parsed.header, {parsed.starts[runs[-1]]: None}, [])
    return Undone(Run.model_validate(entry), os.path.basename(kept))
