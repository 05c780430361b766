"""Move sessions to the trash of a store, list the trash, restore from it, and empty it."""

import contextlib
import errno
import os
import re
import shlex
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import orjson

from localstore.disk import durable_files, file_names, filesystem, store_tree, trash_folder
from localstore.disk.document_file import DocumentFile
from localstore.disk.folder_watch import FolderWatch
from localstore.disk.store_tree import Opened
from localstore.disk.trash_folder import Trashed
from localstore.engine.engine import Engine
from localstore.engine.open_document import ConcurrentChange
from localstore.engine.transaction import Transaction
from localstore.errors import Conflict, DocumentBroken, LocalstoreError, LockTimeout, OlderFormat, SessionNotFound
from localstore.format.document import LayoutMismatch, parse_document
from localstore.format.values import json_equal
from localstore.index.row import IndexRow
from localstore.models.times import utc_time_of_ns

_TOGETHER = 32
"""How many sessions are moved while all of their locks are held: their writers, and those of other sessions with the
same locks, wait for the last one."""


def trashed(store: Opened | Path | str, *, older_than: float = 0.0) -> list[Trashed]:
    """Return the documents that have been in the trash for at least `older_than` seconds, newest first.

    >>> from localstore import JsonStorage
    >>> trashed(JsonStorage("my-sessions"))
    []

    `store` is an open storage or the path of a store. Raises StoreNotFound, OlderFormat, NewerFormat, DocumentBroken if
    the trash folder is a symbolic link, and OSError.
    """
    items = trash_folder.listing(str(store_tree.root_of(store)))
    limit = utc_time_of_ns(int(max(0.0, time.time() - older_than) * 1_000_000_000))
    return [item for item in items if not older_than or item.trashed_at <= limit]


def throw_away(store: Opened | Path | str, session_id: str, *, lock_timeout: float = 10.0) -> list[Trashed]:
    """Move every document with this session id to the trash, and return what was moved.

    Broken documents are moved as well, with their bytes unchanged. A document that a crash tore is repaired first, as
    the next write would do. Rescue files of the session stay in `.localstore/rescue/`. If the call is interrupted, each
    document is either in its place or in the trash. `lock_timeout` is in seconds.

    Raises SessionNotFound; NewerFormat if a newer localstore wrote the document; DocumentBroken if a file has the name
    of the session but cannot be read, so that its session is unknown; LockTimeout; OSError. A document that caused an
    error stays in its place.
    """
    engine = Engine(store_tree.root_of(store), durable=True, timeout=lock_timeout)
    removal = move_to_trash(engine, {session_id: None})
    for error in removal.problems.values():
        raise error
    return list(removal.moved)


@dataclass(frozen=True, slots=True)
class Removal:
    """The result of moving sessions to the trash: the documents that were moved, and the errors by session id.

    A session may have several documents. If the trash itself cannot be used, only the first session has an error, and
    no further one was moved.
    """

    moved: tuple[Trashed, ...] = ()
    problems: dict[str, LocalstoreError | OSError] = field(default_factory=dict)


def move_to_trash(engine: Engine, sessions: Mapping[str, list[int] | None]) -> Removal:
    """Move sessions to the trash as `throw_away` does, many of them with few syncs.

    Args:
        engine: The store.
        sessions: Their ids. A session with a fingerprint is only moved if its document still has it; otherwise its
            error is Conflict.

    Their sub-sessions are moved behind them, with the same time.
    """
    at = int(time.time() * 1_000_000_000)
    engine.index.scan()  # finds other documents with these ids
    removal = _moved_to_trash(engine, sessions, at)
    parts = engine.index.sub_sessions(gone(sessions, removal), None)
    others = dict.fromkeys(row["session_id"] for row in parts if row["session_id"] not in sessions)
    if not others:
        return removal
    with_parts = _moved_to_trash(engine, others, at)
    return Removal(removal.moved + with_parts.moved, {**removal.problems, **with_parts.problems})


def gone(session_ids: Iterable[str], removal: Removal) -> list[str]:
    """Return the sessions whose sub-sessions are to be moved as well: those that were moved, or do not exist.

    The sub-sessions of one that does not exist are there if an earlier call was interrupted.
    """
    moved = {one.session_id for one in removal.moved}
    return [one for one in session_ids if one in moved or isinstance(removal.problems.get(one), SessionNotFound)]


def _moved_to_trash(engine: Engine, sessions: Mapping[str, list[int] | None], at: int) -> Removal:
    """Move sessions to the trash; `at` is the time in their names there."""
    moved: list[Trashed] = []
    problems: dict[str, LocalstoreError | OSError] = {}
    waiting = deque(_parts(list(sessions)))
    while waiting:
        part = waiting.popleft()
        try:
            _move_together(engine, {session_id: sessions[session_id] for session_id in part}, at, moved, problems)
        except LockTimeout as error:
            if len(part) > 1:  # the others are moved without the one that is locked
                waiting.extendleft([session_id] for session_id in reversed(part))
                continue
            problems[part[0]] = error
        except (LocalstoreError, OSError) as error:
            problems[part[0]] = error
            break
    return Removal(tuple(moved), problems)


def _parts(session_ids: list[str]) -> Iterator[list[str]]:
    """Yield the ids in parts whose locks are held together."""
    for at in range(0, len(session_ids), _TOGETHER):
        yield session_ids[at : at + _TOGETHER]


def _move_together(
    engine: Engine,
    sessions: Mapping[str, list[int] | None],
    at: int,
    moved: list[Trashed],
    problems: dict[str, LocalstoreError | OSError],
) -> None:
    """Move sessions while the locks of all of them are held, and add the results to `moved` and `problems`.

    Raises LockTimeout if a lock is not free, and DocumentBroken or OSError if the trash cannot be used.
    """
    for session_id in sessions:
        engine.load_format_of(session_id)
    with engine.locks.sessions(sessions, engine.timeout), trash_folder.TrashBatch(engine.root, at) as batch:
        batch.prepare(_documents(engine, sessions))
        for session_id, expected in sessions.items():
            move = partial(_move, engine, batch, expected, moved)
            try:
                if not engine.take_out_locked(session_id, move):
                    problems[session_id] = SessionNotFound(
                        f"There is no session {session_id!r}. 'localstore ls' lists the sessions.",
                        session_id=session_id,
                    )
            except (LocalstoreError, OSError) as error:  # the other sessions are still moved
                problems[session_id] = error


def _documents(engine: Engine, session_ids: Iterable[str]) -> Iterator[str]:
    """Yield the paths of the documents that will probably be moved."""
    for session_id in session_ids:
        with contextlib.suppress(LocalstoreError, OSError):
            if (row := engine.locate(session_id)) is not None:
                yield row["path"]


def _move(
    engine: Engine,
    batch: trash_folder.TrashBatch,
    expected: list[int] | None,
    moved: list[Trashed],
    row: IndexRow,
    watch: FolderWatch,
) -> None:
    """Move one document, unless it has another fingerprint than is expected. Raises Conflict."""
    session_id = row["session_id"]
    is_first = not moved or moved[-1].session_id != session_id  # others with the same id have not been expected
    if expected is not None and is_first and row["fingerprint"] != expected:
        raise Conflict(
            f"Session {session_id!r} was changed since it was selected. It was not moved. Look at it, and try again.",
            path=store_tree.full_path(engine.root, row["path"]),
            session_id=session_id,
        )
    _finish_last_write(engine, row)
    synced = None if "boot" in row else row["fingerprint"]
    moved.append(batch.move(row["path"], session_id, watch, synced=synced))


def _finish_last_write(engine: Engine, row: IndexRow) -> None:
    """Repair a torn document, and sync one whose last sync failed.

    Only the manifest records that a sync failed, and that record is deleted with the session. A document that cannot be
    repaired stays as it is.
    """
    with (
        contextlib.suppress(DocumentBroken, OlderFormat, ConcurrentChange, LayoutMismatch),
        Transaction(engine.root, row, engine.locks.marks(row["session_id"]), durable=True) as transaction,
    ):
        if transaction.row.get("rewrite"):
            transaction.sync()


def put_back(store: Opened | Path | str, name: str, *, lock_timeout: float = 10.0) -> Path:
    """Move a document from the trash back to its former place in the store, and return its full path.

    `name` is the name of its folder in the trash. `lock_timeout` is in seconds.

    Raises FileNotFoundError if there is no such folder; Conflict, before anything is changed, if another file has taken
    the place or the store has a session with this id; DocumentBroken, LockTimeout, OSError.
    """
    return restore(Engine(store_tree.root_of(store), durable=True, timeout=lock_timeout), name)


def restore(engine: Engine, name: str) -> Path:
    """Move a document from the trash back to its former place, as `put_back` does, and its sub-sessions with it."""
    done = restore_all(engine, [name])
    for error in done.problems.values():
        raise error
    return done.restored[name]


@dataclass(frozen=True, slots=True)
class Restoration:
    """The result of moving documents out of the trash: the path of each one, and the errors, by name in the trash."""

    restored: dict[str, Path] = field(default_factory=dict)
    problems: dict[str, LocalstoreError | OSError] = field(default_factory=dict)


def restore_all(engine: Engine, names: Iterable[str]) -> Restoration:
    """Move documents from the trash back to their former places, many of them with few syncs.

    If one cannot be restored, the others are. Of several documents of one session, the first one is. Sub-sessions that
    were moved to the trash with one of the sessions are restored with it.
    """
    done = Restoration()
    items: list[tuple[str, Trashed]] = []
    for name in dict.fromkeys(names):
        try:
            items.append((name, _item(engine, name)))
        except (LocalstoreError, OSError) as error:
            done.problems[name] = error
    known = {name for name, _ in items}
    items += [(one.name, one) for one in _sub_sessions(engine, [item for _, item in items]) if one.name not in known]
    waiting = deque(dict(items[at : at + _TOGETHER]) for at in range(0, len(items), _TOGETHER))
    while waiting:
        part = waiting.popleft()
        try:
            _restore_together(engine, part, done)
        except (LocalstoreError, OSError) as error:
            if isinstance(error, LockTimeout) and len(part) > 1:  # the others are restored without the locked one
                waiting.extendleft({name: part[name]} for name in reversed(part))
                continue
            done.problems.update({name: error for name in part if name not in done.restored.keys() | done.problems})
    return done


def _sub_sessions(engine: Engine, items: Iterable[Trashed]) -> Iterator[Trashed]:
    """Yield the documents of sub-sessions that were moved to the trash with these sessions, at the same time."""
    moved = {(item.session_id, item.trashed_at) for item in items}
    for one in trash_folder.listing_of(engine.root, {trashed_at for _, trashed_at in moved}):
        with contextlib.suppress(LocalstoreError, FileNotFoundError), DocumentFile(one.path) as file:
            header = parse_document(file.read_all(), file.layout, one.path).header
            if (header.get("part_of"), one.trashed_at) in moved:
                yield one


def _restore_together(engine: Engine, items: Mapping[str, Trashed], done: Restoration) -> None:
    """Move documents while the locks that guard their places are held, and add the results to `done`.

    Raises LockTimeout if a lock is not free, and OSError if the last syncs fail.
    """
    moved: dict[str, Trashed] = {}
    taken: set[str | None] = set()
    with _guarded(engine, items.values()):
        for name, item in items.items():  # before any folder changes, and must be listed again
            try:
                _refuse_conflict(engine, item)
            except (LocalstoreError, OSError) as error:  # the other documents are still restored
                done.problems[name] = error
        with trash_folder.RestoreBatch(engine.root) as batch:
            for name, item in items.items():
                if name in done.problems:
                    continue
                try:
                    if taken & {item.session_id, item.document}:
                        _refuse_conflict(engine, item)
                    batch.move(item)
                except (LocalstoreError, OSError) as error:
                    done.problems[name] = error
                else:
                    moved[name] = item
                    taken |= {item.session_id, item.document} - {None}
        for name, item in moved.items():
            engine.index.adopt(item.document)
            done.restored[name] = Path(store_tree.full_path(engine.root, item.document))


def _guarded(engine: Engine, items: Iterable[Trashed]) -> contextlib.AbstractContextManager[object]:
    """Return the locks that guard the former places of documents.

    Another program may be creating a file with the same name. Unless the name is that of the session's id, its id is
    unknown, and the locks of all sessions are taken.
    """
    ids: list[str] = []
    for item in items:
        stem = os.path.splitext(os.path.basename(item.document))[0]
        if item.session_id is None or file_names.stem(item.session_id) != stem:
            return engine.locks.all_sessions(engine.timeout)
        ids.append(item.session_id)
    return engine.locks.sessions(ids, engine.timeout)


def _item(engine: Engine, name: str) -> Trashed:
    """Return the document in the trash with this name. Raises FileNotFoundError if there is none."""
    item = trash_folder.describe(engine.root, name)
    if item is None:
        path = store_tree.full_path(engine.root, f"{trash_folder.FOLDER}/{os.path.basename(name)}")
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return item


_ID = re.compile(rb"""(?m)^([ \t]*["']?session_id["']?[ \t]*:[ \t]*)("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^ \t,#\n"']+)""")
"""The first line of a document that gives its session_id: what stands in front of the id, and the id."""


def restore_as(engine: Engine, name: str, new_id: str) -> Path:
    """Move a document from the trash back into the store as another session, and return its full path.

    Only the bytes of the `session_id` change. If the call is interrupted, the document is in the trash, in the store,
    or in both.

    Raises FileNotFoundError if it is not in the trash; Conflict if the store has a session `new_id` or the id in the
    document cannot be changed alone; DocumentBroken if the document cannot be read; LockTimeout, OSError.
    """
    item = _item(engine, name)
    with DocumentFile(item.path) as file:
        parsed = parse_document(file.read_all(), file.layout, item.path)
    raw = _ID.sub(lambda match: match[1] + orjson.dumps(new_id), parsed.raw, count=1)
    path = store_tree.new_path(new_id, parsed.header["created_at"], file.layout.suffix)
    target = store_tree.full_path(engine.root, path)
    changed = parse_document(raw, file.layout, target)
    expected = {**parsed.header, "session_id": new_id}
    if not json_equal(changed.header, expected) or not json_equal(changed.entries, parsed.entries):
        raise Conflict(
            f"The session_id in {item.path} cannot be changed alone. Nothing was changed. Copy the file with "
            f"'localstore restore {name} --to FILE.json', and change the id in an editor.",
            path=item.path,
            session_id=item.session_id,
        )
    with engine.locks.session(new_id, engine.timeout):
        row = engine.locate(new_id)
        if row is not None or filesystem.exists(target):
            raise Conflict(
                f"There is a session {new_id!r}, at {target}. Nothing was changed. Choose another id.",
                path=target,
                session_id=new_id,
            )
        engine.refuse_unreadable(new_id)
        store_tree.make_durable(engine.root, os.path.dirname(path))
        durable_files.create_file(target, [raw])
        engine.index.adopt(path)
    trash_folder.remove(engine.root, item)
    return Path(target)


def _refuse_conflict(engine: Engine, item: Trashed) -> None:
    """Raise Conflict if the store has a session with the id of `item`, or a file in its former place.

    Raises DocumentBroken if a file has the name of the session but cannot be read.
    """
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
    """Delete items from the trash permanently, and return those that this call deleted.

    Items that are no longer in the trash are skipped. Rescue files of their sessions stay. `store` is an open storage
    or the path of a store. Raises StoreNotFound, OlderFormat, NewerFormat, DocumentBroken, OSError.
    """
    root = str(store_tree.root_of(store))
    current = (trash_folder.describe(root, item.name) for item in items)
    return [item for item in current if item is not None and trash_folder.remove(root, item)]
