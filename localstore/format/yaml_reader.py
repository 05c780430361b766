"""Reads one YAML document as plain values, using the core schema of YAML 1.2.

PyYAML's C parser splits the text into events. This module builds the values from them, without recursion, and so
defines the rules: no anchors, aliases or custom tags; keys are text and unique; timestamps stay text; and every input
returns a value or raises `ParseError`.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal, localcontext
from typing import Any, NamedTuple, NoReturn

from localstore.format.parse_error import ParseError
from localstore.format.values import is_exact, rounding_problem

DEPTH_LIMIT = 210  # values may have 200 levels; the rest is for the document around them
_LONGEST_INTEGER = 4000  # characters; Python refuses to convert more than 4,300 digits, as that takes quadratic time

_CORE = "tag:yaml.org,2002:"
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_UNREADABLE = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Line breaks in YAML 1.1, and so in the C parser, but ordinary characters in YAML 1.2: it would cut a text in two.
_ODD_BREAK = re.compile("[\x85\u2028\u2029]")
# Such a directive only serves tags that are refused anyway, and the C parser compares each of them with all others.
_TAG_DIRECTIVE = re.compile(r"^\ufeff?%TAG", re.MULTILINE)


_MOST_NODES = 1_000_000
"""The largest number of keys and values in a document with aliases. A value counts each time it is used."""
_EXPANSION, _EXPANSION_FACTOR = 16 << 20, 8
"""The most bytes of a document with aliases, if each alias is replaced by its value: a constant, plus a multiple of the
document's own bytes."""


class _Extent(NamedTuple):
    """How much a part of a document amounts to when it is written without aliases.

    `nodes` counts keys and values, `lines` the lines, and `size` the bytes, including the indentation of each line.
    """

    nodes: int = 0
    lines: int = 0
    size: int = 0

    def with_key(self, text: str) -> _Extent:
        return _Extent(self.nodes + 1, self.lines, self.size + _length(text) + len(": "))

    def with_value(self, text: str, depth: int) -> _Extent:
        """Add a scalar, or the start of a container, for which `text` is empty."""
        lines = 1 + text.count("\n")
        return _Extent(self.nodes + 1, self.lines + lines, self.size + _length(text) + lines * (2 * depth + 1))

    def with_copy(self, value: _Extent, depth: int) -> _Extent:
        """Add a value again at another place, whose lines are indented by that many levels more than in `value`."""
        size = self.size + value.size + value.lines * 2 * depth
        return _Extent(self.nodes + value.nodes, self.lines + value.lines, size)

    def since(self, before: _Extent, depth: int) -> _Extent:
        """Return what was added after `before`, with its lines indented by that many levels less."""
        lines = self.lines - before.lines
        return _Extent(self.nodes - before.nodes, lines, self.size - before.size - lines * 2 * depth)


def _length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def load(raw: bytes, *, strict: bool = False, by_pyyaml: bool = False) -> Any:
    """Return the value of the single document in `raw`, UTF-8 text with or without a byte order mark.

    Raises ParseError if `raw` is not exactly one valid document.

    >>> load(b"a: [1, no]")
    {'a': [1, 'no']}

    Args:
        raw: The bytes of the document.
        strict: Also refuse integers beyond 64 bits and decimals with more digits than 64 bits hold: a rewrite or
            another program would round them.
        by_pyyaml: Use PyYAML's YAML 1.1 rules: `1e3` and `089` are text, and anchors and aliases are allowed. The
            result contains the same object for an anchor and its aliases.
    """
    _check(raw)
    import yaml  # loaded late, so that `import localstore` stays light

    try:
        largest = _EXPANSION + _EXPANSION_FACTOR * len(raw)
        return _build(yaml.CSafeLoader(raw), strict, largest, by_pyyaml=by_pyyaml)
    except yaml.MarkedYAMLError as error:
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        mark = error.problem_mark or error.context_mark
        text = raw.decode("utf-8")
        end = _position(text, len(text))  # at the end of the text, the C parser counts one line too many
        raise ParseError(problem, *(min((mark.line + 1, mark.column + 1), end) if mark else ())) from None
    except yaml.YAMLError as error:  # the C parser's reader, which names no line
        text = raw.decode("utf-8")
        match = _UNREADABLE.search(text)
        if match is None:
            raise ParseError(f"not readable as YAML: {error}") from None
        raise ParseError(f"unreadable {_name(match[0])}", *_position(text, match.start())) from None


def first_comment(raw: bytes) -> tuple[int, int] | None:
    """Return line and column, from 1, of the first comment in a valid YAML document, or None if it has none.

    >>> first_comment(b"a: 'no # comment'  # one")
    (1, 20)
    """
    text = raw.decode("utf-8-sig")
    if "#" not in text:
        return None
    import yaml

    end = 0  # where the last token ended; a comment is between two tokens, or in the first line of a block scalar
    for token in yaml.scan(text, Loader=yaml.CSafeLoader):
        start, before = token.start_mark.index, text[end : token.start_mark.index]
        end = token.end_mark.index
        comment = before.find("#")
        if comment >= 0:
            return _position(text, start - len(before) + comment)
        if isinstance(token, yaml.ScalarToken) and token.style in ("|", ">"):
            header = text[start:end].partition("\n")[0]
            if "#" in header:
                return _position(text, start + header.index("#"))
    return None


def _check(raw: bytes) -> None:
    """Raise ParseError for text that the C parser would misread, or would take too long to parse."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8")
        raise ParseError("not UTF-8", *_position(before, len(before))) from None
    if not text.isascii() and (match := _ODD_BREAK.search(text)):
        char = match[0]
        problem = f'{_name(char)} is a line break in YAML 1.1 only; write it as "\\u{ord(char):04x}" in double quotes'
        raise ParseError(problem, *_position(text, match.start()))
    # A quick search first, because the expression would try every line.
    if "%TAG" in text and (match := _TAG_DIRECTIVE.search(text.replace("\r", "\n"))):
        raise ParseError("%TAG directives are not allowed", *_position(text, match.start()))


def _name(char: str) -> str:
    return f"character U+{ord(char):04X}"


def _position(text: str, position: int) -> tuple[int, int]:
    """Return line and column, from 1. CRLF is one line break, and a byte order mark is no column."""
    before = text[:position].removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _build(parser: Any, strict: bool, largest: int, *, by_pyyaml: bool) -> Any:
    """Return the value built from the events of one document. Raises ParseError for what the rules do not allow.

    `largest` is the largest size in bytes of a document with aliases.
    """
    from yaml.events import (
        AliasEvent,
        DocumentEndEvent,
        MappingStartEvent,
        ScalarEvent,
        SequenceStartEvent,
        StreamEndEvent,
    )

    def refuse(problem: str) -> NoReturn:
        mark = event.start_mark
        raise ParseError(problem, mark.line + 1, mark.column + 1)

    plain = _plain_by_pyyaml if by_pyyaml else _plain
    next_event = parser.get_event
    next_event()  # the start of the stream
    event: Any = next_event()
    if type(event) is StreamEndEvent:
        raise ParseError("there is no document", 1, 1)

    root: list[Any] = []
    around: list[Any] = []  # the containers that contain the current one, outermost first
    container: Any = root
    in_mapping = False
    key: str | None = None  # the key of the next value; None if a key comes next, or in a sequence
    extent = _Extent()  # of all values so far, including those of aliases; only counted if aliases are allowed
    opened: list[tuple[str | None, _Extent]] = []  # the anchor of each open container, and the extent before it
    anchored: dict[str, tuple[Any, _Extent]] = {}  # each value and its extent
    while True:
        event = next_event()
        kind = type(event)
        before = extent
        value: Any
        if kind is ScalarEvent:
            if event.anchor is not None and not by_pyyaml:
                refuse("anchors are not allowed")
            if in_mapping and key is None:
                if event.tag is not None and event.tag != f"{_CORE}str":
                    refuse("a key is always text and takes no other tag")
                key = event.value
                if key in container:
                    refuse(f"the key {_shortened(event.value)} appears twice in one mapping")
                if by_pyyaml:
                    extent = extent.with_key(key)
                continue
            try:
                if event.tag is not None:
                    value = _tagged(event.value, event.tag, strict)
                else:
                    value = plain(event.value, strict) if event.implicit[0] else event.value
            except ParseError as error:  # raised without a position
                refuse(error.problem)
            if by_pyyaml:
                extent = extent.with_value(event.value, len(around))
                if event.anchor is not None:
                    anchored[event.anchor] = value, extent.since(before, len(around))
        elif kind is MappingStartEvent or kind is SequenceStartEvent:
            if event.anchor is not None and not by_pyyaml:
                refuse("anchors are not allowed")
            if in_mapping and key is None:
                refuse("a key must be a text, not a mapping or sequence")
            if event.tag is not None and event.tag != _CORE + ("map" if kind is MappingStartEvent else "seq"):
                refuse(f"the tag {_shortened(event.tag)} is not allowed here")
            if len(around) >= DEPTH_LIMIT:
                refuse(f"nested more than {DEPTH_LIMIT} levels deep")
            value = {} if kind is MappingStartEvent else []
            if by_pyyaml:
                extent = extent.with_value("", len(around))
        elif kind is AliasEvent:
            if not by_pyyaml:
                refuse("aliases are not allowed")
            if in_mapping and key is None:
                refuse("a key must be a text, not an alias")
            if event.anchor not in anchored:
                refuse("an alias stands inside the value that it refers to")
            value, copied = anchored[event.anchor]
            extent = extent.with_copy(copied, len(around))
            if extent.nodes > _MOST_NODES:
                refuse(f"with its aliases, the document has more than {_MOST_NODES:,} values")
            if extent.size > largest:
                refuse(f"with its aliases, the document has more than {largest / 1_000_000:,.0f} MB")
        elif kind is DocumentEndEvent:
            break
        else:  # the end of a mapping or a sequence
            anchor, before = opened.pop()
            if anchor is not None:
                anchored[anchor] = container, extent.since(before, len(around) - 1)
            container = around.pop()
            in_mapping = type(container) is dict
            continue
        if in_mapping:
            container[key] = value
            key = None
        else:
            container.append(value)
        if kind is MappingStartEvent or kind is SequenceStartEvent:
            if event.anchor is not None:
                anchored.pop(event.anchor, None)
            opened.append((event.anchor, before))
            around.append(container)
            container = value
            in_mapping = kind is MappingStartEvent

    event = next_event()
    if type(event) is not StreamEndEvent:
        refuse("more than one document")
    return root[0]


def _plain(text: str, strict: bool) -> Any:
    """Return the value of a scalar without quotes and tag: None, a bool, a number, or the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INTEGER.fullmatch(text):
        return _integer(text, strict)
    if _FLOAT.fullmatch(text) or _NOT_FINITE.fullmatch(text):
        return _finite(text, strict)
    return text


def _plain_by_pyyaml(text: str, strict: bool) -> Any:
    """Return the value of such a scalar by the rules of PyYAML's safe loader, except that a time stays text."""
    import yaml

    resolvers = yaml.SafeLoader.yaml_implicit_resolvers.get(text[:1], ())
    tag = next((tag for tag, pattern in resolvers if pattern.match(text)), f"{_CORE}str")
    name = tag.removeprefix(_CORE)
    if name == "null":
        return None
    if name == "bool":
        return yaml.SafeLoader.bool_values[text.lower()]
    if name not in ("int", "float"):
        return text
    if len(text) > _LONGEST_INTEGER:
        raise ParseError(f"a number of more than {_LONGEST_INTEGER:,} characters")
    construct = getattr(yaml.constructor.SafeConstructor(), f"construct_yaml_{name}")
    try:
        number = construct(yaml.ScalarNode(tag, text))
    except (ValueError, OverflowError):
        raise ParseError(f"{_shortened(text)} is not a number") from None
    if name == "int":
        return _integer(str(number), strict)
    if not math.isfinite(number):
        raise ParseError(f"{_shortened(text)} is not a finite number")
    if strict and not is_exact(_decimal_by_pyyaml(text), number):
        raise ParseError(rounding_problem(text, number))
    return number


def _decimal_by_pyyaml(text: str) -> str:
    """Return a float of YAML 1.1, which may have underscores or be in base 60, such as `1:30.5`, as a decimal."""
    text = text.replace("_", "")
    if ":" not in text:
        return text
    value = Decimal(0)
    with localcontext(prec=2 * len(text)):
        for part in text.lstrip("+-").split(":"):
            value = value * 60 + Decimal(part)
    return f"-{value}" if text.startswith("-") else str(value)


def _tagged(text: str, tag: str, strict: bool) -> Any:
    """Return the value of a scalar with a tag. Raises ParseError if the tag is not allowed or does not match."""
    name = tag.removeprefix(_CORE)
    if name == tag or name not in ("str", "int", "float", "bool", "null"):
        raise ParseError(f"the tag {_shortened(tag)} is not allowed here")
    if name == "str":
        return text
    if name == "int" and _INTEGER.fullmatch(text):
        return _integer(text, strict)
    if name == "float" and (_FLOAT.fullmatch(text) or _NOT_FINITE.fullmatch(text)):
        return _finite(text, strict)
    if name in ("bool", "null") and text in _WORDS and (name == "null") == (_WORDS[text] is None):
        return _WORDS[text]
    raise ParseError(f"{_shortened(text)} is not a valid {name}")


def _integer(text: str, strict: bool) -> int:
    if len(text) > _LONGEST_INTEGER:
        raise ParseError(f"an integer of more than {_LONGEST_INTEGER:,} digits")
    number = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if strict and not -(2**63) <= number < 2**64:
        raise ParseError(f"the integer {_shortened(text)} does not fit into 64 bits")
    return number


def _finite(text: str, strict: bool) -> float:
    # A number beyond the range of a float becomes infinity.
    if _NOT_FINITE.fullmatch(text) or (number := float(text)) in (float("inf"), float("-inf")):
        raise ParseError(f"{_shortened(text)} is not a finite number")
    if strict and not is_exact(text, number):
        raise ParseError(rounding_problem(text, number))
    return number


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "...")
