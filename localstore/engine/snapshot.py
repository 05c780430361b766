"""The content of a session's document at one moment."""

from dataclasses import dataclass
from typing import Any, NamedTuple

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


class Part(NamedTuple):
    """Which entries of a history to read: the newest `last` ones of a type, with those after the first of them."""

    last: int | None = None
    """How many entries of the type; 0 reads no entries at all, None reads all."""
    of: str = "run"
    """The type of the entries that are counted."""
    most: int | None = None
    """How many of them are enough: the entries end before the next one of the type. None reads up to the end."""
    entries_only: bool = False
    """Whether the header and the newest state are left out, if they would have to be read as well."""

    def among(self, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return this part of all entries of a history."""
        counted = [number for number, entry in enumerate(entries) if entry["type"] == self.of]
        begin, end = 0, len(entries)
        if self.last is not None and self.last <= len(counted):
            begin = counted[-self.last] if self.last else end
            counted = counted[len(counted) - self.last :]
        if self.most is not None and self.most < len(counted):
            end = counted[self.most]
        return entries[begin:end]


WHOLE = Part()
"""The whole history."""


def tail_snapshot(file: DocumentFile, row: IndexRow, part: Part) -> Snapshot:
    """Return a snapshot of a trusted document by reading only the end of the file and the entries in `row["offsets"]`.

    For the whole history, or if the document has no entries, the whole document is read. Raises LayoutMismatch if the
    file does not match the row.
    """
    last, of, most, entries_only = part
    if last is None or not row["entries"]:
        return whole_snapshot(file.to_read(), file, part)
    if not last:
        found = []
    elif most is None or most >= last:
        found = file.last_entries(last, of, row["entries"])
    else:
        found = file.some_entries(last, of, row["entries"], most)
    if entries_only:
        return Snapshot(file.path, {}, [entry for _, entry in found], {}, fingerprint(file.status))
    by_offset = dict(found)
    current = {}
    for name, offset in row.get("offsets", {}).items():
        if offset not in by_offset:
            by_offset[offset] = file.entry_at(offset)
        if by_offset[offset].get(name) is None:
            raise LayoutMismatch
        current[name] = by_offset[offset][name]
    return Snapshot(file.path, file.header(), [entry for _, entry in found], current, fingerprint(file.status))


def whole_snapshot(parsed: ParsedDocument, file: DocumentFile, part: Part = WHOLE) -> Snapshot:
    """Return a snapshot of a document that has been parsed completely. `file` is what `parsed` was read from."""
    current = newest_state(parsed.entries)
    return Snapshot(file.path, parsed.header, part.among(parsed.entries), current, fingerprint(file.status))
