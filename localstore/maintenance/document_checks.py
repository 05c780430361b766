"""Check one parsed document: values that a rewrite would lose, fields of a wrong type, runs that share an id."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from localstore.format.document import ParsedDocument
from localstore.format.parse_error import ParseError
from localstore.maintenance.finding import Finding
from localstore.models.times import CLOCK_TOLERANCE, parse_time

Location = tuple[int | str, ...]
"""Where pydantic found an error: keys, indexes and names of types, outermost first."""

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
        document = {**parsed.header, "history": parsed.entries}
        errors: dict[str, tuple[str, Location]] = {}
        notes: dict[str, tuple[str, Location]] = {}
        for wrong in error.errors(include_url=False, include_context=False):
            where = _where(wrong["loc"], wrong["type"] == "missing", document)
            (notes if wrong["type"] == INVALID_TEXT else errors).setdefault(where, (wrong["msg"], wrong["loc"]))
        # Only the reported findings get a line, because each line is counted from the beginning of the document.
        for where, (message, location) in list(errors.items())[:_MOST_PROBLEMS]:
            problem = f"{where}: {message.removesuffix('.')}"
            yield Finding("error", path, _line(location, parsed), problem, "Fix it in an editor.")
        if len(errors) > _MOST_PROBLEMS:
            more = f"{len(errors) - _MOST_PROBLEMS} more fields are wrong"
            yield Finding("error", path, None, more, "Fix those above, then check again.")
        for where, (message, location) in list(notes.items())[:_MOST_PROBLEMS]:
            problem, _, hint = message.partition(". ")
            advice = f"{hint} " if hint.startswith("Did you mean") else ""
            advice += "The text is kept. If it is a mistake, fix it in an editor."
            yield Finding("note", path, _line(location, parsed), f"{where}: {problem.removesuffix('.')}", advice)
        if len(notes) > _MOST_PROBLEMS:
            more = f"{len(notes) - _MOST_PROBLEMS} more fields hold text that is not a known word or a time"
            yield Finding("note", path, None, more, "The text is kept.")


def future_times(path: str, parsed: ParsedDocument) -> Iterator[Finding]:
    """Yield a note for each `created_at` of the session and of its entries that lies in the future."""
    latest = datetime.now(UTC) + CLOCK_TOLERANCE
    for number, record in enumerate([parsed.header, *parsed.entries], -1):
        text = record.get("created_at")
        moment = parse_time(text) if isinstance(text, str) else None
        if moment is not None and moment > latest:
            where = "created_at" if number < 0 else f"history[{number}].created_at"
            location: Location = ("created_at",) if number < 0 else ("history", number)
            problem = f"{where}: {text!r} lies in the future"
            advice = "Correct it in an editor. Until then, listings sort the session by the time of its file."
            yield Finding("note", path, _line(location, parsed), problem, advice)


def repeated_runs(path: str, parsed: ParsedDocument) -> Iterator[Finding]:
    """Yield a note for each run whose id an earlier run has.

    That can happen, because an append recognises a repeated run only among the newest entries.
    """
    seen: set[str] = set()
    line, counted = 1, 0
    for number, entry in enumerate(parsed.entries):
        if entry["type"] == "run":
            if entry["run_id"] in seen:
                if parsed.starts:
                    line += parsed.raw.count(b"\n", counted, parsed.starts[number])
                    counted = parsed.starts[number]
                problem = f"has a second run with the run_id {entry['run_id']}"
                advice = "Give one of them another run_id, or delete it."
                yield Finding("note", path, line if parsed.starts else None, problem, advice)
            seen.add(entry["run_id"])


def _where(location: Location, is_missing: bool, document: Any) -> str:
    """Return the name of a field, such as `history[3].messages`.

    `location` is pydantic's, and `is_missing` is true if the field is missing.
    """
    value = document
    where = ""
    for step in location:  # it also has the names of the types that pydantic tried, which are skipped
        if isinstance(value, list) and isinstance(step, int):
            value = value[step]
            where += f"[{step}]"
        elif isinstance(value, dict) and (step in value or (is_missing and step == location[-1])):
            value = value.get(step)
            where += f".{step}" if where else str(step)
    return where


def _line(location: Location, parsed: ParsedDocument) -> int | None:
    """Return the line on which the entry or the header field at pydantic's `location` starts, or None if unknown."""
    if len(location) > 1 and location[0] == "history" and isinstance(location[1], int):
        return parsed.raw.count(b"\n", 0, parsed.starts[location[1]]) + 1 if parsed.in_layout else None
    if not location:
        return None
    key = re.search(rb'^(?:  ")?%s"?:' % re.escape(str(location[0]).encode()), parsed.raw, re.MULTILINE)
    return parsed.raw.count(b"\n", 0, key.start()) + 1 if key else None
