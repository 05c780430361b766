"""Merge two documents of one session, as bytes: what only one of them changed keeps its bytes.

Nothing here touches a file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from localstore.engine.merge import Difference, Entry, Key, Version, keyed, merge
from localstore.engine.merge_order import Side
from localstore.errors import OlderFormat
from localstore.format.control_characters import escaped
from localstore.format.document import Layout, ParsedDocument, document_broken, normalise, order_header, parse_document
from localstore.format.parse_error import ParseError
from localstore.format.values import json_equal
from localstore.models.schema import SCHEMA_VERSION

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class MergedDocument:
    """A merged document. `differences` names what both sides changed.

    `conflicts` are those of them that `raw` holds in both forms, between the lines by which git marks a conflict. If
    there are any, `raw` is no valid document. `loses_comments` is true if comments of one side (YAML) are not in it.
    `takes_out` is true if it lacks an entry of a side that was removed on purpose.
    """

    session_id: str
    raw: bytes
    differences: tuple[Difference, ...]
    conflicts: tuple[Difference, ...]
    loses_comments: bool
    takes_out: bool

    @property
    def is_complete(self) -> bool:
        """Whether everything in both versions is in the merged one."""
        return not (self.differences or self.loses_comments or self.takes_out)


def readable(raw: bytes, layout: Layout, path: Path | str, other: ParsedDocument | None = None) -> ParsedDocument:
    """Parse a document for a merge, and bring it into our layout. A byte order mark and CRLF make no difference.

    Entries that have the same bytes in `other` are taken from there and not parsed again.

    Raises DocumentBroken if it cannot be parsed or a rewrite would drop or round something, and OlderFormat or
    NewerFormat if it is of another schema version.
    """
    known = {} if other is None else dict(zip(other.slices(), other.entries, strict=True))
    parsed = parse_document(raw.removeprefix(_BYTE_ORDER_MARK).replace(b"\r\n", b"\n"), layout, path, known)
    if parsed.version != SCHEMA_VERSION:
        raise OlderFormat(
            f"{path} has schema version {parsed.version}, and documents of version {SCHEMA_VERSION} can be merged. "
            "Upgrade it first, with: localstore upgrade",
            path=str(path),
        )
    return parsed if parsed.in_layout else normalise(parsed, path)


def merge_documents(
    ours: ParsedDocument,
    theirs: ParsedDocument,
    base: ParsedDocument | None,
    path: Path | str,
    *,
    marks_conflicts: bool = False,
    prefer: Side | None = None,
) -> MergedDocument:
    """Merge two documents of one session, as `readable` returns them. `base` is the version that both come from.

    With `marks_conflicts`, a run that both sides changed gets conflict markers. `prefer` is that of `merge`. Raises
    DocumentBroken, which names `path`, if something has to be written again that would be dropped or rounded.
    """
    before = None if base is None else Version(base.header, base.entries)
    versions = Version(ours.header, ours.entries), Version(theirs.header, theirs.entries)
    merged = merge(*versions, before, prefer=prefer)
    conflicts = {one.run_id: one for one in merged.differences if marks_conflicts and one.run_id is not None}
    layout, texts = ours.layout, _Texts(ours, theirs, base)
    head = _kept_head(merged.header, ours, theirs, base)
    rewritten = [] if head is not None else [layout.assemble(one.head, []) for one in (ours, theirs)]
    parts = [layout.head(order_header(merged.header)) if head is None else head]
    heads = [(one.head, one.header) for one in (ours, theirs)]
    loses_comments = layout.keeps_comments and _loses_comments(
        parts[0], heads, None if base is None else base.head, layout.head
    )
    marked = []
    for number, (key, entry) in enumerate(keyed(merged.entries).items(), 1):
        is_last = number == len(merged.entries)
        conflict = conflicts.get(key[1])
        if conflict is not None and (forms := texts.forms(key)):
            marked.append(conflict)
            parts.append(_marked(conflict.what, forms, layout, is_last=is_last))
            continue
        text = texts.of(key, entry)
        if text is None:
            text = layout.entry(entry)
            rewritten += texts.at(key)
        loses_comments |= texts.loses_comments(key, text, layout)
        parts.append(text + (b"" if is_last else layout.separator))
    _refuse_losses(rewritten, ours, theirs, path)
    return MergedDocument(
        merged.header["session_id"],
        b"".join([*parts, layout.end]) if merged.entries else layout.assemble(parts[0], []),
        merged.differences,
        tuple(marked),
        loses_comments=loses_comments,
        takes_out=any(merged.taken_out(version) for version in versions),
    )


class _Texts:
    """The bytes of the entries of two documents. `base` is the version that both come from."""

    def __init__(self, ours: ParsedDocument, theirs: ParsedDocument, base: ParsedDocument | None) -> None:
        self._sides = [_by_key(one) for one in (ours, theirs)]
        self._before = {} if base is None else {key: text for key, (_, text) in _by_key(base).items()}

    def of(self, key: Key, entry: Entry) -> bytes | None:
        """Return the bytes of an entry of the merged history, or None if neither side has it in this form.

        If both sides have it, and only one changed how it is written, its bytes are returned.
        """
        texts = [text for found, text in self._at(key) if json_equal(found, entry)]
        return next((text for text in texts if text != self._before.get(key)), texts[0] if texts else None)

    def forms(self, key: Key) -> list[bytes]:
        """Return the bytes of an entry on both sides, ours first, if they differ in more than how they are written."""
        forms = self._at(key)
        return [text for _, text in forms] if len(forms) > 1 and not json_equal(forms[0][0], forms[1][0]) else []

    def at(self, key: Key) -> list[bytes]:
        """Return the bytes of an entry on each side that has it."""
        return [text for _, text in self._at(key)]

    def loses_comments(self, key: Key, text: bytes, layout: Layout) -> bool:
        """Return whether a side has comments in an entry that are not in `text`, its merged form."""
        sides = [(found, entry) for entry, found in self._at(key)]
        return layout.keeps_comments and _loses_comments(text, sides, self._before.get(key), layout.entry)

    def _at(self, key: Key) -> list[tuple[Entry, bytes]]:
        return [side[key] for side in self._sides if key in side]


def _by_key(parsed: ParsedDocument) -> dict[Key, tuple[Entry, bytes]]:
    """Return each entry with its bytes."""
    return dict(zip(keyed(parsed.entries), zip(parsed.entries, parsed.slices(), strict=True), strict=True))


def _marked(what: str, forms: list[bytes], layout: Layout, *, is_last: bool) -> bytes:
    """Return both forms of an entry between conflict markers, so that either is right in its place."""
    separator = b"" if is_last else layout.separator
    ours, theirs = (form + separator for form in forms)
    ours, theirs = (text if text.endswith(b"\n") else text + b"\n" for text in (ours, theirs))
    name = escaped(what).encode(errors="backslashreplace")
    block = b"<<<<<<< ours: %b\n%b=======\n%b>>>>>>> theirs: %b\n" % (name, ours, theirs, name)
    return block.removesuffix(b"\n") if is_last and layout.end.startswith(b"\n") else block


def _kept_head(
    header: Entry, ours: ParsedDocument, theirs: ParsedDocument, base: ParsedDocument | None
) -> bytes | None:
    """Return the bytes of the merged header, or None if neither side has it."""
    heads = [one.head for one in (ours, theirs) if json_equal(one.header, header)]
    return next((head for head in heads if base is not None and head != base.head), heads[0] if heads else None)


def _loses_comments(
    text: bytes, sides: list[tuple[bytes, Entry]], before: bytes | None, write: Callable[[Entry], bytes]
) -> bool:
    """Return whether a side has comments that are neither in `text` nor in `before`, the version that both come from.

    A side is given as bytes and as a value. `write` returns the bytes that a program would write for the value.
    """
    return any(side not in (text, before) and side != write(value) for side, value in sides)


def _refuse_losses(rewritten: list[bytes], ours: ParsedDocument, theirs: ParsedDocument, path: Path | str) -> None:
    """Raise DocumentBroken if a value in one of the pieces that are written again would be dropped or rounded."""
    try:
        for piece in rewritten:
            ours.layout.parse_strict(piece)
    except ParseError as error:
        for parsed in (ours, theirs):
            try:
                parsed.layout.parse_strict(parsed.raw)
            except ParseError as there:
                raise document_broken(there, path) from None  # with the line in the document
        raise document_broken(error, path) from None
