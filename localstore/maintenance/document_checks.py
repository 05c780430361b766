"""Check one parsed document: values that a rewrite would lose, fields of a wrong type, runs that share an id."""

import re
from collections.abc import Iterator
from typing import Any

from localstore.format.document import ParsedDocument
from localstore.format.parse_error import ParseError
from localstore.maintenance.finding import Finding

_MOST_PROBLEMS = 10
"""The number of wrong fields, and of unknown words, reported one by one for each document."""


def unwritable(path: str, parsed: ParsedDocument) -> Iterator[Finding]:
    """Yield an error if a rewrite would drop or round something in the document at `path`."""
    try:
        parsed.layout.parse_strict(parsed.raw)
    except ParseError as error:
        advice = "Fix it in an editor before a rewrite drops or rounds it."
        yield Finding("error", path, error.line, error.problem, advice)


def wrong_fields(path: str, parsed: ParsedDocument) -> Iterator[Finding]:
    """Yield an error for each field that is missing or has a wrong type, and a note for each unknown word or time.

    Of each, there is one more finding for the number beyond the limit.
    """
    from pydantic import ValidationError

    from localstore.models.fields import INVALID_TEXT, SET_BY_PROGRAM
    from localstore.models.session import Session

    try:
        Session.model_validate({**parsed.header, "history": parsed.entries}, context=SET_BY_PROGRAM)
    except ValidationError as error:
        errors: dict[str, Finding] = {}
        notes: dict[str, Finding] = {}
        for wrong in error.errors(include_url=False, include_context=False):
            where, line = _where(wrong["loc"], wrong["type"] == "missing", parsed)
            if wrong["type"] == INVALID_TEXT:
                problem, _, hint = wrong["msg"].partition(". ")
                advice = f"{hint} " if hint.startswith("Did you mean") else ""
                advice += "The text is kept. If it is a mistake, fix it in an editor."
                notes.setdefault(where, Finding("note", path, line, f"{where}: {problem.removesuffix('.')}", advice))
            else:
                problem = wrong["msg"].removesuffix(".")
                errors.setdefault(where, Finding("error", path, line, f"{where}: {problem}", "Fix it in an editor."))
        yield from list(errors.values())[:_MOST_PROBLEMS]
        if len(errors) > _MOST_PROBLEMS:
            more = f"{len(errors) - _MOST_PROBLEMS} more fields are wrong"
            yield Finding("error", path, None, more, "Fix those above, then check again.")
        yield from list(notes.values())[:_MOST_PROBLEMS]
        if len(notes) > _MOST_PROBLEMS:
            more = f"{len(notes) - _MOST_PROBLEMS} more fields hold text that is not a known word or a time"
            yield Finding("note", path, None, more, "The text is kept.")


def repeated_runs(path: str, parsed: ParsedDocument) -> Iterator[Finding]:
    """Yield a note for each run whose id an earlier run has.

    That can happen, because an append recognises a repeated run only among the newest entries.
    """
    seen: set[str] = set()
    for number, entry in enumerate(parsed.entries):
        if entry["type"] == "run":
            if entry["run_id"] in seen:
                line = parsed.raw.count(b"\n", 0, parsed.starts[number]) + 1 if parsed.starts else None
                problem = f"has a second run with the run_id {entry['run_id']}"
                yield Finding("note", path, line, problem, "Give one of them another run_id, or delete it.")
            seen.add(entry["run_id"])


def _where(location: tuple[int | str, ...], is_missing: bool, parsed: ParsedDocument) -> tuple[str, int | None]:
    """Return the name of a field, such as `history[3].messages`, and the line where its entry or header field starts.

    `location` is pydantic's, and `is_missing` is true if the field is missing. The line is None if it is unknown.
    """
    value: Any = {**parsed.header, "history": parsed.entries}
    where = ""
    for step in location:  # it also has the names of the types that pydantic tried, which are skipped
        if isinstance(value, list) and isinstance(step, int):
            value = value[step]
            where += f"[{step}]"
        elif isinstance(value, dict) and (step in value or (is_missing and step == location[-1])):
            value = value.get(step)
            where += f".{step}" if where else str(step)
    line = None
    if len(location) > 1 and location[0] == "history" and isinstance(location[1], int):
        if parsed.in_layout:
            line = parsed.raw.count(b"\n", 0, parsed.starts[location[1]]) + 1
    elif location:
        key = re.search(rb'^(?:  ")?%s"?:' % re.escape(str(location[0]).encode()), parsed.raw, re.MULTILINE)
        line = parsed.raw.count(b"\n", 0, key.start()) + 1 if key else None
    return where, line
