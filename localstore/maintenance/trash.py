"""The trash of a store: move sessions there, list it, put them back, empty it."""

import contextlib
import errno
import os
import shlex
import time
from collections.abc import Iterable
from pathlib import Path

from localstore.disk import file_names, filesystem, rescue_folder, store_tree, trash_folder
from localstore.disk.store_tree import Opened
from localstore.disk.trash_folder import Trashed
from localstore.engine.engine import Engine
from localstore.engine.transaction import ConcurrentChange, Transaction
from localstore.errors import Conflict, DocumentBroken, OlderFormat, SessionNotFound
from localstore.format.document import LayoutMismatch
from localstore.index.row import IndexRow


def trashed(store: Opened | Path | str, *, older_than: float = 0.0) -> list[Trashed]:
    """Return what has been in the trash of a store for at least `older_than` seconds, newest first.

    >>> from localstore import JsonStorage
    >>> trashed(JsonStorage("my-sessions"))
    []

    Raises StoreNotFound, OlderFormat, NewerFormat, DocumentBroken when the trash folder is a link, OSError.
    """
    items = trash_folder.listing(str(store_tree.root_of(store)))
    limit = rescue_folder.timestamp(max(0.0, time.time() - older_than))
    return [item for item in items if not older_than or item.trashed_at <= limit]


def throw_away(store: Opened | Path | str, session_id: str, *, lock_timeout: float = 10.0) -> list[Trashed]:
    """Move the document of a session to the trash, and any other document with this id.

    Its bytes stay as they are, broken or not; a document that a crash tore is repaired first, as the next write would
    do. What was set aside from the session stays in `.localstore/rescue/`. Stopped at any point, each document is in
    its place or in the trash.

    Raises SessionNotFound, NewerFormat for a document that a newer localstore wrote, LockTimeout, DocumentBroken when
    nobody can tell whose document it is, OSError; that document stays where it is.
    """
    engine = Engine(store_tree.root_of(store), durable=True, timeout=lock_timeout)
    moved: list[Trashed] = []

    def move(row: IndexRow) -> None:
        _finish_last_write(engine.root, row)
        moved.append(trash_folder.move_in(engine.root, row["path"], session_id))

    engine.index.scan()  # finds other documents with this id
    if not engine.take_out(session_id, move):
        raise SessionNotFound(
            f"There is no session {session_id!r}. 'localstore ls' lists the sessions.", session_id=session_id
        )
    return moved


def _finish_last_write(root: str, row: IndexRow) -> None:
    """Repair a torn document, and rewrite one whose last sync failed: only the manifest's line says so, and it goes."""
    with (
        contextlib.suppress(DocumentBroken, OlderFormat, ConcurrentChange, LayoutMismatch),
        Transaction(root, row, durable=True) as transaction,
    ):
        if transaction.row.get("rewrite"):
            transaction.sync()


def put_back(store: Opened | Path | str, name: str, *, lock_timeout: float = 10.0) -> Path:
    """Move a document from the trash back to its place in the store, and return its path.

    `name` is the name of its folder in the trash. Raises FileNotFoundError when there is no such folder; Conflict when
    another file is in the place, or the store has a session with that id, and nothing is changed then; DocumentBroken,
    LockTimeout, OSError.
    """
    engine = Engine(store_tree.root_of(store), durable=True, timeout=lock_timeout)
    item = trash_folder.describe(engine.root, name)
    if item is None:
        path = store_tree.full_path(engine.root, f"{trash_folder.FOLDER}/{os.path.basename(name)}")
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    stem = os.path.splitext(os.path.basename(item.document))[0]
    # Somebody may be creating a session with this file name; it may have any id, unless the name fits this one.
    if item.session_id is not None and file_names.stem(item.session_id) == stem:
        lock = engine.locks.session(item.session_id, lock_timeout)
    else:
        lock = engine.locks.all_sessions(lock_timeout)
    with lock:
        _refuse_conflict(engine, item)
        trash_folder.move_out(engine.root, item)
        engine.index.adopt(item.document)
    return Path(store_tree.full_path(engine.root, item.document))


def _refuse_conflict(engine: Engine, item: Trashed) -> None:
    """Raise Conflict if the store has a session with the same id, or another file in the same place."""
    retry = f"and try again: localstore restore {item.name}"
    row = engine.locate(item.session_id) if item.session_id is not None else None
    if row is not None:
        path = store_tree.full_path(engine.root, row["path"])
        raise Conflict(
            f"Session {item.session_id!r} is in the store again, at {path}. Nothing was changed. "
            f"Move that one to the trash with 'localstore rm {shlex.quote(row['session_id'])}', {retry}",
            path=path,
            session_id=item.session_id,
        )
    path = store_tree.full_path(engine.root, item.document)
    if filesystem.exists(path):
        raise Conflict(
            f"Another file is at {path}, where the document was. Nothing was changed. Move or rename that file, "
            f"{retry}",
            path=path,
            session_id=item.session_id,
        )
    if item.session_id is not None:
        engine.refuse_unreadable(item.session_id)


def empty(store: Opened | Path | str, items: Iterable[Trashed]) -> list[Trashed]:
    """Delete items from the trash for good, and return those that were still there.

    What was set aside from their sessions stays. Raises StoreNotFound, OlderFormat, NewerFormat, DocumentBroken,
    OSError.
    """
    root = str(store_tree.root_of(store))
    current = (trash_folder.describe(root, item.name) for item in items)
    return [item for item in current if item is not None and trash_folder.remove(root, item)]
