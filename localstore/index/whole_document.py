"""Parse a whole document for a reader or a check, and recover it if a crash damaged it."""

from localstore.disk.document_file import DocumentFile
from localstore.disk.locks import LockPool
from localstore.errors import DocumentBroken
from localstore.format.document import Layout, ParsedDocument
from localstore.format.parse_error import ParseError
from localstore.format.recovery import RecoveredDocument, parse_or_recover
from localstore.format.write_mark import WriteMark
from localstore.index.row import IndexRow, possible_power_cut


def parse_whole(
    raw: bytes, file: DocumentFile, row: IndexRow | None, locks: LockPool
) -> ParsedDocument | RecoveredDocument:
    """Parse a whole document. Returns a RecoveredDocument if a crash damaged it: what the next write makes of it.

    `raw` are all bytes of `file`; `row` is its row in the manifest, or None. Without the session's lock, a write in
    progress looks like an interrupted one. The file is not changed. Raises DocumentBroken if a crash does not explain
    the damage, NewerFormat, and OSError if the marks of interrupted writes cannot be read.
    """
    power_cut = possible_power_cut(row, file.status)
    try:
        document = parse_or_recover(raw, file.layout, file.path, (), power_cut)
    except DocumentBroken:
        marks = _marks(raw, file.layout, row, locks)
        if not marks:
            raise
    else:
        if isinstance(document, ParsedDocument) and document.in_layout:
            return document  # the usual case, in which no write was interrupted
        marks = _marks(raw, file.layout, row, locks)
        if not marks:
            return document
    return parse_or_recover(raw, file.layout, file.path, marks, power_cut)


def _marks(raw: bytes, layout: Layout, row: IndexRow | None, locks: LockPool) -> list[WriteMark]:
    """Return the marks of the session that `row` or the header names."""
    session_id = row["session_id"] if row is not None else None
    opened = raw.find(layout.opening)
    if session_id is None and opened >= 0:
        try:
            header = layout.parse_head(raw[: opened + len(layout.opening)])
        except ParseError:
            return []
        session_id = header.get("session_id") if isinstance(header, dict) else None
    return locks.read_marks(session_id) if isinstance(session_id, str) else []
