"""The trash of a store: move sessions there, list it, put them back, empty it."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import time
from collections.abc import Iterable
from pathlib import Path

from localstore.disk import file_names, filesystem, rescue_folder, store_tree, trash_folder
from localstore.disk.locks import pool_of
from localstore.disk.store_tree import Opened
from localstore.disk.trash_folder import Trashed
from localstore.engine.engine import Engine
from localstore.engine.transaction import ConcurrentChange, Transaction
from localstore.errors import Conflict, DocumentBroken, OlderFormat, SessionNotFound
from localstore.format.document import LayoutMismatch
from localstore.index.row import IndexRow


def trashed(store: Opened | Path | str, *, older_than: float = 0.0) -> list[Trashed]:
    """What is in the trash of a store, open or at this path, for at least `older_than` seconds; newest first.

    Raises StoreNotFound, OlderFormat, NewerFormat, DocumentBroken when a link stands in its place, OSError.
    """
    found = trash_folder.listing(str(store_tree.root_of(store)))
    limit = rescue_folder.stamp_of(max(0.0, time.time() - older_than))
    return [one for one in found if not older_than or one.trashed_at <= limit]


def throw_away(store: Opened | Path | str, session_id: str, *, lock_timeout: float = 10.0) -> list[Trashed]:
    """Move the document of a session to the trash, and any other document with this id.

    Its bytes stay as they are, broken or not; what a crash tore is mended first, as the next write would have done.
    What was set aside of the session stays in `.localstore/rescue/`. Stopped at any point, each document stands in
    its place or in the trash.

    Raises SessionNotFound, NewerFormat for a document that a newer localstore wrote, LockTimeout, DocumentBroken when
    there is no telling whose the document is, OSError; that document stays where it is.
    """
    root = store_tree.root_of(store)
    engine = Engine(root, durable=True, timeout=lock_timeout)
    moved: list[Trashed] = []

    def take(row: IndexRow) -> None:
        _settle(engine.root, row)
        moved.append(trash_folder.move_in(engine.root, row["path"], session_id))

    engine.index.scan()  # which tells of other documents with this id
    if not engine.take_out(session_id, take):
        raise SessionNotFound(
            f"There is no session {session_id!r}. 'localstore ls' lists what there is.", session_id=session_id
        )
    return moved


def _settle(root: str, row: IndexRow) -> None:
    """What a later look could not tell without the manifest's line is done now: mend a torn document, and write one
    anew of which the last sync failed."""
    with (
        contextlib.suppress(DocumentBroken, OlderFormat, ConcurrentChange, LayoutMismatch),
        Transaction(root, row, durable=True) as transaction,
    ):
        if transaction.row.get("rewrite"):
            transaction.sync()


def put_back(store: Opened | Path | str, name: str, *, lock_timeout: float = 10.0) -> Path:
    """Move a document from the trash back to where it stood, and return this path. `name` is that of its folder in the
    trash.

    Raises FileNotFoundError when there is none of that name; Conflict when another file stands in the place, or a
    session of that id in the store, and nothing is changed then; DocumentBroken, LockTimeout, OSError.
    """
    root = store_tree.root_of(store)
    one = trash_folder.describe(str(root), name)
    if one is None:
        path = store_tree.full_path(str(root), f"{trash_folder.FOLDER}/{os.path.basename(name)}")
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    engine = Engine(root, durable=True, timeout=lock_timeout)
    locks = pool_of(root)
    stem = os.path.splitext(os.path.basename(one.document))[0]
    # A session whose file name this is may be created in this moment: of any id, unless the name is that of this one.
    own = one.session_id if one.session_id is not None and file_names.stem(one.session_id) == stem else None
    with locks.all_sessions(lock_timeout) if own is None else locks.session(own, lock_timeout):
        _refuse_what_is_in_the_way(engine, one)
        trash_folder.move_out(engine.root, one)
        engine.index.adopt(one.document)
    return Path(store_tree.full_path(engine.root, one.document))


def _refuse_what_is_in_the_way(engine: Engine, one: Trashed) -> None:
    again = f"Nothing was changed. {{}}, and try again: localstore restore {one.name}"
    there = engine.locate(one.session_id) if one.session_id is not None else None
    if there is not None:
        path = store_tree.full_path(engine.root, there["path"])
        advice = again.format(f"Move that one to the trash with 'localstore rm {shlex.quote(there['session_id'])}'")
        raise Conflict(
            f"Session {one.session_id!r} is in the store again, at {path}. {advice}",
            path=path,
            session_id=one.session_id,
        )
    path = store_tree.full_path(engine.root, one.document)
    if filesystem.exists(path):
        advice = again.format("Move or rename that file")
        raise Conflict(
            f"{path} is in the way of what stood there before. {advice}", path=path, session_id=one.session_id
        )
    if one.session_id is not None:
        engine.refuse_unreadable(one.session_id)


def empty(store: Opened | Path | str, items: Iterable[Trashed]) -> list[Trashed]:
    """Delete these for good, as far as they are still in the trash; what was deleted.

    What was set aside of their sessions stays. Raises StoreNotFound, OlderFormat, NewerFormat, DocumentBroken, OSError.
    """
    root = str(store_tree.root_of(store))
    there = (trash_folder.describe(root, one.name) for one in items)
    return [one for one in there if one is not None and trash_folder.remove(root, one)]
