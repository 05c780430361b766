"""What was set aside in a store: list it, read it, and put its runs back into their sessions."""

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localstore.disk import filesystem, rescue_folder, store_tree
from localstore.disk.rescue_folder import Rescued
from localstore.disk.store_tree import Opened
from localstore.engine.engine import Engine
from localstore.engine.transaction import Transaction
from localstore.errors import DocumentBroken, NewerFormat, OlderFormat, SessionNotFound, UnstorableValue
from localstore.format.document import LAYOUTS, Layout, check_entry, order_header, parse_document
from localstore.format.parse_error import ParseError
from localstore.format.recovery import recover_entries
from localstore.format.run_entry import comparable_fields, is_same_run
from localstore.format.values import json_equal, to_json_value
from localstore.models.schema import SCHEMA_VERSION, SESSION_KEYS

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Content:
    """What a rescue file holds: whole entries in their order, and the bytes that are none. `header` is that of a whole
    document, None for anything else."""

    entries: list[Entry]
    rest: bytes
    header: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of a rescue file: how many of its entries were `added` to the session and how many were `present`,
    why something is `left` in it, and whether the file was `removed` because nothing is."""

    name: str
    session_id: str | None
    added: int
    present: int
    left: tuple[str, ...]
    removed: bool

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return {**{name: getattr(self, name) for name in self.__slots__}, "left": list(self.left)}


def rescued(store: Opened | Path | str) -> list[Rescued]:
    """All that was set aside in a store, open or at this path, newest first.

    Raises StoreNotFound, OlderFormat, NewerFormat, OSError.
    """
    return rescue_folder.listing(str(store_tree.root_of(store)))


def content(one: Rescued) -> Content:
    """What is in a rescue file. Raises OSError."""
    record = rescue_folder.read_record(one.path)
    layout = LAYOUTS.get(os.path.splitext(one.document)[1])
    if record is None:
        raw = Path(one.path).read_bytes()
        return _content(raw, layout) if layout is not None else Content([], raw)
    if "entry" in record:
        entry = _sound(record["entry"])
        return Content([entry], b"") if entry is not None else Content([], Path(one.path).read_bytes())
    try:
        raw = record["text"].encode() if "text" in record else base64.b64decode(record["base64"], validate=True)
    except (KeyError, TypeError, AttributeError, binascii.Error):
        return Content([], Path(one.path).read_bytes())
    return _content(raw, layout) if layout is not None else Content([], raw)


def _content(raw: bytes, layout: Layout) -> Content:
    try:
        parsed = parse_document(raw, layout, "")
    except (NewerFormat, OlderFormat):
        return Content([], raw)
    except DocumentBroken:
        pieces, rest = recover_entries(raw, layout)
        read = [(_sound(layout.parse_entry(piece)), piece) for piece in pieces]
        rest += [piece for entry, piece in read if entry is None]
        return Content([entry for entry, _ in read if entry is not None], b"\n".join(rest))
    entries = [entry for one in parsed.entries if (entry := _sound(one)) is not None]
    written = layout.assemble(layout.head(parsed.header), [layout.entry(entry) for entry in entries])
    return Content(entries, b"" if written == raw else raw, parsed.header)


def _sound(entry: Any) -> Entry | None:
    """The entry, if it may stand in a document."""
    try:
        check_entry(entry, "entry")
        value: Entry = to_json_value(entry)
    except (ParseError, UnstorableValue):
        return None
    return value


def restore(
    store: Opened | Path | str,
    name: str,
    *,
    create: bool = False,
    dry_run: bool = False,
    lock_timeout: float = 10.0,
) -> Restored:
    """Put the whole entries of a rescue file back into their session, at the end of its history, each once.

    An entry that is there already is not added again; an unfinished run that is there is finished. State that the
    session was given later than by these entries still holds. When everything in the file is in the session, durably,
    the file is removed. A copy that was kept for its comments is left alone. With `create` a session that is gone is
    made anew; with `dry_run` no entry is written.

    Raises FileNotFoundError when there is no such rescue file, SessionNotFound, DocumentBroken when the session's
    document has to be mended first, NewerFormat, OlderFormat, LockTimeout, OSError.
    """
    root = store_tree.root_of(store)
    path = str(root / rescue_folder.FOLDER / os.path.basename(name))
    one = rescue_folder.describe(path)
    if one is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    found = content(one)
    if (why := _nothing_to_restore(one, found)) is not None:
        return Restored(one.name, one.session_id, 0, 0, (why,), removed=False)
    engine = Engine(root, durable=True, timeout=lock_timeout)
    plan = _look(engine, one, found, create) if dry_run else _change(engine, one, found, create)
    left = list(plan.conflicts)
    if found.rest:
        more = f"{len(found.rest):,} bytes in it are no whole run"
        left.append(more if found.header is None else "it has another layout, or comments")
    if not left and not dry_run:
        with contextlib.suppress(FileNotFoundError):
            filesystem.remove_file(path)
    added = len(plan.added) + len(plan.finished)
    return Restored(one.name, one.session_id, added, plan.present, tuple(left), removed=not left)


def _nothing_to_restore(one: Rescued, found: Content) -> str | None:
    """Why nothing of a rescue file can be put back, None when something can."""
    if one.reason == rescue_folder.COMMENTS:  # and some of its runs may have been removed on purpose since
        return "it was kept for its comments, and its runs stayed in the session"
    if one.session_id is None or not (found.entries or found.header):
        return "it holds no whole run" if one.document else "it was not set aside by localstore"
    return None


@dataclass(slots=True)
class _Plan:
    """What has to be done to a session: `finished` maps the index of an entry to what it becomes."""

    added: list[Entry] = field(default_factory=list)
    finished: dict[int, Entry] = field(default_factory=dict)
    present: int = 0
    conflicts: list[str] = field(default_factory=list)


def _change(engine: Engine, one: Rescued, found: Content, create: bool) -> _Plan:
    from localstore.models.session import now

    def work(transaction: Transaction | None) -> _Plan:
        if transaction is None:
            engine.create(_header(one, found, create, now()), found.entries, os.path.splitext(one.document)[1])
            return _Plan(found.entries)
        parsed = transaction.whole()
        plan = _plan(parsed.entries, parsed.header, found)
        state = _later_state(parsed.entries, plan.added)
        added = [*plan.added, {"type": "update", "created_at": now(), **state}] if state else plan.added
        if plan.finished:
            transaction.change(parsed.header, {parsed.starts[at]: entry for at, entry in plan.finished.items()}, added)
        elif added:
            transaction.append(added)
        else:
            transaction.sync()
        return plan

    assert one.session_id is not None  # noqa: S101 (for the type checker)
    return engine.change(one.session_id, work)


def _look(engine: Engine, one: Rescued, found: Content, create: bool) -> _Plan:
    assert one.session_id is not None  # noqa: S101 (for the type checker)
    seen = engine.look(one.session_id, lambda _: True, None)
    if seen is None:
        _header(one, found, create, "")
        return _Plan(found.entries)
    return _plan(seen.entries, seen.header, found)


def _header(one: Rescued, found: Content, create: bool, now: str) -> dict[str, Any]:
    """The header of a session that is made anew: nobody's, and an agent's, unless a whole document says otherwise."""
    if not create:
        raise SessionNotFound(
            f"There is no session {one.session_id!r} any more. Put its document back, or make a new session of it "
            f"with: localstore rescue {one.name} --restore --create",
            session_id=one.session_id,
        )
    began = found.entries[0].get("created_at", now) if found.entries else now
    made = {"schema_version": SCHEMA_VERSION, "session_id": one.session_id, "kind": "agent", "created_at": began}
    return order_header(found.header or made)


def _plan(there: list[Entry], header: dict[str, Any], found: Content) -> _Plan:
    plan = _Plan()
    runs = {entry["run_id"]: at for at, entry in enumerate(there) if entry["type"] == "run"}
    for entry in found.entries:
        if entry["type"] != "run":
            if any(json_equal(entry, other) for other in [*there, *plan.added]):
                plan.present += 1
            else:
                plan.added.append(entry)
            continue
        at = runs.setdefault(entry["run_id"], len(there) + len(plan.added))
        if at == len(there) + len(plan.added):
            plan.added.append(entry)
            continue
        old = plan.finished.get(at) or [*there, *plan.added][at]
        if is_same_run(entry, old) or _became(entry, old):
            plan.present += 1
        elif _became(old, entry) and at < len(there):
            plan.finished[at] = entry
        else:
            plan.conflicts.append(f"run {entry['run_id']} is in the session and says something else")
    if found.header is not None and not json_equal(found.header, header):
        plan.conflicts.append("its header says something else than the session's")
    return plan


def _became(one: Entry, other: Entry) -> bool:
    """Whether the unfinished run `one` is an earlier form of `other`, with nothing in it that `other` lacks."""
    if one.get("status") != "unfinished":
        return False
    messages = one.get("messages") or []
    if not json_equal(messages, (other.get("messages") or [])[: len(messages)]):
        return False
    rest = {key: value for key, value in comparable_fields(one).items() if key not in ("messages", "status")}
    return all(key in other and json_equal(value, other[key]) for key, value in rest.items())


def _later_state(there: list[Entry], added: list[Entry]) -> dict[str, Any]:
    """The state that the session has from entries younger than those that are added behind them."""
    held = {name: entry for entry in there for name in SESSION_KEYS if entry.get(name) is not None}
    said = {name: entry for entry in added for name in SESSION_KEYS if entry.get(name) is not None}
    return {
        name: held[name][name]
        for name in SESSION_KEYS
        if name in held and name in said and _moment(held[name]) > _moment(said[name])
    }


def _moment(entry: Entry) -> str:
    return str(entry.get("created_at", ""))
