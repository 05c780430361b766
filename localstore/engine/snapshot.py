"""A session as it stands in a document at one moment."""

from dataclasses import dataclass
from typing import Any

from localstore.disk.document_file import DocumentFile, fingerprint
from localstore.format.document import LayoutMismatch, ParsedDocument, newest_state
from localstore.index.row import IndexRow


@dataclass(slots=True)
class Snapshot:
    """A session as it stands in a document, in plain values.

    `entries` are all, or the newest; `current` is the newest value of each key that holds for the session;
    `fingerprint` is the document's at that time.
    """

    path: str
    header: dict[str, Any]
    entries: list[dict[str, Any]]
    current: dict[str, Any]
    fingerprint: list[int]


def tail_snapshot(file: DocumentFile, row: IndexRow, last_runs: int | None) -> Snapshot:
    """From the tail, and from the places where the manifest says that the state stands."""
    if last_runs is None or not row["entries"]:
        return whole_snapshot(file.to_read(), file, last_runs)
    found = file.last_runs(last_runs, row["entries"]) if last_runs else []
    by_offset = dict(found)
    current = {}
    for name, offset in row.get("offsets", {}).items():
        if offset not in by_offset:
            by_offset[offset] = file.entry_at(offset)
        if by_offset[offset].get(name) is None:
            raise LayoutMismatch
        current[name] = by_offset[offset][name]
    return Snapshot(file.path, file.header(), [entry for _, entry in found], current, fingerprint(file.status))


def whole_snapshot(parsed: ParsedDocument, file: DocumentFile, last_runs: int | None) -> Snapshot:
    entries = parsed.entries
    current = newest_state(entries)
    if last_runs is not None:
        runs = [number for number, entry in enumerate(entries) if entry["type"] == "run"]
        first = len(entries) if not last_runs else runs[-last_runs] if last_runs <= len(runs) else 0
        entries = entries[first:]
    return Snapshot(file.path, parsed.header, entries, current, fingerprint(file.status))
