"""Read the row of a document from its file, even if the document is broken but its header can be read."""

import os
from typing import NamedTuple

from localstore.disk.boot import boot_id
from localstore.disk.document_file import IRREGULAR, DocumentFile, fingerprint
from localstore.disk.locks import LockPool
from localstore.errors import DocumentBroken, LocalstoreError
from localstore.format.document import LAYOUTS, ParsedDocument
from localstore.format.merge_conflict import own_side
from localstore.format.parse_error import ParseError
from localstore.format.recovery import CreationLost, RecoveredDocument, parse_without_end_marker
from localstore.index.manifest import Manifest
from localstore.index.row import IndexRow, carry_rewrite_flag, row_of
from localstore.index.whole_document import parse_whole
from localstore.models.times import utc_time


class Unreadable(NamedTuple):
    """A file from which no session can be read."""

    fingerprint: list[int]
    """The fingerprint of the file when it was read; [] if it could not be opened."""
    problem: str


class Torn(NamedTuple):
    """A document in which a write is in progress or was interrupted. The next write repairs it."""

    recorded: IndexRow
    """The row for a writer, who repairs the document: that of the manifest, or one with a `problem`."""
    readable: IndexRow
    """The row for a listing, which counts what a read returns. It must not be recorded."""


def read_row(
    root: str, path: str, manifest: Manifest, locks: LockPool, unreadable: Unreadable | None
) -> IndexRow | Torn | Unreadable | None:
    """Read a document and return its row, or None if there is no file.

    Return None, too, for what a power cut left of a new document that had not been synced.

    For a broken document whose session id is known, return a row with a `problem`; if the id is unknown, return
    `Unreadable`.

    Args:
        root: The folder of the store.
        path: The path of the document, relative to the root.
        manifest: The manifest, whose row of the document is needed for recovery.
        locks: The locks of the store, whose files say which writes were interrupted.
        unreadable: The result of the last read if it found no session. Returned again if the file is unchanged.
    """
    full_path = f"{root}/{path}"
    try:
        with DocumentFile(full_path) as file:
            raw = file.read_all()
    except FileNotFoundError:
        return None
    except (OSError, DocumentBroken) as error:
        earlier = manifest.row_at(path)
        if earlier is not None and getattr(error, "problem", "") != IRREGULAR:
            return {**earlier, "problem": str(error)}
        return Unreadable([], str(error))
    if unreadable is not None and unreadable.fingerprint == fingerprint(file.status):
        return unreadable
    before = manifest.row_at(path)
    try:
        content = parse_whole(raw, file, before, locks)
        if isinstance(content, RecoveredDocument):
            whole = parse_without_end_marker(raw, file.layout, content, full_path) if before is None else None
            if whole is None:
                return _torn(content.parsed, path, file, before)
            content = whole
        return carry_rewrite_flag(row_of(content, path, file.status, boot_id()), before)
    except CreationLost:
        return None  # the session was never durable
    except (LocalstoreError, OSError) as error:
        return _broken_row(path, raw, file.status, before, str(error))


def is_lost(full_path: str, locks: LockPool) -> bool:
    """Return whether a file without a row is what a power cut left of a new document that had not been synced."""
    try:
        with DocumentFile(full_path) as file:
            parse_whole(file.read_all(), file, None, locks)
    except CreationLost:
        return True
    except (LocalstoreError, OSError):
        pass
    return False


def _torn(parsed: ParsedDocument, path: str, file: DocumentFile, before: IndexRow | None) -> Torn:
    """Return the rows of a torn document. `parsed` is what recovery makes of it."""
    readable = row_of(parsed, path, file.status, boot_id())
    if before is not None:
        return Torn(before, readable)
    problem = (
        f"{file.path} was cut off in the middle of a write. The next write repairs it, and so does "
        "'localstore check --repair'."
    )
    return Torn({**readable, "fingerprint": [], "problem": problem}, readable)


def _broken_row(
    path: str, raw: bytes, status: os.stat_result, earlier: IndexRow | None, problem: str
) -> IndexRow | Unreadable:
    """Return a row with a `problem` for a document that cannot be parsed.

    Return `Unreadable` if neither the header nor `earlier` has a session id.
    """
    layout = LAYOUTS[path[path.rindex(".") :]]
    raw = own_side(raw)
    opened = raw.find(layout.opening)
    try:
        header = layout.parse_head(raw[: opened + len(layout.opening)]) if opened >= 0 else layout.parse(raw)
    except ParseError:
        header = None
    has_id = isinstance(header, dict) and isinstance(header.get("session_id"), str) and bool(header["session_id"])
    if earlier is not None and (not has_id or earlier["session_id"] == header["session_id"]):
        return {**earlier, "problem": problem}
    if not has_id:
        return Unreadable(fingerprint(status), problem)
    created_at = utc_time(str(header.get("created_at", "")))
    row: IndexRow = {
        "session_id": header["session_id"],
        "path": path,
        "kind": str(header.get("kind", "")),
        "created_at": created_at,
        "updated_at": created_at,
        "version": header["schema_version"] if type(header.get("schema_version")) is int else 0,
        "entries": 0,
        "runs": 0,
        "fingerprint": [],
        "problem": problem,
    }
    if isinstance(header.get("user_id"), str):
        row["user_id"] = header["user_id"]
    return row
