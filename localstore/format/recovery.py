"""What a crash left of a document, entry by entry.

Every entry that parses stays, everything else is handed out to be set aside. Cutting after the last good entry would
lose entries that a reordered write left whole behind a torn one.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from localstore.errors import DocumentBroken, LocalstoreError
from localstore.format.document import Layout, ParsedDocument, header_of, parse_document, run_id_and_state
from localstore.format.in_place import SECTOR
from localstore.format.parse_error import ParseError
from localstore.format.torn_run import (
    LINE_START,
    Piece,
    is_partly_overwritten,
    is_valid_entry,
    recover_overwritten_run,
    recover_partial_run,
)
from localstore.format.yaml_layout import LAYOUT as YAML

_COMMENTS = re.compile(rb"(?:[ \t]*(?:#[^\n]*)?\n)*\Z")
_STARTS = {".json": b',\n    {\n      "', ".yaml": b"- type: "}
"""What the bytes of an append begin with, in the place of the old end."""
_WRITTEN_ON = {
    ".json": re.compile(rb"\n  \]\n\}\n(?=\s*\S)"),
    ".yaml": re.compile(rb"(?:^|(?<=\n))\.\.\.\n(?=(?:\s*#[^\n]*\n)*\s*[^\s#])"),
}
"""The end of a document with something behind it."""
_HOW_IT_ENDED = re.compile(rb"\n  status: (?:completed|error|cancelled|unfinished)\n\Z")
"""The last line of a run: a run that ends in it is whole, whether or not anything follows."""
_NOTHING = b"\0 \r\n"
_MARKER = b"\n..."
_FOLLOWS = (b"- ", b"...\n", b"#")
"""What may stand in column 0 behind an entry in YAML."""
_STOPPED = re.compile(rb"(?:\.{1,3}|-(?: (?:t(?:y(?:p(?:e:?)?)?)?)?)?)\Z")
"""The beginning of what follows an entry in YAML, at the end of the file: the entry is whole, what follows was cut."""


class RecordedState(NamedTuple):
    """What the manifest knew of a document: whose it is, its `size` in bytes, the number of `entries`, whether the last
    one is `unfinished`, whether the disk `may_lack` what was written since the last sync (another boot), and whether
    the manifest `may_lag`: what it said later was never synced (another boot as well)."""

    session_id: str
    size: int
    entries: int
    unfinished: bool
    may_lack: bool = False
    may_lag: bool = False


@dataclass(frozen=True, slots=True)
class RecoveredDocument:
    """The mended document, and the pieces that are not part of it, each with its offset in the torn one."""

    parsed: ParsedDocument
    rest: list[tuple[int, bytes]]


def parse_or_recover(
    raw: bytes, layout: Layout, before: RecordedState | None, path: Path | str
) -> ParsedDocument | RecoveredDocument:
    """A document as it stands, or what a crash left of it.

    Raises DocumentBroken when a crash does not explain the damage, NewerFormat, OlderFormat.
    """
    try:
        parsed = parse_document(raw, layout, path)
    except DocumentBroken:
        saved = recover(raw, layout, before, path)
        if saved is None:
            raise
        return saved
    if not layout.keeps_comments:
        return parsed
    if _MARKER in raw:
        # Half old and half new bytes of the end of a run may make another message of it, but no status.
        is_odd = bool(parsed.entries) and parsed.entries[-1]["type"] == "run" and "status" not in parsed.entries[-1]
        # A write that this boot saw interrupted has made the file longer first.
        has_grown = before is not None and before.unfinished and len(raw) > before.size
        if is_odd and (before is None or before.may_lag or has_grown):
            return recover(raw, layout, before, path, is_odd=True) or parsed
        return parsed
    # YAML that was cut off may parse: then only the missing end marker tells.
    if before is None or before.may_lack or len(parsed.entries) > before.entries or before.unfinished:
        return recover(raw, layout, before, path) or parsed
    return parsed


def recover_entries(raw: bytes, layout: Layout) -> tuple[list[bytes], list[bytes]]:
    """The entries that are whole in any bytes, whatever stands between them, and what that is."""
    entries: list[bytes] = []
    rest: list[tuple[int, bytes]] = []
    at = 0
    for piece in _scan(raw, layout, 0, 0):
        _add_rest(rest, layout, raw, at, piece.start)
        entries.append(piece.data)
        at = piece.end
    _add_rest(rest, layout, raw, at, len(raw))
    return entries, [data for _, data in rest]


def recover(
    raw: bytes, layout: Layout, before: RecordedState | None, path: Path | str, *, is_odd: bool = False
) -> RecoveredDocument | None:
    """Mend a document that does not parse; None when a crash does not explain the damage.

    A crash explains it when everything up to the end of the last entry that the manifest knew is unchanged and only
    the tail is odd, in a way in which an interrupted write leaves it. Where the manifest knows nothing, or may lag
    behind, that goes for the entries that follow each other from the first one on. Where the last entry `is_odd`, it
    parses, and is not believed.
    """
    if not is_odd and _is_whole(raw, layout):
        return None
    opened = raw.find(layout.opening)
    if opened < 0:
        return None
    begin = opened + len(layout.opening)
    counted = before.size - len(layout.end) if before and not before.may_lack else begin
    is_late = before is None or before.may_lag
    # An unfinished run says itself where it ends.
    known_end = begin if before and before.unfinished else counted
    pieces = _scan(raw, layout, begin, known_end, is_late=is_late)[: -1 if is_odd else None]
    whole = _contiguous(raw, layout, begin, pieces)
    may_lack = before is not None and before.may_lack
    # The manifest may not know how far its last run, which was unfinished, has grown since.
    if before is None or may_lack or (before.may_lag and len(whole) >= before.entries - before.unfinished):
        if before is None and not _is_header_of_ours(raw[:begin], layout):
            return None
        asked = recover_partial_run(raw, layout, begin, whole, pieces)
        if not may_lack and not _is_torn_at_last(raw, layout, begin, whole, pieces, asked):
            return None
        if asked is not None:
            pieces = [*whole, asked, *pieces[len(whole) :]]
            whole = [*whole, asked]
    elif not _is_torn(raw, layout, before):
        return None
    elif not _holds_all(whole, layout, before, counted):
        if not before.unfinished or len(whole) < before.entries - 1:
            return None
        if len(whole) < before.entries or whole[before.entries - 1].end <= counted:  # not finished: begun to be
            restored = recover_overwritten_run(raw, layout, before.size, whole[: before.entries - 1])
            if restored is None:
                return None
            pieces = sorted({*whole[: before.entries - 1], restored, *(p for p in pieces if p.start > restored.end)})
            whole = [*whole[: before.entries - 1], restored]
    saved = _assemble(raw, layout, begin, whole, pieces, path)
    if saved is not None and before is not None and saved.parsed.header["session_id"] != before.session_id:
        return None  # no crash changes that
    return saved


def _is_torn(raw: bytes, layout: Layout, before: RecordedState) -> bool:
    """Whether the tail is what an interrupted write leaves, and not what a person typed there."""
    if not before.entries:
        return False  # it is written anew with its first entry
    if not before.unfinished:
        return _is_like_torn(raw, layout, before.size - len(layout.end))
    # What finishing a run writes can be told only where it reached the end: then the last of the old bytes is there
    # still, because without it all of them would be new, and the document whole.
    old = layout.closing_after_list
    tail = raw[before.size - len(old) :]
    if b"\0" in tail or not raw.endswith(layout.closing):
        return True
    return len(tail) >= len(old) and tail[len(old) - 1] == old[-1]


def _is_like_torn(raw: bytes, layout: Layout, at: int) -> bool:
    """Whether what stands in the place of the old end, from `at` on, is the beginning of an append.

    An interrupted append leaves old, new and zero bytes where the old end was, and then what an entry begins with. A
    tail that is new from its first to its last byte would parse.
    """
    start = _STARTS[layout.suffix]
    old, new = layout.end, start[: len(layout.end)]
    if len(raw) < at:
        return False  # what was on the disk stays there
    tail = raw[at:]
    overlap, beyond = tail[: len(old)], tail[len(old) : len(start)]
    mixed = all(byte in (0, *pair) for byte, *pair in zip(overlap, old, new, strict=False))
    begun = all(byte in (0, there) for byte, there in zip(beyond, start[len(old) :], strict=False))
    is_whole = overlap == new and raw.endswith(layout.closing) and b"\0" not in tail
    return mixed and begun and not is_whole


def _is_torn_at_last(
    raw: bytes, layout: Layout, begin: int, whole: list[Piece], pieces: list[Piece], asked: Piece | None
) -> bool:
    """Whether the last write that began behind the entries that are `whole` (or finished the last one, or the run that
    was `asked` behind them) was interrupted: no person leaves zeros or writes on behind the end of the document, and
    where only the end is missing there is nothing whole behind."""
    at = whole[-1].end if whole else begin
    tail = raw[at:]
    is_like_torn = bool(whole) and _is_like_torn(raw, layout, at)
    is_mixed = is_like_torn and tail[: len(layout.end)] not in (layout.end, _STARTS[layout.suffix][: len(layout.end)])
    is_mixed = is_mixed or (asked is not None and is_partly_overwritten(raw, layout, asked))
    end = _WRITTEN_ON[layout.suffix].search(tail)
    # What was written on behind the old end reaches its own end (it may be a piece of that alone), or was cut off.
    is_written_on = end is not None and (
        raw.endswith(layout.closing) or layout.closing.endswith(tail[end.end() :]) or not raw.endswith(layout.end)
    )
    traces = is_mixed or is_written_on or b"\0" in tail
    may_be_finished = asked is not None or (bool(whole) and run_id_and_state(layout, whole[-1].data)[1])
    if traces:
        return may_be_finished or is_like_torn
    if raw.endswith(layout.end) or len(whole) < len(pieces) or not (whole or asked):
        return False
    return may_be_finished or _is_begun(raw, layout, at)


def _is_whole(raw: bytes, layout: Layout) -> bool:
    """Whether it parses to its end: what is wrong with it is no matter of a crash then."""
    if layout.keeps_comments and not raw.endswith(layout.closing):
        return False  # YAML parses wherever it is cut off
    try:
        layout.parse(raw)
    except ParseError:
        return False
    return True


def _is_header_of_ours(head: bytes, layout: Layout) -> bool:
    """Whether the header is as we write it. Where the manifest knows nothing, a document that a person wrote, without
    the closing and with a mistake in its last entry, looks much like a torn one."""
    try:
        header = layout.parse_head(head)
        return isinstance(header, dict) and layout.head(header_of(header)) == head
    except (ParseError, TypeError):  # no serialiser takes it
        return False


def _is_begun(raw: bytes, layout: Layout, at: int) -> bool:
    """Whether what stands behind the whole entries, from `at` on, was never whole, as far as one can see."""
    if not _is_like_torn(raw, layout, at):
        return False
    for match in LINE_START[layout.suffix].finditer(raw, at):
        end = layout.entry_end(raw, match.start())
        data = raw[match.start() : end if end > 0 else len(raw)]
        if b"\0" not in data and (end > 0 or (layout.keeps_comments and _HOW_IT_ENDED.search(data))):
            return False  # complete, and wrong, as it is not among the whole ones
    return True


def _scan(raw: bytes, layout: Layout, begin: int, counted: int, *, is_late: bool = False) -> list[Piece]:
    pieces = []
    at = begin
    for match in LINE_START[layout.suffix].finditer(raw, begin):
        start = match.start()
        if start < at:
            continue
        end = layout.entry_end(raw, start)
        if layout.keeps_comments:  # YAML: only a following line tells that an entry is complete
            zeros = raw.find(b"\0", start, end if end > 0 else len(raw)) if is_late else -1
            if zeros > 0 and _is_overwritten_from(raw[start:zeros], zeros):
                pieces.append(Piece(start, zeros, raw[start:zeros]))
                at = zeros
                continue
            followed = end > 0 and (raw.startswith(_FOLLOWS, end) or _STOPPED.match(raw, end) is not None)
            end = len(raw) if end < 0 else end
            complete = followed or _HOW_IT_ENDED.search(raw[start:end]) is not None
            if not complete or b"\0" in raw[start : end + 1]:
                if start < counted < end:  # the manifest knew where its last entry ended, whatever follows now
                    end = counted
                if not (end <= counted and raw[end - 1 : end] == b"\n"):
                    continue
        if end < 0 or not is_valid_entry(layout, raw[start:end]):
            continue
        pieces.append(Piece(start, end, raw[start:end]))
        at = end
    return pieces


def _is_overwritten_from(entry: bytes, zeros: int) -> bool:
    """Whether YAML that stands before zeros, which begin at this offset, is a whole entry: a run says how it ended; and
    before others, the zeros begin where no sector does, so that they stand in the place of the old end."""
    if not entry.endswith(b"\n") or not is_valid_entry(YAML, entry):
        return False
    is_run = YAML.parse_entry(entry)["type"] == "run"
    return _HOW_IT_ENDED.search(entry) is not None if is_run else zeros % SECTOR != 0


def _contiguous(raw: bytes, layout: Layout, begin: int, pieces: list[Piece]) -> list[Piece]:
    """The pieces from the first one on that directly follow each other."""
    whole: list[Piece] = []
    for piece in pieces:
        gap = raw[whole[-1].end if whole else begin : piece.start]
        if gap != (layout.separator if whole else b"") and not (layout.keeps_comments and _COMMENTS.match(gap)):
            break
        whole.append(piece)
    return whole


def _holds_all(whole: list[Piece], layout: Layout, before: RecordedState, counted: int) -> bool:
    """Whether the entries up to the offset `counted` are just those that the manifest knew."""
    held = [piece for piece in whole if piece.end <= counted]
    if len(held) != before.entries:
        return False
    return not held or (held[-1].end == counted and run_id_and_state(layout, held[-1].data)[1] == before.unfinished)


def _assemble(
    raw: bytes, layout: Layout, begin: int, whole: list[Piece], pieces: list[Piece], path: Path | str
) -> RecoveredDocument | None:
    """The bytes up to the last entry that follows its predecessor stay as they are; later entries come after it."""
    head = raw[: whole[-1].start] if whole else raw[:begin]
    kept = [whole[-1].data] if whole else []
    at = whole[-1].end if whole else begin
    rest: list[tuple[int, bytes]] = []
    for piece in pieces[len(whole) :]:
        _add_rest(rest, layout, raw, at, piece.start)
        kept.append(piece.data)
        at = piece.end
    _add_rest(rest, layout, raw, at, len(raw))
    try:
        return RecoveredDocument(parse_document(layout.assemble(head, kept), layout, path), rest)
    except LocalstoreError:
        return None


def _add_rest(rest: list[tuple[int, bytes]], layout: Layout, raw: bytes, start: int, end: int) -> None:
    data = raw[start:end]
    if data.strip(_NOTHING) and data not in (layout.separator, layout.end):
        rest.append((start, data))
