"""Writes plain values as block-style YAML that reads the same under YAML 1.1 and YAML 1.2.

The layout has three rules. `- ` in column 0 is always an entry of the history, because everything else is indented.
Printable text of several lines is a `|` block, as a person would type it. Nothing is folded, so every other scalar is
on one line.

The functions expect values that `to_json_value` has returned: dict with text keys, list, str, int, float, bool and
None, without NaN, infinities and lone surrogates, and nested at most as deeply as Python's recursion allows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

# A scalar needs no quotes if it begins like a word and is not a keyword or number of YAML 1.1 or 1.2. The second line
# matches more than both versions resolve: integers in every base, floats, base 60, dates, times, and version numbers.
_PLAIN_START = re.compile(
    r"(?!(?i:y|n|yes|no|on|off|true|false|null|<<)\Z"
    r"|[0-9][-+.:,_0-9eEtTzZ ]*\Z|0[xXoObB][0-9a-fA-F_]*\Z)"
    r"(?:[\w/($^;<\\]|[^\x00-\x7f\s])"
)
# Characters that YAML text must escape, or that are line breaks in only one version of YAML.
_UNPRINTABLE = re.compile("[^\n\t -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_ESCAPES = {
    **{code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))},
    **{code: f"\\u{code:04x}" for code in (0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF)},
    **{ord(char): f"\\{name}" for char, name in zip('\0\b\t\n\f\r"\\', '0btnfr"\\', strict=True)},
}
_NEEDS_INDICATOR = re.compile(r"\n*[ \t]")  # otherwise a parser would take the text's own spaces for indentation
_LINE_START = re.compile(r"\n(?=[^\n])")  # empty lines stay empty
_LONGEST_SIMPLE_KEY = 1000  # parsers stop at 1,024 characters, quotes included


def mapping(value: dict[str, Any], indent: int = 0) -> str:
    """Return the lines of a block mapping whose keys begin in column `indent` (from 0); each line ends in a newline.

    >>> mapping({"a": 1, "b": "no"})
    'a: 1\\nb: "no"\\n'
    """
    pieces: list[str] = []
    pad = " " * indent
    if value:
        _mapping(value, pad, pad, pieces.append)
    else:
        pieces.append(f"{pad}{{}}\n")
    return "".join(pieces)


def item(value: dict[str, Any]) -> str:
    """Return the lines of one history entry: the first begins with `- `, the others are empty or indented by two."""
    if not value:
        return "- {}\n"
    pieces: list[str] = []
    _mapping(value, "- ", "  ", pieces.append)
    return "".join(pieces)


def _mapping(value: dict[str, Any], lead: str, pad: str, write: Callable[[str], None]) -> None:
    """Write a mapping that is not empty, with `lead` before the first key and `pad`, equally wide, before others."""
    for key, child in value.items():
        text = _key(key) if len(key) <= 64 else _key.__wrapped__(key)  # long keys would fill the cache
        head = f"{lead}{text}:" if len(text) <= _LONGEST_SIMPLE_KEY else f"{lead}? {text}\n{pad}:"
        _child(child, head, pad + "  ", write)
        lead = pad


def _sequence(value: list[Any], lead: str, pad: str, write: Callable[[str], None]) -> None:
    """Write a sequence that is not empty: `lead` before the first item and `pad`, equally wide, before the rest."""
    inner = pad + "  "
    for child in value:
        kind = type(child)
        if kind is dict and child:
            _mapping(child, lead + "- ", inner, write)
        elif kind is list and child:
            _sequence(child, lead + "- ", inner, write)
        else:
            _child(child, lead + "-", inner, write)
        lead = pad


def _child(child: Any, head: str, inner: str, write: Callable[[str], None]) -> None:
    """Write `head` and then the value `child`, whose further lines are indented by `inner`."""
    kind = type(child)
    if kind is str:
        write(f"{head} {_text(child, inner)}\n")
    elif kind is dict:
        if child:
            write(f"{head}\n")
            _mapping(child, inner, inner, write)
        else:
            write(f"{head} {{}}\n")
    elif kind is list:
        if child:
            write(f"{head}\n")
            _sequence(child, inner, inner, write)
        else:
            write(f"{head} []\n")
    elif child is None:
        write(f"{head} null\n")
    elif kind is bool:
        write(f"{head} true\n" if child else f"{head} false\n")
    elif kind is int:
        write(f"{head} {child}\n")
    elif kind is float:
        write(f"{head} {_float(child)}\n")
    else:
        raise TypeError(f"the YAML writer takes JSON values only, not {kind.__name__}")


def _text(text: str, inner: str) -> str:
    """Return text as a value: plain, a block of lines indented by `inner`, or quoted on one line."""
    if "\n" in text:
        # isprintable() is stricter than YAML, and several times faster than the search.
        if not text.replace("\n", "").isprintable() and _UNPRINTABLE.search(text):
            return _double_quoted(text)
        indicator = "2" if _NEEDS_INDICATOR.match(text) else ""
        if not text.endswith("\n"):
            return f"|{indicator}-{_LINE_START.sub(chr(10) + inner, chr(10) + text)}"
        chomping = "+" if text == "\n" or text.endswith("\n\n") else ""
        return f"|{indicator}{chomping}{_LINE_START.sub(chr(10) + inner, chr(10) + text[:-1])}"
    if _is_plain(text):
        return text
    # Single quotes keep JSON and Windows paths readable, but allow no escapes.
    if ('"' in text or "\\" in text) and "\t" not in text and not _UNPRINTABLE.search(text):
        return "'" + text.replace("'", "''") + "'"
    return _double_quoted(text)


@lru_cache(maxsize=1024)
def _key(key: str) -> str:
    """Return a key on one line, plain or double-quoted."""
    return key if "\n" not in key and _is_plain(key) else _double_quoted(key)


def _is_plain(text: str) -> bool:
    """Return whether text of one line can be read back unchanged if it is written without quotes."""
    return (
        _PLAIN_START.match(text) is not None
        and ": " not in text
        and " #" not in text
        and text[-1] != ":"
        and not text[-1].isspace()
        and (text.isprintable() or ("\t" not in text and not _UNPRINTABLE.search(text)))
    )


def _double_quoted(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"'


def _float(value: float) -> str:
    """Return the text of a float, always with a dot, because YAML 1.1 reads `1e+22` as text."""
    text = repr(value)
    return text if "." in text else text.replace("e", ".0e")
