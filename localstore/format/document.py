"""Documents as bytes: parses and checks a whole document, finds its entries, and converts it between layouts.

A document is "in our layout" if it is formatted as localstore writes it, so that each entry can be found by its
indentation. This module reads and writes no files.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from localstore.errors import DocumentBroken, NewerFormat
from localstore.format.json_layout import LAYOUT as JSON
from localstore.format.json_layout import JsonLayout
from localstore.format.merge_conflict import find_conflict
from localstore.format.parse_error import ParseError
from localstore.format.source_position import line_and_column
from localstore.format.versions import CannotUpgrade, upgraded, version_of
from localstore.format.yaml_layout import LAYOUT as YAML
from localstore.format.yaml_layout import YamlLayout
from localstore.models.schema import HEADER_ORDER, KINDS, SCHEMA_VERSION, SESSION_KEYS, SHAPES, FieldType, RecordName

Layout = JsonLayout | YamlLayout
LAYOUTS: dict[str, Layout] = {JSON.suffix: JSON, YAML.suffix: YAML}
ADVICE = "Nothing was changed. Fix the file in an editor, or run 'localstore check' to list every problem."
_NO_BYTES, _ONLY_NUL = "is empty", "has nothing but NUL bytes"
EMPTY_PROBLEMS = _NO_BYTES, _ONLY_NUL
"""The problems reported for a document without content."""
EMPTY_ADVICE = (
    "If a sync tool is still bringing the file, or keeps its content elsewhere, let it finish. If nothing is to come, "
    "delete the file."
)
"""What to do about such a document."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class LayoutMismatch(Exception):
    """Raised for bytes that are not in our layout. The caller then parses the whole document instead."""


@dataclass(slots=True)
class ParsedDocument:
    """A whole document: its bytes, and its header and entries as plain values of the current schema version."""

    layout: Layout
    raw: bytes
    header: dict[str, Any]
    entries: list[dict[str, Any]]
    starts: list[int] = field(default_factory=list)
    """The offset in `raw` of each entry; empty if the document is not in our layout."""
    in_layout: bool = True
    """Whether `raw` is in our layout."""
    version: int = SCHEMA_VERSION
    """The schema version of `raw`."""

    @property
    def head(self) -> bytes:
        """The document up to and including the line that opens the history; made from `header` if `raw` lacks it."""
        if self.starts:
            return self.raw[: self.starts[0]]
        head = self.raw.removesuffix(self.layout.assemble(b"", [])) + b"\n"
        return head if head.endswith(self.layout.opening) else self.layout.head(self.header)

    def slices(self) -> list[bytes]:
        """Return the bytes of each entry, without separators. The document must be in our layout."""
        return split_entries(self.layout, self.raw, self.starts, len(self.raw))


def parse_document(
    raw: bytes, layout: Layout, path: Path | str, known: Mapping[bytes, dict[str, Any]] = MappingProxyType({})
) -> ParsedDocument:
    """Parse and check a whole document, whether or not it is in our layout.

    A document of an older schema version is upgraded in memory. Raises DocumentBroken, with line and column if they are
    known, or NewerFormat. `path` is only used in errors. `known` maps the bytes of entries that were parsed before to
    their values, so that they are not parsed again.
    """
    _refuse_empty(raw, path)
    try:
        parsed = _parse_in_layout(raw, layout, known)
        if parsed is None or _version(parsed.header, path) != SCHEMA_VERSION:
            parsed = _parse_any_layout(raw, layout, path)
        _check(parsed)
    except ParseError as error:
        raise document_broken(find_conflict(raw) or error, path) from None
    return parsed


def parse_for_reading(raw: bytes, layout: JsonLayout) -> ParsedDocument | None:
    """Parse a JSON document for a reader, in one pass and without splitting it into entries.

    Use it for a document that was in our layout when it was last read. Returns None unless the document is valid, of
    the current version, and has as many lines that start an entry as it has entries.
    """
    if not raw.endswith(layout.closing):
        return None
    try:
        document = layout.parse_in_layout(raw)
        if not isinstance(document, dict) or version_of(document) != SCHEMA_VERSION:
            return None
        entries = document.get("history")
        if not isinstance(entries, list) or layout.count_entry_starts(raw) != len(entries):
            return None
        parsed = ParsedDocument(layout, raw, header_of(document), entries, in_layout=False)
        _check(parsed)
    except ParseError:
        return None
    return parsed


def document_broken(error: ParseError, path: Path | str) -> DocumentBroken:
    """Return the error to raise when the file at `path` cannot be parsed because of `error`."""
    position = "" if error.line is None else f", line {error.line}"
    position += "" if error.column is None else f", column {error.column}"
    message = f"{path}{position}: {error.problem}. {ADVICE}"
    return DocumentBroken(message, path=str(path), problem=error.problem, line=error.line, column=error.column)


def _version(document: Mapping[str, Any], path: Path | str) -> int:
    """Return the schema version of a document or of its header. Raises NewerFormat, or ParseError if there is none."""
    version = version_of(document)
    if version is None:
        raise ParseError('"schema_version" must be a whole number', 1)
    if version > SCHEMA_VERSION:
        raise newer_format_error(version, path)
    return version


def newer_format_error(version: int, path: Path | str, session_id: str | None = None) -> NewerFormat:
    """Return the error to raise for a document in a schema version that this release cannot read."""
    return NewerFormat(
        f"{path} has schema version {version}, but this localstore reads versions up to {SCHEMA_VERSION}. "
        "Nothing was changed. Update localstore.",
        path=str(path),
        session_id=session_id,
    )


def split_entries(layout: Layout, raw: bytes, starts: list[int], size: int) -> list[bytes]:
    """Return the bytes of each entry, without separators, given the offsets in `raw` at which the entries start.

    `size` is the size of the document, whose last bytes are the constant end. Raises LayoutMismatch unless there is
    a separator before each entry but the first.
    """
    ends = [start - len(layout.separator) for start in starts[1:]]
    for end in ends:
        if not raw.startswith(layout.separator, end):
            raise LayoutMismatch
    if starts:
        ends.append(size - len(layout.end))
    return [raw[start:end] for start, end in zip(starts, ends, strict=True)]


def _parse_in_layout(raw: bytes, layout: Layout, known: Mapping[bytes, dict[str, Any]]) -> ParsedDocument | None:
    """Parse a document in our layout, each entry by itself. Return None if it is not in our layout."""
    if raw.startswith(_BYTE_ORDER_MARK):
        return None
    opened = raw.find(layout.opening)
    if opened < 0 or not raw.endswith(layout.closing):
        empty = layout.assemble(b"", [])
        if not raw.endswith(empty) or opened >= 0:
            return None
        try:
            header = layout.parse(raw)
        except ParseError:
            return None
        if not isinstance(header, dict) or list(header)[-1] != "history" or header["history"] != []:
            return None
        return ParsedDocument(layout, raw, header_of(header), [])
    starts = layout.entry_starts(raw, opened + len(layout.opening))
    if not starts:
        return None
    try:
        header = layout.parse_head(raw[: starts[0]])
        pieces = split_entries(layout, raw, starts, len(raw))
        entries = [known[piece] if piece in known else layout.parse_entry(piece) for piece in pieces]
    except (ParseError, LayoutMismatch):
        return None
    if any(map(layout.breaks_layout, pieces)):
        return None
    if not isinstance(header, dict) or list(header)[-1] != "history" or header["history"]:
        return None
    return ParsedDocument(layout, raw, header_of(header), entries, starts)


def header_of(document: dict[str, Any]) -> dict[str, Any]:
    """Return a new dict of the keys of a parsed document that belong to its header: all but `$schema` and `history`."""
    return {key: value for key, value in document.items() if key not in ("$schema", "history")}


def _parse_any_layout(raw: bytes, layout: Layout, path: Path | str, *, strict: bool = False) -> ParsedDocument:
    """Parse a document in any formatting, and upgrade it in memory if it is of an older version.

    Raises ParseError or NewerFormat. If `strict`, refuses what a rewrite would drop or round.
    """
    document = _load(raw, layout, strict=strict)
    if not isinstance(document, dict):
        raise ParseError("a document must be one mapping", 1, 1)
    version = _version(document, path)
    if version < SCHEMA_VERSION:
        try:
            document = upgraded(document, version)
        except CannotUpgrade as error:
            position = line_and_column(raw, error.where)
            raise ParseError(f"cannot be upgraded from schema version {version}: {error}", *position) from None
    history = document.get("history", [])
    entries = [] if history is None else history
    return ParsedDocument(layout, raw, header_of(document), entries, in_layout=False, version=version)


_VERSION_KEY = re.compile(rb"""(?m)^["']?schema_version["']?[ ]*:""")


def _load(raw: bytes, layout: Layout, *, strict: bool) -> Any:
    """Return the whole document as plain values. YAML of version 0 is read by the rules of PyYAML, which wrote it."""
    try:
        document = layout.parse_strict(raw) if strict else layout.parse(raw)
        problem = None
    except ParseError as error:
        document, problem = None, error
    if (
        isinstance(layout, YamlLayout)
        and not _VERSION_KEY.search(raw)
        and (problem is not None or (isinstance(document, dict) and version_of(document) == 0))
    ):
        old = layout.parse_by_pyyaml(raw, strict=strict)
        if isinstance(old, dict) and version_of(old) == 0:
            return old
    if problem is not None:
        raise problem
    return document


def normalise(parsed: ParsedDocument, path: Path | str) -> ParsedDocument:
    """Return the session of `parsed` in our layout and the current version, ready to replace the file.

    `parsed` is not changed. The result is parsed from the new bytes, so that a person's file is only replaced by bytes
    that are known to be readable: a document may nest too deeply for YAML but not for JSON. Raises DocumentBroken if
    the conversion would drop or round a value.
    """
    return convert_layout(parse_strictly(parsed.raw, parsed.layout, path), parsed.layout, path)


def parse_strictly(raw: bytes, layout: Layout, path: Path | str) -> ParsedDocument:
    """Parse a whole document that is about to be rewritten.

    Raises DocumentBroken, with line and column if they are known, if the document cannot be parsed or a rewrite would
    drop or round a value. Raises NewerFormat.
    """
    _refuse_empty(raw, path)
    try:
        parsed = _parse_any_layout(raw, layout, path, strict=True)
        _check(parsed)
    except ParseError as error:
        raise document_broken(find_conflict(raw) or error, path) from None
    return parsed


def _refuse_empty(raw: bytes, path: Path | str) -> None:
    if not raw.strip(b"\0"):
        problem = _ONLY_NUL if raw else _NO_BYTES
        raise DocumentBroken(f"{path} {problem}. Nothing was changed. {EMPTY_ADVICE}", path=str(path), problem=problem)


def convert_layout(parsed: ParsedDocument, layout: Layout, path: Path | str) -> ParsedDocument:
    """Return the session of `parsed` in `layout`, which may be that of the other format, and the current version.

    `parsed` is not changed. The result is parsed from the new bytes; raises DocumentBroken if they cannot be read.
    """
    raw = layout.document(parsed.header, parsed.entries)
    return parse_document(raw, layout, path)


_PYTHON_TYPES: dict[FieldType, tuple[type, str]] = {
    "text": (str, "text"),
    "mapping": (dict, "a mapping"),
    "times by id": (dict, "a mapping"),
    "list of message": (list, "a list"),
}


def _types(record: RecordName, keys: Iterable[str]) -> dict[str, tuple[type, str]]:
    """Return the Python type of each key's value and its name in messages. Keys of any other type are absent."""
    types = {key: SHAPES[record].fields[key] for key in keys}
    return {key: _PYTHON_TYPES[kind] for key, kind in types.items() if kind in _PYTHON_TYPES}


_HEADER_TYPES = _types("header", HEADER_ORDER)
_SESSION_TYPES = _types("update", SESSION_KEYS)
_RUN_TYPES = _types("run", ("messages", "status"))


def _check(parsed: ParsedDocument) -> None:
    """Check the structure that all code relies on; the models check the rest. Raises ParseError if it is wrong."""
    header = parsed.header
    if not isinstance(header.get("session_id"), str) or not header["session_id"]:
        raise ParseError('"session_id" must be text and not empty', 1)
    if header.get("kind") not in KINDS:
        raise ParseError(f'"kind" must be one of {", ".join(KINDS)}', 1)
    if not isinstance(header.get("created_at"), str):
        raise ParseError('"created_at" must be a time such as 2026-11-22T07:01:20.123Z', 1)
    _check_types(header, _HEADER_TYPES, "", 1)
    tags = header.get("tags")
    if tags is not None and (not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags)):
        raise ParseError('"tags" must be a list of text', 1)
    if not isinstance(parsed.entries, list):
        raise ParseError('"history" must be a list', None)
    for number, entry in enumerate(parsed.entries):
        try:
            check_entry(entry, f"history[{number}]")
        except ParseError as error:
            line = parsed.raw.count(b"\n", 0, parsed.starts[number]) + 1 if parsed.in_layout else None
            raise ParseError(error.problem, line) from None


def check_entry(entry: Any, where: str) -> None:
    """Check the structure of one entry. Raises ParseError, which names `where`, the position of the entry."""
    if not isinstance(entry, dict):
        raise ParseError(f"{where} must be a mapping", None)
    if not isinstance(entry.get("type"), str):
        raise ParseError(f'"type" must be text such as run in {where}', None)
    if entry["type"] in ("run", "update") and not isinstance(entry.get("created_at"), str):
        raise ParseError(f'"created_at" must be a time in {where}', None)
    _check_types(entry, _SESSION_TYPES, f" in {where}", None)
    if entry["type"] != "run":
        return
    if not isinstance(entry.get("run_id"), str):
        raise ParseError(f'"run_id" must be text in {where}', None)
    _check_types(entry, _RUN_TYPES, f" in {where}", None)
    for number, message in enumerate(entry.get("messages") or ()):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise ParseError(f'{where}.messages[{number}] must be a mapping with a "role"', None)


def _check_types(record: Mapping[str, Any], types: dict[str, tuple[type, str]], where: str, line: int | None) -> None:
    for key, (expected, type_name) in types.items():
        value = record.get(key)
        if value is not None and type(value) is not expected:
            raise ParseError(f'"{key}" must be {type_name}{where}', line)


def run_id_and_state(layout: Layout, piece: bytes) -> tuple[str | None, bool]:
    """Return the run id of an entry (None if it is not a run), and whether it is an unfinished run."""
    run_id = layout.run_id(piece)
    if run_id is not None and ends_unfinished(layout, piece[-64:]):
        return run_id, True
    if run_id is None or b"unfinished" in piece:  # a person may have written something after the status
        entry = layout.parse_entry(piece)
        if not isinstance(entry, dict) or entry.get("type") != "run":
            return None, False
        return entry.get("run_id"), entry.get("status") == "unfinished"
    return run_id, False


def ends_unfinished(layout: Layout, end: bytes) -> bool:
    """Return whether an entry that ends in these bytes is an unfinished run as localstore writes it."""
    return (end + layout.end).endswith(_UNFINISHED[layout.suffix])


_UNFINISHED = {
    JSON.suffix: b'\n      "status": "unfinished"' + JSON.closing,
    YAML.suffix: b"\n" + YAML.closing_after_list,
}


def newest_state(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the newest value of each of the SESSION_KEYS that any of `entries` (oldest first) has."""
    return {name: entry[name] for entry in entries for name in SESSION_KEYS if entry.get(name) is not None}


def order_header(header: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of `header` with its keys in the order of the format and unknown keys last."""
    return {key: header[key] for key in HEADER_ORDER if key in header} | header
