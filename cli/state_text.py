"""The state of a session as text that a person edits. What cannot be kept is refused, with its line and column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localstore.errors import DocumentBroken

from . import output

if TYPE_CHECKING:
    from pathlib import Path


def suffix(as_yaml: bool) -> str:
    """Return the suffix of a file with a state in YAML or JSON."""
    return ".yaml" if as_yaml else ".json"


def state_text(state: dict[str, Any], as_yaml: bool) -> str:
    """Return a state as JSON or YAML, with control characters as escapes."""
    if as_yaml:
        from localstore.format.yaml_writer import mapping

        text = mapping(state)
        if output.lines(text) == text:
            return text
        # JSON is also valid YAML, and escapes control characters.
    return output.json_text(state)


def parsed(raw: bytes, as_yaml: bool, where: str) -> dict[str, Any]:
    """Parse a mapping. Raises DocumentBroken, which names the line, or UnstorableValue."""
    from localstore.format.document import LAYOUTS
    from localstore.format.parse_error import ParseError
    from localstore.format.values import to_json_value

    layout = LAYOUTS[suffix(as_yaml)]
    try:
        layout.parse(raw)  # it names the line of more mistakes
        value = layout.parse_strict(raw)
        if not isinstance(value, dict):
            raise ParseError("expected a mapping", 1)
    except ParseError as error:
        raise _refusal(where, error.problem, error.line, error.column) from None
    state: dict[str, Any] = to_json_value(value, "session_state")
    return state


def has_comments(raw: bytes) -> bool:
    """Return whether valid YAML has comments."""
    from localstore.format.yaml_reader import first_comment

    return first_comment(raw) is not None


def refuse_comments(raw: bytes, as_yaml: bool, where: str) -> None:
    """Raise DocumentBroken if `raw` is YAML with comments: a state cannot keep them."""
    from localstore.format.yaml_reader import first_comment

    comment = first_comment(raw) if as_yaml else None
    if comment is not None:
        raise _refusal(where, "a state cannot keep this comment", *comment)


def refuse_rounded_state(path: Path) -> None:
    """Raise DocumentBroken if the newest state in a document has a number that an edit would show and store rounded."""
    from localstore.format.document import LAYOUTS, document_broken, parse_document, parse_strictly
    from localstore.format.parse_error import ParseError

    raw, layout = path.read_bytes(), LAYOUTS[path.suffix]
    try:
        document = parse_document(raw, layout, path)
    except DocumentBroken:
        return  # a writer may be at work; the storage decides
    if not document.starts:
        parse_strictly(raw, layout, path)
        return
    newest = None
    for number, entry in enumerate(document.entries):
        newest = number if entry.get("session_state") is not None else newest
    if newest is None:
        return
    try:
        layout.parse_strict(document.slices()[newest])
    except ParseError as error:
        before = raw.count(b"\n", 0, document.starts[newest])
        line = None if error.line is None else error.line + before
        raise document_broken(ParseError(error.problem, line, error.column), path) from None


def _refusal(where: str, problem: str, line: int | None, column: int | None) -> DocumentBroken:
    place = "" if line is None else f", line {line}"
    place += "" if column is None else f", column {column}"
    return DocumentBroken(
        f"{where}{place}: {problem}. Nothing was stored. Correct it and try again.",
        path=where,
        problem=problem,
        line=line,
        column=column,
    )
