"""A store in a folder as one side of a copy."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from localstore.disk import durable_files, filesystem
from localstore.disk.document_file import DocumentFile, fingerprint
from localstore.disk.store_identity import make_folders
from localstore.engine.engine import Engine
from localstore.engine.merged_rewrite import write_merged
from localstore.errors import DocumentBroken, LocalstoreError
from localstore.format.document import LayoutMismatch, parse_document, parse_strictly
from localstore.index.row import IndexRow
from localstore.maintenance.copy_sides import (
    OF_ONE_SESSION,
    REPLACED,
    Form,
    Found,
    Listed,
    Revision,
    Written,
    known_revision,
    merged_with,
    new,
    written,
)
from localstore.models.filter import Filter
from localstore.models.schema import SCHEMA_VERSION
from localstore.storage.bulk import Bulk

_ATTEMPTS = 5
"""The most times that a document is read which another program keeps changing."""
_COPIES = ".localstore/copies"
_IN_NO_SESSION = (
    "has memories as an earlier release kept them. They move to a session, which is copied, when agno stores a memory "
    "of this user with LocalDb"
)


class FolderSide:
    """A store in a folder as one side of a copy; see `Side`.

    `suffix` is the ending of new documents, or None to keep the format of a document that comes from another folder.
    A document that keeps its format keeps its bytes too, with comments and formatting.
    """

    def __init__(self, engine: Engine, suffix: str | None) -> None:
        self._engine = engine
        self._suffix = suffix

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path and the options, so that another process can open the same store."""
        engine = self._engine
        return _opened, (engine.root, engine.durable, engine.timeout, engine.upgrades, self._suffix)

    @property
    def name(self) -> str:
        """The folder."""
        return self._engine.root

    @property
    def shares_writes(self) -> bool:
        """False: the disk takes most of the time, and each process reads in the manifest what the others wrote."""
        return False

    def listed(self, where: Filter) -> Sequence[Listed]:
        """Return the sessions that match the filter, most recently updated first."""
        return [*map(self._listed, self._engine.rows(where))]

    def _listed(self, row: IndexRow) -> Listed:
        session_id, numbers, revision = row["session_id"], row["fingerprint"], _revision(row)
        self._engine.copies.warn(session_id)  # here, because other processes that read it know of no copies
        size = numbers[0] if numbers else 0
        path = row["path"] if revision is not None and _is_in_layout(row) else None
        return Listed(session_id, revision, size, row.get("problem"), path)

    def unreadable(self) -> Mapping[str, str]:
        """Return the files in which no session can be read, with the reasons."""
        index = self._engine.index
        problems = index.unreadable_files() | index.unreadable_folders
        found = {f"{self._engine.root}/{path}": problem for path, problem in problems.items()}
        return found | {path: f"{path} {_IN_NO_SESSION}" for path in _memory_files(self._engine.root)}

    def revisions(self, session_ids: Iterable[str]) -> dict[str, Revision | None]:
        """Return the revision of each of these sessions that the store has."""
        rows = map(self._engine.locate, session_ids)
        return {row["session_id"]: _revision(row) for row in rows if row is not None}

    def read(self, sessions: Sequence[Listed]) -> Iterator[Found]:
        """Yield each of these sessions: None if there is none, or the error if it cannot be read."""
        for one in sessions:
            try:
                yield self._read_as_listed(one) or self._read(one.session_id)
            except OF_ONE_SESSION as error:
                yield error

    def _read_as_listed(self, one: Listed) -> Form | None:
        """Return a session whose document is in our layout and unchanged since it was listed, else None.

        It is found without the index.
        """
        if one.path is None:
            return None
        try:
            with DocumentFile(f"{self._engine.root}/{one.path}") as file:
                parsed = file.to_read()
                if known_revision(fingerprint(file.status)) != one.revision:
                    return None
                return _form(parsed.header, parsed.entries, one.revision, parsed.raw, file)
        except (LayoutMismatch, LocalstoreError, OSError):
            return None

    def _read(self, session_id: str) -> Form | None:
        for _ in range(_ATTEMPTS):
            snapshot = self._engine.snapshot(session_id, lambda _: True)
            if snapshot is None:
                return None
            if not snapshot.fingerprint:
                return Form(snapshot.header, snapshot.entries)
            with contextlib.suppress(FileNotFoundError), DocumentFile(snapshot.path) as file:
                raw = file.read_all()
                if fingerprint(file.status) == snapshot.fingerprint:
                    revision = known_revision(snapshot.fingerprint)
                    return _form(snapshot.header, snapshot.entries, revision, raw, file)
        raise self._engine.keeps_changing_error(session_id, self._engine.locate(session_id))

    def write(self, forms: Sequence[Form]) -> Iterator[Written | LocalstoreError | PermissionError]:
        """Add what the store lacks of each session, durably, and yield what was done, or the error."""
        done: list[Written | LocalstoreError | PermissionError] = []
        with Bulk(self._engine):
            for form in forms:
                try:
                    done.append(self._write(form))
                except OF_ONE_SESSION as error:
                    done.append(error)
        return iter(done)

    def _write(self, form: Form) -> Written:
        done = new(form)
        row: IndexRow | None = None
        for attempt in self._engine.edit(form.session_id):
            with attempt as document:
                if document is None:
                    done, row = new(form), self._create(form)
                    continue
                stored = Form(document.whole().header, document.whole().entries)
                merged = merged_with(stored, form)
                done = written(stored, merged)
                write_merged(self._engine.root, document, merged, REPLACED)
                row = document.row
        return replace(done, revision=known_revision(row["fingerprint"]) if row else None)

    def _create(self, form: Form) -> IndexRow:
        if (error := self.refusal(form)) is not None:
            raise error
        suffix, raw = self._suffix_and_bytes(form)
        return self._engine.create(form.header, form.entries, suffix, raw)

    def _suffix_and_bytes(self, form: Form) -> tuple[str, bytes | None]:
        """Return the ending of the document to create, and its bytes if it keeps those that it has."""
        suffix = self._suffix or (form.document[0] if form.document else ".json")
        return suffix, form.document[1] if form.document is not None and form.document[0] == suffix else None

    def refusal(self, form: Form) -> LocalstoreError | None:
        """Return the error with which a session is not created, or None if it can be; see `Side.refusal`."""
        return form.problem if self._suffix_and_bytes(form)[1] is None else None

    def digests(self, _: Sequence[str]) -> dict[str, bytes]:
        """Return {}: what is in a document is known once it is read."""
        return {}

    def load_record(self, other: str) -> bytes | None:
        """Return what `save_record` stored under this name; None if there is nothing."""
        with contextlib.suppress(OSError):
            return filesystem.read_file(self._record(other))
        return None

    def save_record(self, other: str, record: bytes) -> bool:
        """Store the record of the copies to or from another store. Return False if the folder is read-only."""
        with contextlib.suppress(OSError):
            make_folders(self._engine.root, f"{self._engine.root}/{_COPIES}")
            durable_files.write_file(self._record(other), [record])
            return True
        return False

    def _record(self, other: str) -> str:
        return f"{self._engine.root}/{_COPIES}/{blake2b(other.encode(), digest_size=8).hexdigest()}.json"


def _opened(root: str, durable: bool, timeout: float, upgrades: bool, suffix: str | None) -> FolderSide:
    engine = Engine(Path(root), durable=durable, timeout=timeout, upgrades=upgrades, suffix=suffix or ".json")
    return FolderSide(engine, suffix)


def _revision(row: IndexRow) -> Revision | None:
    """Return the fingerprint of a document, or None if it does not tell every change."""
    return None if "boot" in row or row.get("coarse_mtime") or "problem" in row else known_revision(row["fingerprint"])


def _is_in_layout(row: IndexRow) -> bool:
    """Return whether a document was in our layout when its row was made."""
    return row["version"] == SCHEMA_VERSION and not row.get("other_layout") and not row.get("rewrite")


def _form(
    header: dict[str, Any], entries: list[dict[str, Any]], revision: Revision | None, raw: bytes, file: DocumentFile
) -> Form:
    """Return the session that was read from the bytes `raw` of a document.

    Raises DocumentBroken if they are nested so deeply that no other store can have them.
    """
    layout, path = file.layout, file.path
    document = (layout.suffix, raw)
    try:
        is_ours = layout.document(header, entries) == raw
    except orjson.JSONEncodeError:
        parse_strictly(raw, layout, path)  # raises the error that says so
        raise
    if is_ours:
        return Form(header, entries, revision, document)
    problem = None
    try:
        parsed = parse_strictly(raw, layout, path)
    except DocumentBroken as error:
        try:
            parsed = parse_document(raw, layout, path)
        except DocumentBroken:  # a crash tore it: its next write will recover what was read
            return Form(header, entries, revision)
        problem = error
    return Form(header, entries, revision, document if parsed.version == SCHEMA_VERSION else None, problem)


def _memory_files(root: str) -> list[str]:
    """Return the paths of the files in which earlier releases kept the memories of users; see FORMAT.md."""
    try:
        names = sorted(os.listdir(f"{root}/memories"))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [f"{root}/memories/{name}" for name in names if name.endswith(".json") and not name.startswith(".")]
