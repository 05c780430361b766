"""The YAML layout: block style, `history` last, and entries that are found by their indentation.

An entry starts at `- ` in column 0, and everything else in it is indented. The document ends with the line `...`, which
distinguishes a complete document from one that was cut off.
"""

import re
from typing import Any

from localstore.format.json_layout import SCHEMA, find_last_lines, find_lines
from localstore.format.parse_error import ParseError

_RUN_ID = re.compile(rb"- type: run\n  run_id: ([0-9A-Za-z][0-9A-Za-z_-]*[A-Za-z_-][0-9A-Za-z_-]*)\n")
_START = b"\n- "
_COLUMN_0 = re.compile(rb"[\n\0](?=[^ \n\r\0])")
_COMMENTS_INSIDE = re.compile(rb"#[^\n]*+\n(?:[ \t]*+(?:#[^\n]*+)?\r?\n)*+ [ \t]*+[^ \t\r\n#]")
"""Comments in column 0 that are part of an entry, because the entry continues after them."""

_DOCUMENT_ENDS = re.compile(rb"[\n\r](?:\.\.\.|---)")


class YamlLayout:
    """Converts plain values to the bytes of a YAML document and back. See JsonLayout for the constants."""

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
    """The byte that begins an escape for a letter or a digit, or breaks a line within a text."""

    def head(self, header: dict[str, Any]) -> bytes:
        """Return the document up to and including the line that opens the history."""
        from localstore.format.yaml_writer import mapping

        return f"# yaml-language-server: $schema={SCHEMA}\n{mapping(header)}history:\n".encode()

    def entry(self, entry: dict[str, Any]) -> bytes:
        """Return the bytes of one entry, from its `- ` to the newline that ends it."""
        from localstore.format.yaml_writer import item

        return item(entry).encode()

    def assemble(self, head: bytes, entries: list[bytes]) -> bytes:
        """Return a whole document. Without entries, it ends in `history: []` and the end marker."""
        if not entries:
            before, opening, comments = head.rpartition(self.opening)
            if opening:  # comments above the first entry move above the line that opens the history
                return before + b"\n" + comments + b"history: []\n" + self.end
            return head + b" []\n" + self.end
        return head + b"".join(entries) + self.end

    def document(self, header: dict[str, Any], entries: list[dict[str, Any]]) -> bytes:
        """Return a whole document: what `assemble` returns for its head and its entries."""
        return self.assemble(self.head(header), [self.entry(entry) for entry in entries])

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
        """Return the offset after the entry at `start`, or -1 if nothing follows up to `bound`.

        NUL bytes count as a newline.
        """
        bound = len(raw) if bound is None else bound
        while match := _COLUMN_0.search(raw, start, bound):
            comments = _COMMENTS_INSIDE.match(raw, match.end(), bound)
            if comments is None:
                return match.end()
            zero = raw.find(b"\0", match.end(), comments.end())
            start = comments.end() if zero < 0 else zero
        return -1

    def breaks_layout(self, entry: bytes) -> bool:
        """Return whether a line in `entry` ends the YAML document: the next entry would belong to another one."""
        return _DOCUMENT_ENDS.search(entry) is not None

    def run_id(self, entry: bytes) -> str | None:
        """Return the id of the run without parsing the entry, or None if that is not possible or it is not a run."""
        match = _RUN_ID.match(entry)
        return match[1].decode() if match else None

    def parse_head(self, head: bytes) -> Any:
        """Parse the bytes that `head` returns, as a document with an empty history. Raises ParseError."""
        return _load(head)

    def parse_entry(self, entry: bytes) -> Any:
        """Parse the bytes of one entry. Raises ParseError, whose line counts from the start of the entry."""
        items = _load(entry)
        if not isinstance(items, list) or len(items) != 1:
            raise ParseError("this is not one entry", 1)
        return items[0]

    def parse(self, raw: bytes) -> Any:
        """Parse a whole document in any formatting. Raises ParseError."""
        return _load(raw)

    def parse_strict(self, raw: bytes) -> Any:
        """Parse a document that is about to be rewritten. Raises ParseError also if a rewrite would round a value."""
        return _load(raw, strict=True)

    def parse_by_pyyaml(self, raw: bytes, *, strict: bool) -> Any:
        """Parse a document that PyYAML wrote, using PyYAML's YAML 1.1 rules. Raises ParseError.

        If `strict`, a number that a rewrite would round is an error too.
        """
        return _load(raw, strict=strict, by_pyyaml=True)


def _load(raw: bytes, *, strict: bool = False, by_pyyaml: bool = False) -> Any:
    from localstore.format.yaml_reader import load

    return load(raw, strict=strict, by_pyyaml=by_pyyaml)


LAYOUT = YamlLayout()
