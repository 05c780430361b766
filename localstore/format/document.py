"""A document as bytes: parse it, check it, find its entries, and save what a crash left of it. Touches no file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localstore.errors import DocumentBroken, NewerFormat
from localstore.format.json_layout import LAYOUT as JSON
from localstore.format.json_layout import JsonLayout
from localstore.format.parse_error import ParseError
from localstore.format.source_position import line_and_column
from localstore.format.versions import CannotUpgrade, upgraded, version_of
from localstore.format.yaml_layout import LAYOUT as YAML
from localstore.format.yaml_layout import YamlLayout
from localstore.models.schema import HEADER_ORDER, KINDS, SCHEMA_VERSION, SESSION_KEYS

Layout = JsonLayout | YamlLayout
LAYOUTS: dict[str, Layout] = {JSON.suffix: JSON, YAML.suffix: YAML}
ADVICE = "Nothing was changed. Mend the file in an editor, or run 'localstore check' to see all that is wrong."


_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class LayoutMismatch(Exception):
    """Bytes that should be in our layout are not: look again, at the whole document."""


@dataclass(slots=True)
class ParsedDocument:
    """A whole document. `starts` holds the offset of each entry when the document is `in_layout`, else nothing.

    `header` and `entries` are always those of the current schema version; `version` is the one that `raw` has.
    """

    layout: Layout
    raw: bytes
    header: dict[str, Any]
    entries: list[dict[str, Any]]
    starts: list[int] = field(default_factory=list)
    in_layout: bool = True
    version: int = SCHEMA_VERSION

    @property
    def head(self) -> bytes:
        """The bytes up to the first entry of a document in our layout."""
        if self.starts:
            return self.raw[: self.starts[0]]
        head = self.raw.removesuffix(self.layout.assemble(b"", [])) + b"\n"
        return head if head.endswith(self.layout.opening) else self.layout.head(self.header)

    def slices(self) -> list[bytes]:
        """The bytes of each entry of a document in our layout, without separators."""
        return split_entries(self.layout, self.raw, self.starts, len(self.raw))


def parse_document(raw: bytes, layout: Layout, path: Path | str) -> ParsedDocument:
    """Parse and check a whole document, in our layout or not. An older one is brought up to the current version.

    Raises DocumentBroken with line and column, NewerFormat.
    """
    try:
        parsed = _parse_in_layout(raw, layout)
        if parsed is None or _version(parsed.header, path) != SCHEMA_VERSION:
            parsed = _parse_foreign(raw, layout, path)
        _check(parsed)
    except ParseError as error:
        raise document_broken(error, path) from None
    return parsed


def parse_for_reading(raw: bytes, layout: JsonLayout) -> ParsedDocument | None:
    """A document that was in our layout when it was last looked at, for a reader: it is not cut at its entry lines.

    None unless it is a valid one of the current version and has as many start lines as entries.
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
    """The public error for bytes that are not a session."""
    place = "" if error.line is None else f", line {error.line}"
    place += "" if error.column is None else f", column {error.column}"
    message = f"{path}{place}: {error.problem}. {ADVICE}"
    return DocumentBroken(message, path=str(path), problem=error.problem, line=error.line, column=error.column)


def _version(document: Mapping[str, Any], path: Path | str) -> int:
    """The schema version of a document; of one in our layout, the header alone tells. Raises NewerFormat, Malformed."""
    version = version_of(document)
    if version is None:
        raise ParseError('expected "schema_version" with a whole number', 1)
    if version > SCHEMA_VERSION:
        raise newer_format(version, path)
    return version


def newer_format(version: int, path: Path | str, session_id: str | None = None) -> NewerFormat:
    """The error for a document that a newer localstore wrote."""
    return NewerFormat(
        f"{path} has schema version {version}; this localstore knows up to {SCHEMA_VERSION}, and one that knows "
        f"{version} is needed. Nothing was changed. Update localstore.",
        path=str(path),
        session_id=session_id,
    )


def split_entries(layout: Layout, raw: bytes, starts: list[int], size: int) -> list[bytes]:
    """The bytes between entry starts, up to the end of a document of `size` bytes. Raises Misfit."""
    ends = [start - len(layout.separator) for start in starts[1:]]
    for end in ends:
        if not raw.startswith(layout.separator, end):
            raise LayoutMismatch
    if starts:
        ends.append(size - len(layout.end))
    return [raw[start:end] for start, end in zip(starts, ends, strict=True)]


def _parse_in_layout(raw: bytes, layout: Layout) -> ParsedDocument | None:
    """The document cut at its entry lines; None unless each piece parses and follows its predecessor directly."""
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
        entries = [layout.parse_entry(piece) for piece in pieces]
    except (ParseError, LayoutMismatch):
        return None
    if any(map(layout.breaks_layout, pieces)):
        return None
    if not isinstance(header, dict) or list(header)[-1] != "history" or header["history"]:
        return None
    return ParsedDocument(layout, raw, header_of(header), entries, starts)


def header_of(document: dict[str, Any]) -> dict[str, Any]:
    """The header in a whole document, or in its head alone."""
    return {key: value for key, value in document.items() if key not in ("$schema", "history")}


def _parse_foreign(raw: bytes, layout: Layout, path: Path | str, *, strict: bool = False) -> ParsedDocument:
    document = _load(raw, layout, strict=strict)
    if not isinstance(document, dict):
        raise ParseError("expected one mapping with the session", 1, 1)
    version = _version(document, path)
    if version < SCHEMA_VERSION:
        try:
            document = upgraded(document, version)
        except CannotUpgrade as error:
            place = line_and_column(raw, error.where)
            raise ParseError(f"cannot be upgraded from schema version {version}: {error}", *place) from None
    history = document.get("history", [])
    entries = [] if history is None else history
    return ParsedDocument(layout, raw, header_of(document), entries, in_layout=False, version=version)


_SAYS_VERSION = re.compile(rb"""(?m)^["']?schema_version["']?[ ]*:""")


def _load(raw: bytes, layout: Layout, *, strict: bool) -> Any:
    """The whole document as plain values. Version 0 in YAML was written by PyYAML, and is read by its rules."""
    try:
        document = layout.parse_strict(raw) if strict else layout.parse(raw)
        problem = None
    except ParseError as error:
        document, problem = None, error
    if (
        isinstance(layout, YamlLayout)
        and not _SAYS_VERSION.search(raw)
        and (problem is not None or (isinstance(document, dict) and version_of(document) == 0))
    ):
        old = layout.parse_by_pyyaml(raw, strict=strict)
        if isinstance(old, dict) and version_of(old) == 0:
            return old
    if problem is not None:
        raise problem
    return document


def normalise(parsed: ParsedDocument, path: Path | str) -> ParsedDocument:
    """The same session in our layout and of the current version. Raises DocumentBroken when that would drop or round
    something."""
    return convert_layout(parse_strictly(parsed.raw, parsed.layout, path), parsed.layout, path)


def parse_strictly(raw: bytes, layout: Layout, path: Path | str) -> ParsedDocument:
    """A whole document that is going to be written anew: whatever that would drop or round is refused.

    Raises DocumentBroken with line and column, NewerFormat.
    """
    try:
        parsed = _parse_foreign(raw, layout, path, strict=True)
        _check(parsed)
    except ParseError as error:
        raise document_broken(error, path) from None
    return parsed


def convert_layout(parsed: ParsedDocument, layout: Layout, path: Path | str) -> ParsedDocument:
    """The same session in our layout of either format, and of the current version."""
    raw = layout.assemble(layout.head(parsed.header), [layout.entry(entry) for entry in parsed.entries])
    return parse_document(raw, layout, path)


_HEADER_TYPES: dict[str, tuple[type, str]] = {
    "agent_id": (str, "text"),
    "team_id": (str, "text"),
    "workflow_id": (str, "text"),
    "user_id": (str, "text"),
    "name": (str, "text"),
    "metadata": (dict, "a mapping"),
}
_STATE_TYPES: dict[str, tuple[type, str]] = {
    "session_state": (dict, "a mapping"),
    "session_data": (dict, "a mapping"),
    "instructions": (str, "text"),
}
_RUN_TYPES: dict[str, tuple[type, str]] = {
    "messages": (list, "a list"),
    "status": (str, "text"),
}


def _check(parsed: ParsedDocument) -> None:
    """The structure that everything relies on; the models check the rest. Raises Malformed."""
    header = parsed.header
    if not isinstance(header.get("session_id"), str) or not header["session_id"]:
        raise ParseError('expected "session_id" with a text that is not empty', 1)
    if header.get("kind") not in KINDS:
        raise ParseError(f'expected "kind" with one of {", ".join(KINDS)}', 1)
    if not isinstance(header.get("created_at"), str):
        raise ParseError('expected "created_at" with a time such as 2026-11-22T07:01:20.123Z', 1)
    _check_types(header, _HEADER_TYPES, "", 1)
    tags = header.get("tags")
    if tags is not None and (not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags)):
        raise ParseError('expected "tags" with a list of texts', 1)
    if not isinstance(parsed.entries, list):
        raise ParseError('expected "history" with a list', None)
    for number, entry in enumerate(parsed.entries):
        try:
            check_entry(entry, f"history[{number}]")
        except ParseError as error:
            line = parsed.raw.count(b"\n", 0, parsed.starts[number]) + 1 if parsed.in_layout else None
            raise ParseError(error.problem, line) from None


def check_entry(entry: Any, where: str) -> None:
    """The structure of one entry. Raises Malformed."""
    if not isinstance(entry, dict):
        raise ParseError(f"expected a mapping at {where}", None)
    if not isinstance(entry.get("type"), str):
        raise ParseError(f'expected "type" with a text such as run in {where}', None)
    if entry["type"] in ("run", "update") and not isinstance(entry.get("created_at"), str):
        raise ParseError(f'expected "created_at" with a time in {where}', None)
    _check_types(entry, _STATE_TYPES, f" in {where}", None)
    if entry["type"] != "run":
        return
    if not isinstance(entry.get("run_id"), str):
        raise ParseError(f'expected "run_id" with a text in {where}', None)
    _check_types(entry, _RUN_TYPES, f" in {where}", None)
    for number, message in enumerate(entry.get("messages") or ()):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise ParseError(f'expected a mapping with a "role" at {where}.messages[{number}]', None)


def _check_types(record: Mapping[str, Any], types: dict[str, tuple[type, str]], where: str, line: int | None) -> None:
    for name, (expected, words) in types.items():
        value = record.get(name)
        if value is not None and type(value) is not expected:
            raise ParseError(f'expected "{name}" with {words}{where}', line)


def run_id_and_state(layout: Layout, piece: bytes) -> tuple[str | None, bool]:
    """The run id of an entry's bytes (None when it is not a run), and whether the run is unfinished."""
    run_id = layout.run_id(piece)
    if run_id is not None and (piece + layout.end).endswith(_UNFINISHED[layout.suffix]):
        return run_id, True
    if run_id is None or b"unfinished" in piece:  # a person may have written something behind the status
        entry = layout.parse_entry(piece)
        if not isinstance(entry, dict) or entry.get("type") != "run":
            return None, False
        return entry.get("run_id"), entry.get("status") == "unfinished"
    return run_id, False


_UNFINISHED = {
    JSON.suffix: b'\n      "status": "unfinished"' + JSON.closing,
    YAML.suffix: b"\n" + YAML.closing_after_list,
}


def newest_state(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """The newest value of each key that holds for the session."""
    return {name: entry[name] for entry in entries for name in SESSION_KEYS if entry.get(name) is not None}


def order_header(header: dict[str, Any]) -> dict[str, Any]:
    """A header in the order of the format, keys that we do not know at the end."""
    return {key: header[key] for key in HEADER_ORDER if key in header} | header
