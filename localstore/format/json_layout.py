"""The JSON layout: two spaces of indentation, `history` last, and entries that are found by their indentation.

An entry starts at the line `    {` and ends at the next line that begins with `    }`. A JSON string cannot contain a
raw newline, so these lines have no other meaning inside the history.
"""

import json
import re
from typing import Any

import orjson

from localstore.format.parse_error import ParseError
from localstore.format.values import MAX_INTEGER, MIN_INTEGER, is_exact, rounding_problem

SCHEMA = "../../schemas/session-1.schema.json"

_RUN_ID = re.compile(rb'    \{\n      "type": "run",\n      "run_id": "([^"\\]+)"')
_START = b"\n    {\n"
_TEXT_OR_NUMBER = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[-+.0-9eE]+')
_DEEP = 200
"""JSON text with at most this many opening brackets cannot be nested too deeply."""
_INDENTED_DEEPLY = b" " * 2 * _DEEP
"""The beginning of a line in this layout that only occurs if the document is nested too deeply."""


class JsonLayout:
    """Converts plain values to the bytes of a JSON document and back. Has no state and opens no files."""

    suffix = ".json"
    opening = b'\n  "history": [\n'
    """The line that opens the history, with the newline before it."""
    separator = b",\n"
    """The bytes between two entries."""
    end = b"\n  ]\n}\n"
    """The bytes after the last entry."""
    closing = b"\n    }" + end
    """The constant bytes at the end of every document."""
    closing_after_value = b',\n      "status": "unfinished"' + closing
    """The end of a document whose last run is unfinished, after a value of that run."""
    closing_after_list = b"\n        }\n      ]" + closing_after_value
    """The same end, after the last item of a list of the run."""
    closing_after_text = b'"' + closing_after_list
    """The same end, after the text of an assistant message."""
    steps_opening = b'"steps": ['
    step_separator = b"\n        },"
    """The bytes between a step and the next one."""
    keeps_comments = False
    """Whether a document may contain comments; True for YAML alone."""
    escape = b"\\u"
    """The bytes that begin an escape for a letter or a digit."""

    def head(self, header: dict[str, Any]) -> bytes:
        """Return the document up to and including the line that opens the history."""
        text = orjson.dumps({"$schema": SCHEMA, **header, "history": []}, option=orjson.OPT_INDENT_2)
        return text.removesuffix(b"]\n}") + b"\n"

    def entry(self, entry: dict[str, Any]) -> bytes:
        """Return the bytes of one entry, from its `    {` to its `    }`, without the separator."""
        text = orjson.dumps({"history": [entry]}, option=orjson.OPT_INDENT_2)
        return text[len(b'{\n  "history": [\n') : -len(b"\n  ]\n}")]

    def assemble(self, head: bytes, entries: list[bytes]) -> bytes:
        """Return a whole document. Without entries, it ends in `"history": []`."""
        if not entries:
            return head.removesuffix(b"\n") + b"]\n}\n"
        return head + self.separator.join(entries) + self.end

    def document(self, header: dict[str, Any], entries: list[dict[str, Any]]) -> bytes:
        """Return a whole document: what `assemble` returns for its head and its entries."""
        return orjson.dumps({"$schema": SCHEMA, **header, "history": entries}, option=orjson.OPT_INDENT_2) + b"\n"

    def entry_starts(self, raw: bytes, begin: int) -> list[int]:
        """Return the offsets of the lines in `raw` that start an entry, from `begin`, the start of a line, on."""
        return find_lines(raw, _START, begin)

    def count_entry_starts(self, raw: bytes) -> int:
        """Return the number of lines in `raw` that start an entry. The first line does not count."""
        return raw.count(_START)

    def last_entry_starts(self, raw: bytes, count: int) -> list[int]:
        """Return the offsets of the last `count` lines in `raw` that start an entry. The first line does not count."""
        return find_last_lines(raw, _START, count)

    def entry_end(self, raw: bytes, start: int, bound: int | None = None) -> int:
        """Return the offset after the entry that starts at `start`, or -1 if its end is missing or after `bound`."""
        end = raw.find(b"\n    }", start, bound)
        return -1 if end < 0 else end + len(b"\n    }")

    def breaks_layout(self, entry: bytes) -> bool:
        """Return whether a line inside `entry` looks like the end of an entry."""
        return self.entry_end(entry, 0) != len(entry)

    def run_id(self, entry: bytes) -> str | None:
        """Return the id of the run without parsing the entry, or None if that is not possible or it is not a run."""
        match = _RUN_ID.match(entry)
        return match[1].decode() if match else None

    def parse_head(self, head: bytes) -> Any:
        """Parse the bytes that `head` returns, as a document with an empty history. Raises ParseError."""
        return parse(head + b"]}")

    def parse_entry(self, entry: bytes) -> Any:
        """Parse the bytes of one entry. Raises ParseError, whose line counts from the start of the entry."""
        return parse(entry)

    def parse(self, raw: bytes) -> Any:
        """Parse a whole document in any formatting. Raises ParseError."""
        return parse(raw)

    def parse_in_layout(self, raw: bytes) -> Any:
        """Parse a whole document in this layout, in which indentation shows nesting. Raises ParseError."""
        if _INDENTED_DEEPLY in raw:
            return parse(raw)
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise ParseError(error.msg) from None

    def parse_strict(self, raw: bytes) -> Any:
        """Parse a document to be rewritten. Raises ParseError also if a rewrite would drop or round a value."""
        try:
            value = json.loads(
                raw.decode("utf-8-sig"), object_pairs_hook=_unique_keys, parse_int=_integer, parse_float=_float
            )
            orjson.dumps([[value]])  # the history around an entry
        except (RecursionError, orjson.JSONEncodeError):
            raise ParseError("nested too deeply to be rewritten") from None
        except _NumberNotKept as error:
            raise ParseError(error.problem, *_position_of_number(raw, error.text)) from None
        except json.JSONDecodeError as error:
            raise ParseError(error.msg, error.lineno, error.colno) from None
        except UnicodeDecodeError as error:
            raise ParseError("this is not UTF-8 text", raw.count(b"\n", 0, error.start) + 1) from None
        return value


def find_lines(raw: bytes, mark: bytes, begin: int) -> list[int]:
    """Return the offsets in `raw` of all lines that begin with certain bytes, from `begin` on.

    `mark` is these bytes with the newline before them. `begin` must be the start of a line.
    """
    starts = []
    at = raw.find(mark, max(0, begin - 1))
    while at >= 0:
        starts.append(at + 1)
        at = raw.find(mark, at + 1)
    return starts


def find_last_lines(raw: bytes, mark: bytes, count: int) -> list[int]:
    """Return the offsets of the last `count` lines that `find_lines` finds, of fewer if there are fewer."""
    starts: list[int] = []
    at = len(raw)
    while len(starts) < count and (at := raw.rfind(mark, 0, at)) >= 0:
        starts.append(at + 1)
    return starts[::-1]


def parse(raw: bytes) -> Any:
    """Parse JSON text. Raises ParseError."""
    try:
        value = orjson.loads(raw.removeprefix(b"\xef\xbb\xbf"))
        if raw.count(b"[") + raw.count(b"{") > _DEEP:
            orjson.dumps(value)  # orjson reads deeper nesting than it writes, and than other parsers read
        return value
    except orjson.JSONEncodeError:
        raise ParseError("nested too deeply") from None
    except orjson.JSONDecodeError as error:
        problem = error.msg.partition(": line ")[0]
        try:
            raw.decode()
        except UnicodeDecodeError as decoding:
            before = raw[: decoding.start]
            column = decoding.start - before.rfind(b"\n")
            raise ParseError("this is not UTF-8 text", before.count(b"\n") + 1, column) from None
        raise ParseError(problem, error.lineno, error.colno) from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ParseError(f"the key {key!r} appears twice in one object")
            seen.add(key)
    return result


class _NumberNotKept(Exception):
    """Raised while JSON is parsed for a number that would be rounded. `text` is the number as it stands in the file."""

    def __init__(self, problem: str, text: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.text = text


def _position_of_number(raw: bytes, number: str) -> tuple[int, int] | tuple[()]:
    """Return line and column, from 1, of the first place outside texts where `raw` has this number."""
    for token in _TEXT_OR_NUMBER.finditer(raw):
        if token[0] == number.encode():
            line_start = raw.rfind(b"\n", 0, token.start()) + 1
            column = len(raw[line_start : token.start()].decode("utf-8-sig")) + 1
            return raw.count(b"\n", 0, line_start) + 1, column
    return ()


def _integer(text: str) -> int:
    if len(text) > 21 or not MIN_INTEGER <= int(text) <= MAX_INTEGER:
        raise _NumberNotKept(f"{text[:40]} is an integer beyond 64 bits", text)
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise _NumberNotKept(f"{text[:40]} is a number beyond 64 bits", text)
    if not is_exact(text, value):
        raise _NumberNotKept(rounding_problem(text, value), text)
    return value


LAYOUT = JsonLayout()
