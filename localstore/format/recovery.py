"""Recovers a document that a crash damaged.

If a process was killed during a write, its mark says exactly how to undo or complete that write. After a power cut, the
document is recovered entry by entry: every entry that can be parsed is kept, and all other bytes are returned, so that
the caller can set them aside. Entries after a gap are kept too: the disk may reorder writes, so a complete entry can
come after a torn one.
"""

import contextlib
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from localstore.errors import DocumentBroken, LocalstoreError
from localstore.format.document import Layout, ParsedDocument, header_of, parse_document, run_id_and_state
from localstore.format.in_place import SECTOR
from localstore.format.merge_conflict import find_conflict
from localstore.format.parse_error import ParseError
from localstore.format.torn_append import (
    APPEND_START,
    CONTINUED_END,
    after_comments,
    completed,
    has_old_end,
    looks_like_torn_append,
    parses_to_end,
)
from localstore.format.torn_run import (
    ENTRY_START,
    Piece,
    is_partly_overwritten,
    is_valid_entry,
    recover_partial_run,
)
from localstore.format.write_mark import WriteMark, repaired
from localstore.format.yaml_layout import LAYOUT as YAML
from localstore.models.schema import SCHEMA_VERSION

_STATUS_LINE = re.compile(rb"\n  status: (?:completed|error|cancelled|unfinished)\n\Z")
"""The last line of a run in YAML. A run that ends with it is complete, whatever comes after it."""
_FILLER = b"\0 \r\n"
_END_MARKER = b"\n..."
_AFTER_ENTRY = (b"- ", b"...\n", b"#")
"""The text that may begin in column 0 after an entry in YAML."""
_CUT_AFTER_ENTRY = re.compile(rb"(?:\.{1,3}|-(?: (?:t(?:y(?:p(?:e:?)?)?)?)?)?)\Z")
"""The text after an entry in YAML, cut off by the end of the file. It shows that the entry is complete."""


class CreationLost(DocumentBroken):
    """Raised for what a power cut left of a new document that had not been synced. Nothing in it was durable."""


class RecordedState(NamedTuple):
    """The facts that the manifest recorded about a document before it was damaged."""

    session_id: str
    size: int
    """The size of the document in bytes."""
    entries: int
    """The number of entries."""
    unfinished: bool
    """Whether the last entry is an unfinished run."""
    may_lack: bool = False
    """Whether bytes of the recorded entries may be missing, because they had not been synced."""


class PowerCut(NamedTuple):
    """A power cut may have damaged the document: the machine was started after the last write to it."""

    record: RecordedState | None
    """What the manifest recorded. Later lines may be missing, because they were not synced. None without a line."""


@dataclass(frozen=True, slots=True)
class RecoveredDocument:
    """A recovered document. `rest` has the bytes that are not part of it, with their offsets in the damaged one."""

    parsed: ParsedDocument
    rest: list[tuple[int, bytes]]


def parse_or_recover(
    raw: bytes, layout: Layout, path: Path | str, marks: Sequence[WriteMark], power_cut: PowerCut | None
) -> ParsedDocument | RecoveredDocument:
    """Parse a document, or recover it if a crash damaged it.

    Args:
        raw: The bytes of the document.
        layout: The layout of its format.
        path: Its path, for errors.
        marks: The marks of writes to it whose processes were killed.
        power_cut: None if no power cut can have damaged the document.

    Returns a RecoveredDocument if it was damaged. Raises CreationLost if nothing of a new document can be recovered,
    DocumentBroken if a crash does not explain the damage, and NewerFormat. Without marks and a power cut, any damage is
    a person's edit, and so is YAML without its end marker.
    """
    for mark in marks:
        document = _repaired_document(raw, layout, mark, path)
        if document is not None:
            return document
    try:
        parsed = parse_document(raw, layout, path)
    except DocumentBroken:
        if power_cut is None or find_conflict(raw):  # a person resolves it
            raise
        record = power_cut.record
        recovered = recover(raw, layout, record, path)
        if recovered is not None and (recovered.parsed.entries or (record is not None and not record.may_lack)):
            return recovered
        if recovered is not None or _is_lost_creation(raw, layout, record):
            problem = "a power cut left this of a new session, which had not been synced"
            advice = "Nothing was changed. The next write to the session removes it, and keeps its bytes in rescue."
            raise CreationLost(f"{path}: {problem}. {advice}", path=str(path), problem=problem) from None
        raise
    if power_cut is None or not layout.keeps_comments:
        return parsed
    record = power_cut.record
    if _END_MARKER in raw:
        # Old and new bytes mixed at the end of a run may read as another message, but never as a status.
        last = parsed.entries[-1] if parsed.entries else {}
        if last.get("type") == "run" and "status" not in last:
            return recover(raw, layout, record, path, skip_last_entry=True) or parsed
        return parsed
    # YAML that was cut off may still parse. Then only the missing end marker shows the damage.
    if record is None or record.may_lack or len(parsed.entries) > record.entries or record.unfinished:
        return recover(raw, layout, record, path) or parsed
    return parsed


def _repaired_document(raw: bytes, layout: Layout, mark: WriteMark, path: Path | str) -> RecoveredDocument | None:
    """Return the document after a marked write was undone or completed, or None if the mark does not explain it."""
    repair = repaired(raw, mark)
    if repair is None:
        return None
    try:
        parsed = parse_document(repair.raw, layout, path)
    except LocalstoreError:
        return None
    if parsed.header["session_id"] != mark.session_id:
        return None
    rest: list[tuple[int, bytes]] = []
    _add_rest(rest, layout, repair.rest, 0, len(repair.rest))
    return RecoveredDocument(parsed, [(mark.size, data) for _, data in rest])


def parse_without_end_marker(
    raw: bytes, layout: Layout, recovered: RecoveredDocument, path: Path | str
) -> ParsedDocument | None:
    """Return the document if only the end marker of YAML is missing, as after a formatter; otherwise return None.

    In that case `recovered` has no rest, and has the same entries as a plain parse. The result of an interrupted write
    may parse too, but then its entries differ, because a run in it has no status.
    """
    if not recovered.rest:
        with contextlib.suppress(DocumentBroken):
            parsed = parse_document(raw, layout, path)
            if parsed.entries == recovered.parsed.entries:
                return parsed
    return None


def recover_entries(raw: bytes, layout: Layout) -> tuple[list[bytes], list[bytes]]:
    """Return the complete entries in `raw`, which may be any bytes, and the pieces of other bytes around them."""
    entries: list[bytes] = []
    rest: list[tuple[int, bytes]] = []
    at = 0
    for piece in _find_entries(raw, layout, 0, 0):
        _add_rest(rest, layout, raw, at, piece.start)
        entries.append(piece.data)
        at = piece.end
    _add_rest(rest, layout, raw, at, len(raw))
    return entries, [data for _, data in rest]


def recover(
    raw: bytes, layout: Layout, record: RecordedState | None, path: Path | str, *, skip_last_entry: bool = False
) -> RecoveredDocument | None:
    """Recover a document after a power cut. Return None if a power cut does not explain the damage.

    The entries that follow each other from the first one on are taken as recorded, because later lines of the manifest
    may be missing. There must be at least as many as `record` has, but for a last run that is unfinished. The bytes
    after them must be such as an interrupted write leaves. If `skip_last_entry` is true, the document parses, but its
    last entry is not trusted.
    """
    if not skip_last_entry and parses_to_end(raw, layout):
        return None
    opened = raw.find(layout.opening)
    if opened < 0:
        return None
    begin = opened + len(layout.opening)
    may_lack = record is not None and record.may_lack
    # An unfinished run shows where it ends.
    known_end = begin if record is None or may_lack or record.unfinished else record.size - len(layout.end)
    pieces = _find_entries(raw, layout, begin, known_end)[: -1 if skip_last_entry else None]
    contiguous = _contiguous_pieces(raw, layout, begin, pieces)
    finished = completed(raw, layout, contiguous[-1].end) if contiguous else None
    if finished is not None:
        raw, pieces = finished, _find_entries(finished, layout, begin, known_end)
        contiguous = _contiguous_pieces(raw, layout, begin, pieces)
    elif contiguous and has_old_end(raw, layout, contiguous[-1].end):
        pieces = contiguous  # what follows may be some entries of a write that adds all of its entries or none
    if record is None and not _is_header_of_ours(raw[:begin], layout):
        return None
    if record is not None and not may_lack and len(contiguous) < record.entries - record.unfinished:
        return None
    partial_run = recover_partial_run(raw, layout, begin, contiguous, pieces)
    is_explained = may_lack or finished is not None
    if not is_explained and not _has_torn_tail(raw, layout, begin, contiguous, pieces, partial_run):
        return None
    if partial_run is not None:
        pieces = [*contiguous, partial_run, *pieces[len(contiguous) :]]
        contiguous = [*contiguous, partial_run]
    recovered = _assemble(raw, layout, begin, contiguous, pieces, path)
    if recovered is not None and record is not None and recovered.parsed.header["session_id"] != record.session_id:
        return None  # no crash changes the id
    return recovered


def _is_lost_creation(raw: bytes, layout: Layout, record: RecordedState | None) -> bool:
    """Return whether a document that cannot be recovered may be what a power cut left of an unsynced new one.

    If its creation was not synced, any of its sectors may be zeros, and the rest may be missing. A person leaves no
    zeros. Without a record, nothing in it must be complete but the header, which is as localstore writes it. A document
    without content is then not lost: a sync tool makes such a file in place of one whose content is elsewhere.
    """
    if record is None and not raw.strip(b"\0"):
        return False
    opened = raw.find(layout.opening)
    if record is not None:
        return record.may_lack and (b"\0" in raw or opened < 0)
    if b"\0" in (raw[:opened] if opened >= 0 else raw):
        return True  # the header is the first that is synced
    if _find_entries(raw, layout, max(0, opened), 0):
        return False
    if b"\0" in raw:
        return True
    if opened >= 0:
        return not raw.endswith(layout.closing) and _is_header_of_ours(raw[: opened + len(layout.opening)], layout)
    first = layout.head({"schema_version": SCHEMA_VERSION}).removesuffix(layout.opening)
    return raw.startswith(first) or first.startswith(raw)


def _has_torn_tail(
    raw: bytes, layout: Layout, begin: int, contiguous: list[Piece], pieces: list[Piece], partial_run: Piece | None
) -> bool:
    """Return whether a write after the entries in `contiguous` was interrupted. For use without a reliable record.

    The write may also have finished the last of these entries, or the `partial_run` after them. Zeros, and text after
    the end of the document, are never a person's edit. If only the end is missing, there must be no complete entry
    after `contiguous`.
    """
    at = after_comments(raw, layout, contiguous[-1].end if contiguous else begin)
    tail = raw[at:]
    is_like_torn = bool(contiguous) and looks_like_torn_append(raw, layout, at)
    is_mixed = is_like_torn and tail[: len(layout.end)] not in (
        layout.end,
        APPEND_START[layout.suffix][: len(layout.end)],
    )
    is_mixed = is_mixed or (partial_run is not None and is_partly_overwritten(raw, layout, partial_run))
    end = CONTINUED_END[layout.suffix].search(tail)
    # Bytes written after the old end reach their own end (or are only a piece of it), or were cut off.
    is_continued = end is not None and (
        raw.endswith(layout.closing) or layout.closing.endswith(tail[end.end() :]) or not raw.endswith(layout.end)
    )
    traces = is_mixed or is_continued or b"\0" in tail
    may_be_finished = partial_run is not None or (bool(contiguous) and run_id_and_state(layout, contiguous[-1].data)[1])
    if traces:
        return may_be_finished or is_like_torn
    if raw.endswith(layout.end) or len(contiguous) < len(pieces) or not (contiguous or partial_run):
        return False
    return may_be_finished or _is_incomplete(raw, layout, at)


def _is_header_of_ours(head: bytes, layout: Layout) -> bool:
    """Return whether `head` is exactly as localstore writes it.

    Without a record, a document that a person wrote, with no closing and a mistake in its last entry, looks much like
    a torn one.
    """
    try:
        header = layout.parse_head(head)
        return isinstance(header, dict) and layout.head(header_of(header)) == head
    except (ParseError, TypeError):  # it has a value that cannot be written
        return False


def _is_incomplete(raw: bytes, layout: Layout, at: int) -> bool:
    """Return whether the bytes from `at` on look like a torn append, with no complete but invalid entry."""
    if not looks_like_torn_append(raw, layout, at):
        return False
    for start, end in _entry_spans(raw, layout, at):
        if end < 0 and not layout.keeps_comments:
            continue
        data = raw[start : end if end > 0 else len(raw)]
        if b"\0" not in data and (end > 0 or _STATUS_LINE.search(data)):
            return False  # complete but invalid: otherwise it would be among the pieces
    return True


def _entry_spans(raw: bytes, layout: Layout, begin: int) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each possible entry from `begin` on. The end is -1 if it is missing.

    In JSON, the end of an entry is missing if another entry starts before it. Without that rule, many starts without an
    end would take quadratic time.
    """
    starts = [match.start() for match in ENTRY_START[layout.suffix].finditer(raw, begin)]
    for start, following in itertools.pairwise([*starts, len(raw)]):
        yield start, layout.entry_end(raw, start, None if layout.keeps_comments else following)


def _find_entries(raw: bytes, layout: Layout, begin: int, recorded_end: int) -> list[Piece]:
    """Return the complete entries from `begin` on.

    In YAML, entries up to the offset `recorded_end` count as complete. So does an entry before zeros, if its last bytes
    are those of a complete entry.
    """
    pieces = []
    at = begin
    for start, end in _entry_spans(raw, layout, begin):
        if start < at:
            continue
        if layout.keeps_comments:  # in YAML, only a line after an entry shows that it is complete
            zeros = raw.find(b"\0", start, end if end > 0 else len(raw))
            if zeros > 0 and _is_overwritten_from(raw[start:zeros], zeros):
                pieces.append(Piece(start, zeros, raw[start:zeros]))
                at = zeros
                continue
            followed = end > 0 and (raw.startswith(_AFTER_ENTRY, end) or _CUT_AFTER_ENTRY.match(raw, end) is not None)
            end = len(raw) if end < 0 else end
            complete = followed or _STATUS_LINE.search(raw[start:end]) is not None
            if not complete or b"\0" in raw[start : end + 1]:
                if start < recorded_end < end:  # the recorded end of the last entry, whatever follows now
                    end = recorded_end
                if not (end <= recorded_end and raw[end - 1 : end] == b"\n"):
                    continue
        if end < 0 or not is_valid_entry(layout, raw[start:end]):
            continue
        pieces.append(Piece(start, end, raw[start:end]))
        at = end
    return pieces


def _is_overwritten_from(entry: bytes, zeros: int) -> bool:
    """Return whether `entry`, in YAML, is complete although zeros begin after it, at the offset `zeros` of the file.

    A run is complete if it has its status. Any other entry is complete if the zeros begin within a sector: they then
    replace the old end of the document.
    """
    if not entry.endswith(b"\n") or not is_valid_entry(YAML, entry):
        return False
    is_run = YAML.parse_entry(entry)["type"] == "run"
    return _STATUS_LINE.search(entry) is not None if is_run else zeros % SECTOR != 0


def _contiguous_pieces(raw: bytes, layout: Layout, begin: int, pieces: list[Piece]) -> list[Piece]:
    """Return the first of `pieces` (in order) that follow each other without a gap, starting at `begin`."""
    contiguous: list[Piece] = []
    for piece in pieces:
        at, separator = (contiguous[-1].end, layout.separator) if contiguous else (begin, b"")
        if not raw.startswith(separator, at) or after_comments(raw, layout, at + len(separator)) != piece.start:
            break
        contiguous.append(piece)
    return contiguous


def _assemble(
    raw: bytes, layout: Layout, begin: int, contiguous: list[Piece], pieces: list[Piece], path: Path | str
) -> RecoveredDocument | None:
    """Return a document of the bytes up to the end of the `contiguous` entries, and of the later entries in `pieces`.

    All other bytes become the rest. Returns None if the new document cannot be read.
    """
    head = raw[: contiguous[-1].start] if contiguous else raw[:begin]
    kept = [contiguous[-1].data] if contiguous else []
    at = contiguous[-1].end if contiguous else begin
    rest: list[tuple[int, bytes]] = []
    for piece in pieces[len(contiguous) :]:
        _add_rest(rest, layout, raw, at, piece.start)
        kept.append(piece.data)
        at = piece.end
    _add_rest(rest, layout, raw, at, len(raw))
    try:
        return RecoveredDocument(parse_document(layout.assemble(head, kept), layout, path), rest)
    except LocalstoreError:
        return None


def _add_rest(rest: list[tuple[int, bytes]], layout: Layout, raw: bytes, start: int, end: int) -> None:
    """Add the bytes between two offsets to `rest`, unless they are filler, a separator or the end of a document."""
    data = raw[start:end]
    if data.strip(_FILLER) and data not in (layout.separator, layout.end):
        rest.append((start, data))
