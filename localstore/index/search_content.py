"""Read from a document what the search index lacks: all of it, or only what was added since."""

import hashlib
import time
from dataclasses import dataclass, field
from typing import Any

from localstore.disk import filesystem
from localstore.disk.document_file import DocumentFile, fingerprint
from localstore.disk.locks import LockPool
from localstore.format.document import Layout, LayoutMismatch, split_entries
from localstore.format.parse_error import ParseError
from localstore.format.recovery import RecoveredDocument
from localstore.index.row import COARSE_TICK, IndexRow, is_coarse
from localstore.index.whole_document import parse_whole

_BLOCK = 1 << 20
NOWHERE = -1
"""The offset of an entry that can only be found by parsing the whole document."""


@dataclass(frozen=True, slots=True)
class StablePart:
    """The first part of a document, whose bytes no append changes: all entries but an unfinished last run."""

    entries: int = 0
    size: int = 0
    """Where the part ends: after the last of its entries, in bytes from the start of the file."""
    digest: bytes = b""
    """A hash of the bytes of the part."""


@dataclass(frozen=True, slots=True)
class Content:
    """What was read from a document. Of a document that only grew, it has the entries from `first` on."""

    state: str
    """Identifies the state of the file that was read; see `state_of`."""
    entries: list[dict[str, Any]] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    """The offset of each entry, or `NOWHERE`."""
    header: dict[str, Any] | None = None
    """The header; None if the document only grew, or cannot be read."""
    first: int = 0
    """The position of the first of `entries` in the history."""
    stable: StablePart = StablePart()


def state_of(path: str, numbers: list[int]) -> str:
    """Return a text that identifies the state of the file at `path`, given its fingerprint."""
    size, changed, status_changed, inode = numbers or (0, 0, 0, 0)  # the file cannot be read
    return f"{path}\n{size} {changed} {status_changed} {inode}"


def path_in(state: str) -> str:
    """Return the path of the file that was in this state; "" if that is not known."""
    return state.partition("\n")[0]


def _state_read(path: str, file: DocumentFile) -> str:
    """Return the state of a file that was read, or "" if it may change again without another state."""
    changed = file.status.st_mtime_ns
    if is_coarse(changed) and abs(time.time_ns() - changed) < COARSE_TICK:
        return ""
    return state_of(path, fingerprint(file.status))


def read_content(root: str, row: IndexRow, locks: LockPool, before: StablePart) -> Content:
    """Read the document of a row. `before` is the part that was read earlier: only what follows it is parsed again.

    The bytes of that part are compared by their hash. Without entries in it, or if they changed, the whole document is
    parsed. A document that a crash damaged is read as the next write will leave it. Raises FileNotFoundError, OSError,
    and DocumentBroken, NewerFormat or OlderFormat.
    """
    with DocumentFile(f"{root}/{row['path']}") as file:
        if before.entries:
            try:
                return _added(file, row["path"], before)
            except (LayoutMismatch, ParseError):
                pass
        raw = file.read_all()
        parsed = parse_whole(raw, file, row, locks)
        state = _state_read(row["path"], file)
        if isinstance(parsed, RecoveredDocument):
            document = parsed.parsed
            return Content(state, document.entries, [NOWHERE] * len(document.entries), document.header)
        if not parsed.starts:
            return Content(state, parsed.entries, [NOWHERE] * len(parsed.entries), parsed.header)
        stable = _stable_part(file.layout, raw, 0, parsed.starts, parsed.entries, StablePart(), hashlib.blake2b())
        return Content(state, parsed.entries, parsed.starts, parsed.header, 0, stable)


def _added(file: DocumentFile, path: str, before: StablePart) -> Content:
    """Read the entries after the stable part. Raises LayoutMismatch or ParseError if it is not as it was."""
    layout = file.layout
    digest = hashlib.blake2b()
    at = 0
    while at < before.size:
        block = filesystem.read_at(file.fd, min(_BLOCK, before.size - at), at)
        if not block:
            raise LayoutMismatch
        digest.update(block)
        at += len(block)
    if digest.digest() != before.digest:
        raise LayoutMismatch
    data = filesystem.read_at(file.fd, file.size - at, at)
    if not file.is_unchanged() or not data.startswith(layout.separator) or not data.endswith(layout.end):
        raise LayoutMismatch
    if data == layout.end:
        return Content(_state_read(path, file), [], [], None, before.entries, before)
    begin = len(layout.separator)
    starts = layout.entry_starts(b"\n" + data, begin + 1)
    starts = [start - 1 for start in starts]
    if not starts or starts[0] != begin:
        raise LayoutMismatch
    pieces = split_entries(layout, data, starts, len(data))
    entries = [layout.parse_entry(piece) for piece in pieces]
    if any(map(layout.breaks_layout, pieces)) or not all(map(_is_entry, entries)):
        raise LayoutMismatch
    stable = _stable_part(layout, data, at, starts, entries, before, digest)
    offsets = [at + start for start in starts]
    return Content(_state_read(path, file), entries, offsets, None, before.entries, stable)


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("type"), str)


def _stable_part(
    layout: Layout,
    data: bytes,
    at: int,
    starts: list[int],
    entries: list[dict[str, Any]],
    before: StablePart,
    digest: "hashlib.blake2b",
) -> StablePart:
    """Return the stable part of a document: `before` and the entries in `data`, but for an unfinished last run.

    `data` begins at the offset `at` of the file, where `before` ends, and `starts` are the offsets in `data` at which
    `entries` begin. `digest` has seen the bytes of `before`.
    """
    if not entries:
        return before
    if entries[-1].get("type") == "run" and entries[-1].get("status") == "unfinished":
        if len(entries) == 1:
            return before
        count, end = len(entries) - 1, starts[-1] - len(layout.separator)
    else:
        count, end = len(entries), len(data) - len(layout.end)
    digest.update(memoryview(data)[:end])
    return StablePart(before.entries + count, at + end, digest.digest())
