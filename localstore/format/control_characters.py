"""The characters that a terminal, a pager or an editor acts on, and does not show."""

import re

CONTROL = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and newline, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # marks that reorder text
    "\u2028\u2029\ufeff\ufff9-\ufffb"  # line and paragraph separators, byte order mark, annotations
    "\ud800-\udfff"  # lone surrogates
)
"""These characters as ranges for a class of a regular expression: `re.compile(f"[{CONTROL}]")`."""

_NOT_SHOWN = re.compile(f"[\t\n{CONTROL}]")
_NAMED = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def escaped(text: str) -> str:
    """Return the text on one line, with every control character written as an escape.

    >>> escaped("a\\tb\\x1b")
    'a\\\\tb\\\\x1b'
    """
    return text if text.isascii() and text.isprintable() else _NOT_SHOWN.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    return _NAMED.get(char) or (f"\\x{ord(char):02x}" if ord(char) < 0x100 else f"\\u{ord(char):04x}")
