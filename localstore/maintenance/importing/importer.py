"""Import the sessions of another program into a store."""

from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import orjson
from pydantic import ValidationError

from localstore.engine.engine import Engine
from localstore.engine.merge import Merged
from localstore.engine.merged_rewrite import rewrite_of
from localstore.engine.transaction import Transaction
from localstore.errors import LocalstoreError, UnstorableValue
from localstore.format.document import check_entry, order_header
from localstore.format.parse_error import ParseError
from localstore.format.values import to_json_value
from localstore.format.versions.document_shape import checked
from localstore.format.versions.step import CannotUpgrade
from localstore.maintenance.importing.json_text import storable
from localstore.maintenance.importing.plan import Change, is_other_session, plan
from localstore.maintenance.importing.source import KINDS, Entry, Kind, Reader, Skipped, SourceSession, open_file
from localstore.models.nearest import not_one_of
from localstore.models.session import Session, entry_adapter
from localstore.models.validation import first_problem


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import.

    `added` and `extended` are the ids of the sessions that are new, and of those that got something new. `unchanged` is
    the number of sessions of which the store had everything. `runs` is the number of runs that are new or longer than
    before, and `items` that of new items of another framework. `skipped` says what was not imported, and why.
    """

    kind: str
    dry_run: bool
    added: tuple[str, ...]
    extended: tuple[str, ...]
    unchanged: int
    runs: int
    skipped: tuple[Skipped, ...]
    items: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        values = {name: getattr(self, name) for name in self.__slots__}
        lists = {"added": list(self.added), "extended": list(self.extended)}
        return {**values, **lists, "skipped": [part.as_dict() for part in self.skipped]}


def reader_of(kind: str) -> Reader:
    """Return the function that reads the sessions of a kind of source. Raises ValueError for an unknown kind."""
    if kind not in KINDS:
        raise ValueError(f"kind {not_one_of(kind, KINDS)}")
    module = import_module(f"localstore.maintenance.importing.{kind.replace('-', '_')}")
    reader: Reader = module.read
    return reader


class Target(Protocol):
    """A store into which sessions are imported."""

    def read(self, session_id: str) -> tuple[dict[str, Any], list[Entry]] | None:
        """Return the header and the entries of a session, or None if there is none."""
        ...

    def store(self, source: SourceSession) -> Change | Skipped | None:
        """Store what `planned` says of a session under its lock, and return it; None if the session is new."""
        ...


def import_from(target: Target, kind: Kind, path: Path, *, dry_run: bool = False) -> Imported:
    """Import what the store does not have yet of the sessions of a source, and return what was done.

    Args:
        target: The store.
        kind: The program or format that the source is of.
        path: A file or folder.
        dry_run: If True, nothing is written.

    Raises ValueError for an unknown kind, and OSError if the source cannot be opened or the store cannot be written.
    """
    read = reader_of(kind)
    if not path.exists():
        raise FileNotFoundError(2, "There is no such file or folder to import. Correct the path", str(path))
    if not path.is_dir():
        open_file(path).close()  # a pipe is not taken for a folder without sessions
    added: list[str] = []
    extended: list[str] = []
    skipped: list[Skipped] = []
    unchanged = runs = items = 0
    seen: set[str] = set()
    stored_whole: set[str] = set()
    for item in read(path):
        if isinstance(item, Skipped):
            skipped.append(item)
            continue
        source, problems = _checked(item)
        skipped += problems
        if source is None:
            continue
        session_id = source.header["session_id"]
        if any(fork.header["session_id"] not in stored_whole for fork in source.forks):
            source = replace(source, forks=())  # no run may leave the session for a fork that lacks it
        try:
            change = _preview(target, source) if dry_run else target.store(source)
        except LocalstoreError as error:
            skipped.append(Skipped(source.path, str(error), session_id=session_id))
            continue
        if isinstance(change, Skipped):
            skipped.append(change)
            continue
        if not problems and (change is None or not change.conflicts):
            stored_whole.add(session_id)
        skipped += [
            Skipped(source.path, f"run {run_id} was changed in the store, and stays as it is there", None, session_id)
            for run_id in (change.conflicts if change is not None else ())
        ]
        if change is None:
            runs += sum(entry["type"] == "run" for entry in source.entries)
            items += sum(entry["type"] == "item" for entry in source.entries)
            if session_id not in seen:
                added.append(session_id)
        elif change.is_empty:
            unchanged += session_id not in seen
        else:
            runs += change.runs
            items += change.items
            if session_id not in seen:
                extended.append(session_id)
        seen.add(session_id)
    return Imported(kind, dry_run, tuple(added), tuple(extended), unchanged, runs, tuple(skipped), items)


def _checked(source: SourceSession) -> tuple[SourceSession | None, list[Skipped]]:
    """Return a session with only those entries that a document can hold, and the others with the reason.

    Return None instead of the session if a document cannot hold its header.
    """
    header = _storable(source.header)
    session_id = header["session_id"]
    entries: list[Entry] = []
    skipped: list[Skipped] = []
    try:
        checked({**header, "history": []})
        Session.model_validate({**header, "history": []})
    except (CannotUpgrade, ValidationError) as error:
        problem = first_problem(error) if isinstance(error, ValidationError) else str(error)
        return None, [Skipped(source.path, f"it is not a valid session: {problem}", session_id=session_id)]
    for entry in source.entries:
        try:
            value = _storable(entry)
            entry_adapter().validate_python(value)
            check_entry(value, "it")
            entries.append(value)
        except (ValidationError, UnstorableValue, ParseError) as error:
            problem = first_problem(error) if isinstance(error, ValidationError) else str(error)
            name = f"run {entry['run_id']}" if "run_id" in entry else "an entry"
            skipped.append(Skipped(source.path, f"{name} cannot be stored: {problem}", session_id=session_id))
    return replace(source, header=header, entries=entries), skipped


def _storable(value: dict[str, Any]) -> dict[str, Any]:
    """Return a header or an entry in a form that a document can hold.

    Nearly all values come from `json_text.parse` and need no change.
    """
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        value = to_json_value(storable(value))
    return value


def _preview(target: Target, source: SourceSession) -> Change | Skipped | None:
    """Return the changes to the stored session, None if there is none, or why the source cannot be imported."""
    stored = target.read(source.header["session_id"])
    return None if stored is None else planned(*stored, source)


class FolderTarget:
    """A store in a folder into which sessions are imported. `suffix` is the ending of new documents."""

    def __init__(self, engine: Engine, suffix: str) -> None:
        self._engine = engine
        self._suffix = suffix

    def read(self, session_id: str) -> tuple[dict[str, Any], list[Entry]] | None:
        snapshot = self._engine.snapshot(session_id, lambda _: True)
        return None if snapshot is None else (snapshot.header, snapshot.entries)

    def store(self, source: SourceSession) -> Change | Skipped | None:
        change: Change | Skipped | None = None
        for attempt in self._engine.edit(source.header["session_id"]):
            with attempt as document:
                if document is None:
                    self._engine.create(order_header(source.header), source.entries, self._suffix)
                    change = None
                    continue
                change = planned(document.whole().header, document.whole().entries, source)
                if isinstance(change, Change):
                    if source.forks and change.moves:  # runs move to forks, whose names must survive a power cut
                        self._engine.sync_names([fork.header["session_id"] for fork in source.forks])
                    _apply(document, change)
        return change


def planned(header: dict[str, Any], entries: list[Entry], source: SourceSession) -> Change | Skipped:
    """Return the changes to a stored session, or why the source cannot be imported."""
    if is_other_session(header, entries, source):
        problem = "the store has another session with this id, which was not changed"
        return Skipped(source.path, problem, session_id=source.header["session_id"])
    return plan(header, entries, source)


def _apply(document: Transaction, change: Change) -> None:
    if change.is_empty:
        document.sync()
        return
    rewrite = rewrite_of(document.whole(), Merged(order_header(change.header), change.entries, ()))
    if rewrite is not None and not rewrite.replaced and not rewrite.inserted and rewrite.header is None:
        document.append(rewrite.added)
    elif rewrite is not None:
        document.execute(rewrite)
