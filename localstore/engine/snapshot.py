"""The content of a session's document at one moment."""

from dataclasses import dataclass
from typing import Any

from localstore.disk.document_file import DocumentFile, fingerprint
from localstore.format.document import LayoutMismatch, ParsedDocument, newest_state
from localstore.index.row import IndexRow


@dataclass(slots=True)
class Snapshot:
    """The content of a session's document at one moment, as plain values.

    `path` is the full path of the document. `entries` holds all entries or only the newest ones, oldest first.
    `current` maps each key in `SESSION_KEYS` that any entry has to its newest value. `fingerprint` identifies the state
    of the file that was read.
    """

    path: str
    header: dict[str, Any]
    entries: list[dict[str, Any]]
    current: dict[str, Any]
    fingerprint: list[int]


def tail_snapshot(
    file: DocumentFile, row: IndexRow, last: int | None, of: str = "run", most: int | None = None
) -> Snapshot:
    """Return a snapshot of a trusted document by reading only the end of the file and the entries in `row["offsets"]`.

    `last` is the number of newest entries of the type `of` to include, with the entries after the first of them; 0
    includes no entries. If it is None, or the document has no entries, the whole document is read. With `most`, the
    entries end before the next one of the type after so many of them. Raises LayoutMismatch if the file does not match
    the row.
    """
    if last is None or not row["entries"]:
        return whole_snapshot(file.to_read(), file, last, of, most)
    if not last:
        found = []
    elif most is None or most >= last:
        found = file.last_entries(last, of, row["entries"])
    else:
        found = file.some_entries(last, of, row["entries"], most)
    by_offset = dict(found)
    current = {}
    for name, offset in row.get("offsets", {}).items():
        if offset not in by_offset:
            by_offset[offset] = file.entry_at(offset)
        if by_offset[offset].get(name) is None:
            raise LayoutMismatch
        current[name] = by_offset[offset][name]
    return Snapshot(file.path, file.header(), [entry for _, entry in found], current, fingerprint(file.status))


def whole_snapshot(
    parsed: ParsedDocument, file: DocumentFile, last: int | None, of: str = "run", most: int | None = None
) -> Snapshot:
    """Return a snapshot of a document that has been parsed completely.

    `last` is the number of newest entries of the type `of` to include, with the entries after the first of them; 0
    includes no entries, None includes all. With `most`, they end before the next one of the type after so many of them.
    `file` is the document that `parsed` was read from.
    """
    current, entries = newest_state(parsed.entries), first_part(newest_part(parsed.entries, last, of), most, of)
    return Snapshot(file.path, parsed.header, entries, current, fingerprint(file.status))


def first_part(entries: list[dict[str, Any]], most: int | None, of: str = "run") -> list[dict[str, Any]]:
    """Return the entries up to the next one of the type `of` after `most` of them; all if it is None."""
    counted = [] if most is None else [number for number, entry in enumerate(entries) if entry["type"] == of]
    return entries if most is None or most >= len(counted) else entries[: counted[most]]


def newest_part(entries: list[dict[str, Any]], last: int | None, of: str = "run") -> list[dict[str, Any]]:
    """Return the newest `last` entries of the type `of`, with the entries after the first of them. 0 returns none,
    None all."""
    if last is None:
        return entries
    counted = [number for number, entry in enumerate(entries) if entry["type"] == of]
    return entries[len(entries) if not last else counted[-last] if last <= len(counted) else 0 :]
