"""The JSON layout: two spaces of indentation, `history` last, and the indentation is the index.

An entry starts at the line `    {` and ends at the next line that begins `    }`. Strings in JSON cannot hold a raw
newline, so inside the history these lines mean nothing else.
"""

import json
import re
from typing import Any

import orjson

from localstore.format.parse_error import ParseError
from localstore.format.values import MAX_INTEGER, MIN_INTEGER

SCHEMA = "../../schemas/session-1.schema.json"

_RUN_ID = re.compile(rb'    \{\n      "type": "run",\n      "run_id": "([^"\\]+)"')
_START = b"\n    {\n"
_DEEP = 200
"""So many brackets are no nesting that could be too deep."""
_INDENTED_DEEPLY = b" " * 2 * _DEEP
"""No line of a document in this layout begins with that unless it nests too deeply."""


class JsonLayout:
    """Bytes of a JSON document from and to plain values. It holds no state and touches no file."""

    suffix = ".json"
    opening = b'\n  "history": [\n'
    separator = b",\n"
    end = b"\n  ]\n}\n"
    closing = b"\n    }" + end
    closing_after_value = b',\n      "status": "unfinished"' + closing
    closing_after_list = b"\n        }\n      ]" + closing_after_value
    closing_after_text = b'"' + closing_after_list
    steps_opening = b'"steps": ['
    step_separator = b"\n        },"
    keeps_comments = False
    escape = b"\\u"
    """What may stand for a letter or a digit."""

    def head(self, header: dict[str, Any]) -> bytes:
        """The document up to and including the line that opens the history."""
        text = orjson.dumps({"$schema": SCHEMA, **header, "history": []}, option=orjson.OPT_INDENT_2)
        return text.removesuffix(b"]\n}") + b"\n"

    def entry(self, entry: dict[str, Any]) -> bytes:
        """The bytes of one entry, from its `    {` to its `    }`, without the separator."""
        text = orjson.dumps({"history": [entry]}, option=orjson.OPT_INDENT_2)
        return text[len(b'{\n  "history": [\n') : -len(b"\n  ]\n}")]

    def assemble(self, head: bytes, slices: list[bytes]) -> bytes:
        """A whole document. One without entries ends in `"history": []`."""
        if not slices:
            return head.removesuffix(b"\n") + b"]\n}\n"
        return head + self.separator.join(slices) + self.end

    def entry_starts(self, raw: bytes, begin: int) -> list[int]:
        """Where the lines that start an entry begin in `raw`, from `begin`, the start of a line, on."""
        return find_lines(raw, _START, begin)

    def count_entry_starts(self, raw: bytes) -> int:
        """How many lines start an entry in `raw`, when it has no header; its first line is not counted."""
        return raw.count(_START)

    def entry_end(self, raw: bytes, start: int) -> int:
        """Where the entry that starts at `start` ends, or -1."""
        end = raw.find(b"\n    }", start)
        return -1 if end < 0 else end + len(b"\n    }")

    def breaks_layout(self, entry: bytes) -> bool:
        """Whether a line inside the entry looks like its end."""
        return self.entry_end(entry, 0) != len(entry)

    def run_id(self, entry: bytes) -> str | None:
        """The run's id, when it can be seen without parsing the entry."""
        match = _RUN_ID.match(entry)
        return match[1].decode() if match else None

    def parse_head(self, head: bytes) -> Any:
        return parse(head + b"]}")

    def parse_entry(self, entry: bytes, line: int = 1) -> Any:
        return parse(entry, line)

    def parse(self, raw: bytes) -> Any:
        return parse(raw)

    def parse_in_layout(self, raw: bytes) -> Any:
        """Parse a whole document that is in this layout: its indentation tells whether it nests too deeply."""
        if _INDENTED_DEEPLY in raw:
            return parse(raw)
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise ParseError(error.msg) from None

    def parse_strict(self, raw: bytes) -> Any:
        """Parse what is going to be written anew: whatever that would drop or round is refused."""
        try:
            value = json.loads(
                raw.decode("utf-8-sig"), object_pairs_hook=_unique, parse_int=_integer, parse_float=_float
            )
            orjson.dumps([[value]])  # the history around an entry
        except (RecursionError, orjson.JSONEncodeError):
            raise ParseError("nested too deeply to be written anew") from None
        except json.JSONDecodeError as error:
            raise ParseError(error.msg, error.lineno, error.colno) from None
        except UnicodeDecodeError as error:
            raise ParseError("str is not valid UTF-8", raw.count(b"\n", 0, error.start) + 1) from None
        return value


def find_lines(raw: bytes, mark: bytes, begin: int) -> list[int]:
    """Where in `raw`, from `begin` on, the lines start that have this mark: the newline before them and their bytes."""
    found = []
    at = raw.find(mark, max(0, begin - 1))
    while at >= 0:
        found.append(at + 1)
        at = raw.find(mark, at + 1)
    return found


def parse(raw: bytes, line: int = 1) -> Any:
    """Parse JSON text whose first line is line number `line` of its file. Raises Malformed."""
    try:
        value = orjson.loads(raw.removeprefix(b"\xef\xbb\xbf"))
        if raw.count(b"[") + raw.count(b"{") > _DEEP:
            orjson.dumps(value)  # it reads deeper than it writes, and deeper than others can follow
        return value
    except orjson.JSONEncodeError:
        raise ParseError("nested too deeply") from None
    except orjson.JSONDecodeError as error:
        problem = error.msg.partition(": line ")[0]
        try:
            raw.decode()
        except UnicodeDecodeError as undecodable:
            before = raw[: undecodable.start]
            column = undecodable.start - before.rfind(b"\n")
            raise ParseError("this is not UTF-8 text", line + before.count(b"\n"), column) from None
        raise ParseError(problem, line + error.lineno - 1, error.colno) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ParseError(f"the key {key!r} appears twice in one object")
            seen.add(key)
    return result


def _integer(text: str) -> int:
    if len(text) > 21 or not MIN_INTEGER <= int(text) <= MAX_INTEGER:
        raise ParseError(f"{text[:40]} is an integer beyond 64 bits")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ParseError(f"{text[:40]} is a number beyond 64 bits")
    return value


LAYOUT = JsonLayout()
