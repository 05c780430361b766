"""The YAML layout: block style, `history` last and not indented, and the indentation is the index.

An entry starts at `- ` in column 0, everything else in it is indented, and the document ends with the end marker
line `...`, which tells a whole document from one that was cut.
"""

import re
from typing import Any

from localstore.format.json_layout import SCHEMA, find_lines
from localstore.format.parse_error import ParseError

_RUN_ID = re.compile(rb"- type: run\n  run_id: ([0-9A-Za-z][0-9A-Za-z_-]*[A-Za-z_-][0-9A-Za-z_-]*)\n")
_START = b"\n- "
# A comment in column 0 is inside the entry when the entry goes on behind it.
_INSIDE = rb"#[^\n]*\n(?:[ \t]*(?:#[^\n]*)?\r?\n)* [ \t]*[^ \t\r\n#]"
_NEXT = re.compile(rb"[\n\0](?=[^ \n\r\0])(?!%s)" % _INSIDE)

_DOCUMENT_ENDS = re.compile(rb"[\n\r](?:\.\.\.|---)")


class YamlLayout:
    """Bytes of a YAML document from and to plain values. It holds no state and touches no file."""

    suffix = ".yaml"
    opening = b"\nhistory:\n"
    separator = b""
    end = b"...\n"
    closing = b"\n...\n"
    closing_after_list = closing_after_value = b"  status: unfinished\n...\n"
    closing_after_text = b"\n" + closing_after_list
    steps_opening = b"  steps:\n"
    step_separator = b""
    keeps_comments = True
    escape = b"\\"
    """What may stand for a letter or a digit, or break a text that has none."""

    def head(self, header: dict[str, Any]) -> bytes:
        """The document up to and including the line that opens the history."""
        from localstore.format.yaml_writer import mapping

        return f"# yaml-language-server: $schema={SCHEMA}\n{mapping(header)}history:\n".encode()

    def entry(self, entry: dict[str, Any]) -> bytes:
        """The bytes of one entry, from its `- ` to the newline that ends it."""
        from localstore.format.yaml_writer import item

        return item(entry).encode()

    def assemble(self, head: bytes, slices: list[bytes]) -> bytes:
        """A whole document. One without entries ends in `history: []` and the end marker."""
        if not slices:
            before, opening, comments = head.rpartition(self.opening)
            if opening:  # comments above the first entry stay, above the line of the history
                return before + b"\n" + comments + b"history: []\n" + self.end
            return head + b" []\n" + self.end
        return head + b"".join(slices) + self.end

    def entry_starts(self, raw: bytes, begin: int) -> list[int]:
        """Where the lines that start an entry begin in `raw`, from `begin`, the start of a line, on."""
        return find_lines(raw, _START, begin)

    def count_entry_starts(self, raw: bytes) -> int:
        """How many lines start an entry in `raw`, when it has no header; its first line is not counted."""
        return raw.count(_START)

    def entry_end(self, raw: bytes, start: int) -> int:
        """Where the entry that starts at `start` ends, or -1. A run of NUL counts as a line break."""
        match = _NEXT.search(raw, start)
        return match.end() if match else -1

    def breaks_layout(self, entry: bytes) -> bool:
        """Whether a line inside the entry ends the document: what is added behind it would be another one."""
        return _DOCUMENT_ENDS.search(entry) is not None

    def run_id(self, entry: bytes) -> str | None:
        """The run's id, when it can be seen without parsing the entry."""
        match = _RUN_ID.match(entry)
        return match[1].decode() if match else None

    def parse_head(self, head: bytes) -> Any:
        return _load(head)

    def parse_entry(self, entry: bytes, line: int = 1) -> Any:
        items = _load(entry, first_line=line)
        if not isinstance(items, list) or len(items) != 1:
            raise ParseError("this is not one entry", line)
        return items[0]

    def parse(self, raw: bytes) -> Any:
        return _load(raw)

    def parse_strict(self, raw: bytes) -> Any:
        """Parse what is going to be written anew: whatever that would drop or round is refused."""
        return _load(raw, strict=True)

    def parse_by_pyyaml(self, raw: bytes, *, strict: bool) -> Any:
        """Parse what PyYAML wrote, by its own rules, which are those of YAML 1.1."""
        return _load(raw, strict=strict, by_pyyaml=True)


def _load(raw: bytes, *, strict: bool = False, first_line: int = 1, by_pyyaml: bool = False) -> Any:
    from localstore.format.yaml_reader import load

    return load(raw, strict=strict, first_line=first_line, by_pyyaml=by_pyyaml)


LAYOUT = YamlLayout()
