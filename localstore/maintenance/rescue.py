"""List and read the rescue files of a store, and put their runs back into the sessions."""

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localstore.disk import durable_files, filesystem, rescue_folder, store_tree
from localstore.disk.rescue_folder import Rescued
from localstore.disk.store_tree import Opened
from localstore.engine.engine import Engine
from localstore.engine.transaction import Transaction
from localstore.errors import Conflict, DocumentBroken, NewerFormat, OlderFormat, SessionNotFound, UnstorableValue
from localstore.format.document import LAYOUTS, Layout, check_entry, order_header, parse_document
from localstore.format.json_layout import LAYOUT as JSON
from localstore.format.parse_error import ParseError
from localstore.format.recovery import recover_entries
from localstore.format.run_entry import comparable_fields, is_same_run
from localstore.format.values import json_equal, to_json_value
from localstore.models.schema import SCHEMA_VERSION, SESSION_KEYS
from localstore.models.times import now, utc_time

Entry = dict[str, Any]

_LOSSY = "it has comments, a repeated key or a number that would be rounded; copy what you need from it by hand"


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a rescue file.

    `entries` lists the complete, valid entries in order. `rest` holds the bytes that restoring them would lose: those
    that belong to no such entry, entries with comments or, for a whole document with comments or another layout, the
    whole document. `header` is the header of a whole document; None for anything else. `has_lossy_runs` is true if
    `rest` has complete runs that cannot be written again without a loss, because of comments, a number that would be
    rounded, or a repeated key.
    """

    entries: list[Entry]
    rest: bytes
    header: dict[str, Any] | None = None
    has_lossy_runs: bool = False


@dataclass(frozen=True, slots=True)
class Restored:
    """The result of restoring the rescue file `name`; in a dry run, the result to expect.

    `added` is the number of entries that were added to the session or finished a run there, and `present` the number of
    those that were in it already. `left` lists the reasons why something remains in the file. If it is empty, `removed`
    is True: the file was deleted. `session_id` is None if it is unknown.
    """

    name: str
    session_id: str | None
    added: int
    present: int
    left: tuple[str, ...]
    removed: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return {**{name: getattr(self, name) for name in self.__slots__}, "left": list(self.left)}


def rescued(store: Opened | Path | str) -> list[Rescued]:
    """Return the rescue files of a store, given as an open storage or a path, newest first.

    >>> from localstore import JsonStorage
    >>> rescued(JsonStorage("my-sessions"))
    []

    Raises StoreNotFound, OlderFormat, NewerFormat, OSError.
    """
    return rescue_folder.listing(str(store_tree.root_of(store)))


def content(rescue_file: Rescued) -> Content:
    """Return the content of a rescue file. Raises OSError if it cannot be read."""
    record = rescue_folder.read_record(rescue_file.path)
    layout = LAYOUTS.get(os.path.splitext(rescue_file.document)[1])
    if record is None:
        return _content_of_bytes(filesystem.read_file(rescue_file.path), layout)
    if "entry" in record:
        raw = filesystem.read_file(rescue_file.path)
        if not _is_lossless(raw, JSON):
            return Content([], raw, has_lossy_runs=True)
        entry = _valid_entry(record["entry"])
        return Content([entry], b"") if entry is not None else Content([], raw)
    try:
        raw = record["text"].encode() if "text" in record else base64.b64decode(record["base64"], validate=True)
    except (KeyError, TypeError, AttributeError, binascii.Error):
        return Content([], filesystem.read_file(rescue_file.path))
    return _content_of_bytes(raw, layout)


def _content_of_bytes(raw: bytes, layout: Layout | None) -> Content:
    """Return the content of a whole document or a piece of one. If `layout` is None, all bytes are `rest`."""
    if layout is None:
        return Content([], raw)
    try:
        parsed = parse_document(raw, layout, "")
    except (NewerFormat, OlderFormat):
        return Content([], raw)
    except DocumentBroken:
        pieces, rest = recover_entries(raw, layout)
        entries = []
        has_lossy_runs = False
        for piece in pieces:
            is_lossless = _is_lossless(piece, layout)
            entry = _valid_entry(layout.parse_entry(piece)) if is_lossless else None
            if entry is not None:
                entries.append(entry)
                is_lossless = not (layout.keeps_comments and b"#" in piece and layout.entry(entry) != piece)
            if entry is None or not is_lossless:
                rest.append(piece)
            has_lossy_runs = has_lossy_runs or not is_lossless
        return Content(entries, b"\n".join(rest), has_lossy_runs=has_lossy_runs)
    if not _is_lossless(raw, layout):
        return Content([], raw, has_lossy_runs=True)
    entries = [entry for value in parsed.entries if (entry := _valid_entry(value)) is not None]
    written = layout.document(parsed.header, entries)
    return Content(entries, b"" if written == raw else raw, parsed.header)


def _is_lossless(raw: bytes, layout: Layout) -> bool:
    """Return whether writing these bytes of a document again would drop and round nothing in them."""
    try:
        layout.parse_strict(raw)
    except ParseError:
        return False
    return True


def _valid_entry(entry: Any) -> Entry | None:
    """Return a copy of `entry` as plain values, or None if it is not a valid entry of a document."""
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
    new_id: str | None = None,
    lock_timeout: float = 10.0,
) -> Restored:
    """Add the complete entries of a rescue file to the end of their session's history.

    An entry that is in the session already is not added again. If the session has an earlier, unfinished form of a run,
    the run replaces it. State that was set later than these entries remains the state of the session. Once everything
    in the file is durably in the session, the file is deleted. A copy that was kept for its comments is not restored.

    Args:
        store: An open storage or the path of a store.
        name: The file name of the rescue file.
        create: If True, the session is created if it no longer exists; if False, SessionNotFound is raised.
        dry_run: If True, nothing is changed; the result says what would be done.
        new_id: If given, the entries become a session with this id. Conflict is raised if there is one already.
        lock_timeout: Seconds to wait for the session's lock.

    Raises FileNotFoundError if there is no such rescue file, SessionNotFound, DocumentBroken if the session's document
    must be repaired first, NewerFormat, OlderFormat, LockTimeout, OSError.
    """
    root = store_tree.root_of(store)
    path = str(root / rescue_folder.FOLDER / os.path.basename(name))
    rescue_file = rescue_folder.describe(path)
    if rescue_file is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    rescued_content = content(rescue_file)
    session_id = new_id or rescue_file.session_id
    reason = _reason_to_leave(rescue_file, rescued_content)
    if session_id is None or reason is not None:
        left = (reason or "it was not set aside by localstore",)
        return Restored(rescue_file.name, session_id, 0, 0, left, removed=False)
    engine = Engine(root, durable=True, timeout=lock_timeout)
    restoration = _Restoration(session_id, rescue_file, rescued_content, create or new_id is not None)
    if new_id is not None and (row := engine.locate(new_id)) is not None:
        raise Conflict(
            f"There is a session {new_id!r}, at {root / row['path']}. Nothing was changed. Choose another id.",
            path=str(root / row["path"]),
            session_id=new_id,
        )
    plan = restoration.preview(engine) if dry_run else restoration.apply(engine)
    reasons = list(plan.conflicts)
    if rescued_content.rest:
        size = len(rescued_content.rest)
        is_whole = rescued_content.header is not None
        why = "it has another layout, or comments" if is_whole else f"{size:,} bytes in it are no whole run"
        reasons.append(_LOSSY if rescued_content.has_lossy_runs else why)
    if not reasons and not dry_run:
        with contextlib.suppress(FileNotFoundError):
            durable_files.remove_file(path)
    added = len(plan.added) + len(plan.finished)
    return Restored(rescue_file.name, session_id, added, plan.present, tuple(reasons), removed=not reasons)


def _reason_to_leave(rescue_file: Rescued, rescued_content: Content) -> str | None:
    """Return the reason why nothing in a rescue file can be restored, or None if something can be."""
    if rescue_file.reason == rescue_folder.COMMENTS:  # some of its runs may have been removed on purpose since
        return "it was kept for its comments, and its runs stayed in the session"
    if rescued_content.has_lossy_runs and not rescued_content.entries:
        return _LOSSY
    if not (rescued_content.entries or rescued_content.header):
        return "it holds no whole run" if rescue_file.document else "it was not set aside by localstore"
    return None


@dataclass(slots=True)
class _Plan:
    """The changes that restoring a rescue file makes to a session.

    `added` lists the entries to add. `finished` maps the index of an unfinished run to the run that replaces it.
    `present` is the number of entries that are in the session already. `conflicts` lists the reasons why others are not
    restored.
    """

    added: list[Entry] = field(default_factory=list)
    finished: dict[int, Entry] = field(default_factory=dict)
    present: int = 0
    conflicts: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Restoration:
    """Restores the content of a rescue file to its session."""

    session_id: str
    rescue_file: Rescued
    content: Content
    create: bool

    def apply(self, engine: Engine) -> _Plan:
        """Add the content to the session, or create the session with it, and return the changes made.

        Raises SessionNotFound if the session does not exist and must not be created.
        """
        plan = _Plan()
        for attempt in engine.edit(self.session_id):
            with attempt as transaction:
                plan = self._create(engine) if transaction is None else self._add(transaction)
        return plan

    def _create(self, engine: Engine) -> _Plan:
        suffix = os.path.splitext(self.rescue_file.document)[1]
        engine.create(self._new_header(now()), self.content.entries, suffix)
        return _Plan(self.content.entries)

    def _add(self, transaction: Transaction) -> _Plan:
        parsed = transaction.whole()
        plan = _plan(parsed.entries, parsed.header, self.content)
        state = _later_state(parsed.entries, plan.added)
        added = [*plan.added, {"type": "update", "created_at": now(), **state}] if state else plan.added
        if plan.finished:
            transaction.change(parsed.header, {parsed.starts[at]: run for at, run in plan.finished.items()}, added)
        elif added:
            transaction.append(added)
        else:
            transaction.sync()
        return plan

    def preview(self, engine: Engine) -> _Plan:
        """Return the changes that `apply` would make, without making them. Raises SessionNotFound as `apply` does."""
        snapshot = engine.snapshot(self.session_id, lambda _: True)
        if snapshot is None:
            self._new_header("")
            return _Plan(self.content.entries)
        return _plan(snapshot.entries, snapshot.header, self.content)

    def _new_header(self, now: str) -> dict[str, Any]:
        """Return the header for the session that is created again.

        It is the header in the rescue file; without one, the session has no owner and is of kind agent. `now` is the
        time of creation if the entries have none. Raises SessionNotFound if the session must not be created.
        """
        if not self.create:
            raise SessionNotFound(
                f"Session {self.session_id!r} no longer exists. Put its document back, or create the session again "
                f"with: localstore rescue {self.rescue_file.name} --restore --create",
                session_id=self.session_id,
            )
        entries = self.content.entries
        created_at = entries[0].get("created_at", now) if entries else now
        header = {
            "schema_version": SCHEMA_VERSION,
            "session_id": self.session_id,
            "kind": "agent",
            "created_at": created_at,
        }
        return order_header({**(self.content.header or header), "session_id": self.session_id})


def _plan(entries: list[Entry], header: dict[str, Any], rescued_content: Content) -> _Plan:
    """Return the changes that add the content of a rescue file to a session with these entries and this header."""
    plan = _Plan()
    runs = {entry["run_id"]: number for number, entry in enumerate(entries) if entry["type"] == "run"}
    for entry in rescued_content.entries:
        if entry["type"] != "run":
            if any(json_equal(entry, other) for other in [*entries, *plan.added]):
                plan.present += 1
            else:
                plan.added.append(entry)
            continue
        end = len(entries) + len(plan.added)
        number = runs.setdefault(entry["run_id"], end)
        if number == end:
            plan.added.append(entry)
            continue
        stored = plan.finished.get(number) or [*entries, *plan.added][number]
        if is_same_run(entry, stored) or _is_earlier_form(entry, stored):
            plan.present += 1
        elif _is_earlier_form(stored, entry) and number < len(entries):
            plan.finished[number] = entry
        else:
            plan.conflicts.append(f"run {entry['run_id']} is in the session with another content")
    if rescued_content.header is not None and not json_equal(rescued_content.header, header):
        plan.conflicts.append("its header differs from the session's")
    return plan


def _is_earlier_form(run: Entry, later: Entry) -> bool:
    """Return whether `run` is unfinished and `later` contains everything in it.

    The messages of `later` must begin with those of `run`. Time, metrics and status may differ.
    """
    if run.get("status") != "unfinished":
        return False
    messages = run.get("messages") or []
    if not json_equal(messages, (later.get("messages") or [])[: len(messages)]):
        return False
    rest = {key: value for key, value in comparable_fields(run).items() if key not in ("messages", "status")}
    return all(key in later and json_equal(value, later[key]) for key, value in rest.items())


def _later_state(entries: list[Entry], added: list[Entry]) -> dict[str, Any]:
    """Return the state keys and values of `entries` that are newer than those in `added`.

    The added entries come last in the history, so these values must be set again after them.
    """
    current = {key: entry for entry in entries for key in SESSION_KEYS if entry.get(key) is not None}
    restored = {key: entry for entry in added for key in SESSION_KEYS if entry.get(key) is not None}
    return {
        key: current[key][key]
        for key in SESSION_KEYS
        if key in current and key in restored and _created_at(current[key]) > _created_at(restored[key])
    }


def _created_at(entry: Entry) -> str:
    """Return the creation time of an entry in UTC, in a form in which times compare correctly as text."""
    return utc_time(str(entry.get("created_at", "")))
