"""Import the threads in a database of LangGraph's `SqliteSaver` or `AsyncSqliteSaver`.

The values stay the bytes that LangGraph wrote, so classes of the program that wrote them need not be there.
"""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import orjson
import ormsgpack

from localstore.errors import LocalstoreError
from localstore.integrations.langgraph.checkpoint_saver import LocalCheckpointSaver
from localstore.integrations.langgraph.thread_log import SOURCE
from localstore.maintenance.importing import Imported, Skipped
from localstore.maintenance.importing.sqlite_file import DATABASE_ERRORS, columns, opened, rows
from localstore.storage.storage import JsonStorage, Storage

if TYPE_CHECKING:
    from localstore.integrations.langgraph.encoding import Typed
    from localstore.storage.contract import SessionStorage

Row = dict[str, Any]


def import_from(storage: SessionStorage, path: Path, *, dry_run: bool = False) -> Imported:
    """Put all checkpoints and pending writes of a database into a storage, and return what was new.

    It may be repeated: what is stored already is not stored twice. A thread is the session with its id, as with
    `LocalCheckpointSaver`, which continues it. What is encrypted, and what cannot be read, is named and left out.

    Args:
        storage: The storage.
        path: The database. It does not change.
        dry_run: If True, nothing is stored.

    Raises OSError if the database cannot be opened.
    """
    if path.is_dir():
        raise IsADirectoryError(21, "This is a folder. Name the database in it", str(path))
    done = _Import(str(path), storage, dry_run=dry_run)
    try:
        with opened(path) as database:
            if not {"thread_id", "checkpoint_id", "checkpoint"} <= {*columns(database, "checkpoints")}:
                done.skip("it has no table of checkpoints of LangGraph")
            else:
                for (thread_id,) in database.execute(
                    "SELECT DISTINCT thread_id FROM checkpoints ORDER BY 1"
                ).fetchall():
                    done.thread(database, str(thread_id))
    except DATABASE_ERRORS as error:
        done.skip(f"it cannot be read as a database ({error})")
    return done.result()


class _Import:
    """An import that is going on."""

    def __init__(self, path: str, storage: SessionStorage, *, dry_run: bool) -> None:
        self._path = path
        self._storage = storage
        self._dry_run = dry_run
        self._added: list[str] = []
        self._extended: list[str] = []
        self._unchanged = self._items = 0
        self._skipped: list[Skipped] = []

    def skip(self, reason: str, thread_id: str | None = None) -> None:
        """Record something that is left out, and why."""
        self._skipped.append(Skipped(self._path, reason, session_id=thread_id))

    def result(self) -> Imported:
        """Return what was done."""
        added, extended, skipped = tuple(self._added), tuple(self._extended), tuple(self._skipped)
        return Imported("langgraph", self._dry_run, added, extended, self._unchanged, 0, skipped, self._items)

    def thread(self, database: sqlite3.Connection, thread_id: str) -> None:
        """Import a thread."""
        is_new = not self._storage.revision(thread_id)
        before = self._storage.items(thread_id)
        if not is_new and not any(item.source == SOURCE for item in before):
            self.skip("the store has another session with this id, which was not changed", thread_id)
            return
        with ExitStack() as stack:
            storage = self._storage
            if self._dry_run:  # the same into a store that is removed
                storage = JsonStorage(stack.enter_context(TemporaryDirectory()), durability="relaxed")
                storage.append_items(thread_id, before)
            stack.enter_context(storage.bulk() if isinstance(storage, Storage) else nullcontext())
            try:
                self._put_all(database, thread_id, LocalCheckpointSaver(storage, serde=_Serialiser()))
            except LocalstoreError as error:
                self.skip(str(error), thread_id)
            count = len(storage.items(thread_id)) - len(before)
        self._items += count
        if count:
            (self._added if is_new else self._extended).append(thread_id)
        else:
            self._unchanged += not is_new

    def _put_all(self, database: sqlite3.Connection, thread_id: str, saver: LocalCheckpointSaver) -> None:
        versions: dict[tuple[str, str | None], dict[str, Any]] = {}
        of_thread: dict[str, Any] = {"where": "thread_id = ?", "values": (thread_id,)}
        for row in rows(database, "checkpoints", order="checkpoint_id", **of_thread):
            ns, checkpoint_id, parent_id = (
                row["checkpoint_ns"],
                row["checkpoint_id"],
                row["parent_checkpoint_id"] or None,
            )
            try:
                checkpoint = _checkpoint(row)
                metadata = orjson.loads(row["metadata"] or b"{}")
                if not isinstance(metadata, dict):
                    raise ValueError("its metadata are no mapping")
            except (ValueError, TypeError, KeyError, NotImplementedError) as error:
                self.skip(f"checkpoint {checkpoint_id}: {error}", thread_id)
                continue
            now = versions[ns, checkpoint_id] = checkpoint["channel_versions"]
            earlier = versions.get((ns, parent_id), {})
            place = {"thread_id": thread_id, "checkpoint_ns": ns}
            place |= {} if parent_id is None else {"checkpoint_id": parent_id}
            changed = {channel: version for channel, version in now.items() if earlier.get(channel) != version}
            saver.put({"configurable": place}, checkpoint, metadata, changed)
        tasks: dict[tuple[str, str, str, str], list[tuple[str, _Value]]] = {}
        for row in rows(database, "writes", order="checkpoint_id, task_id, idx", **of_thread):
            task = row["checkpoint_ns"], row["checkpoint_id"], row["task_id"], row.get("task_path") or ""
            if "+" in (row["type"] or ""):
                self.skip(f"a write to {row['channel']!r} is encrypted", thread_id)
            elif not isinstance(row["value"], bytes | None):
                self.skip(f"a write to {row['channel']!r} is not what LangGraph stores", thread_id)
            else:
                typed = (row["type"] or "null", bytes(row["value"] or b""))
                tasks.setdefault(task, []).append((row["channel"], _Value(typed)))
        for (ns, checkpoint_id, task_id, task_path), writes in tasks.items():
            place = {"thread_id": thread_id, "checkpoint_ns": ns, "checkpoint_id": checkpoint_id}
            saver.put_writes({"configurable": place}, writes, task_id, task_path)


@dataclass(frozen=True, slots=True)
class _Value:
    """A value that is serialised already."""

    typed: Typed


class _Serialiser:
    """Leaves serialised values as they are, and serialises others as LangGraph does by default."""

    def __init__(self) -> None:
        from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

        self._default = JsonPlusSerializer()

    def dumps_typed(self, value: Any) -> Typed:
        typed: Typed = value.typed if isinstance(value, _Value) else self._default.dumps_typed(value)
        return typed

    def loads_typed(self, typed: Typed) -> Any:
        return self._default.loads_typed(typed)


def _checkpoint(row: Row) -> Row:
    """Return a checkpoint whose values are serialised. Raises ValueError if it is encrypted or cannot be read."""
    encoding, data, default = row["type"] or "", bytes(row["checkpoint"] or b""), _Serialiser()
    if "+" in encoding:
        raise ValueError("it is encrypted")
    plain = _unpacked(data) if encoding == "msgpack" else None
    if isinstance(plain, dict) and _packed(plain) == data:  # otherwise the bytes of single values are not known
        values = plain.pop("channel_values", {})
        checkpoint: Row = default.loads_typed(("msgpack", _packed(plain)))
        checkpoint["channel_values"] = {channel: _Value(_typed(value)) for channel, value in values.items()}
    else:
        checkpoint = default.loads_typed((encoding, data))
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("channel_versions"), dict):
        raise ValueError("it is not a checkpoint of LangGraph")
    return checkpoint


def _typed(value: Any) -> Typed:
    """Return an unpacked value in the form in which LangGraph serialises it alone."""
    if value is None:
        return "null", b""
    return ("bytes", value) if isinstance(value, bytes) else ("msgpack", _packed(value))


def _unpacked(data: bytes) -> Any:
    return ormsgpack.unpackb(data, ext_hook=ormsgpack.Ext, option=ormsgpack.OPT_NON_STR_KEYS)


def _packed(value: Any) -> bytes:
    packed: bytes = ormsgpack.packb(value, option=ormsgpack.OPT_NON_STR_KEYS)
    return packed
