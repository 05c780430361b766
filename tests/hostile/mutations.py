"""Makes hostile documents out of good ones: damaged bytes, odd structures, and what YAML knows beyond JSON.

Everything comes from a `random.Random`, so that a seed makes the same documents again.
"""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

import yaml

from localstore.format.document import LAYOUTS

ID = b"doc-XX"
"""The session id of every document in a corpus; a document gets its own of the same length."""

_RAW = "RAWTOKEN"
"""Stands in a value for text that no serialiser would write."""
_DEEP = 10_000


class Mutant(NamedTuple):
    """A hostile document. `base` is the good one that it was made of; `well_formed`: a parser is meant to take it."""

    kind: str
    suffix: str
    base: bytes
    raw: bytes
    well_formed: bool


@dataclass(frozen=True)
class Corpus:
    """Good documents of one format."""

    suffix: str
    documents: tuple[bytes, ...]


def of_session(raw: bytes, suffix: str) -> bytes:
    """A good document with the id of the corpus."""
    pattern = rb'(?m)^  "session_id": .*?,$' if suffix == ".json" else rb"(?m)^session_id: .*$"
    line = b'  "session_id": "%s",' % ID if suffix == ".json" else b"session_id: %s" % ID
    changed, count = re.subn(pattern, lambda _: line, raw, count=1)
    assert count == 1, raw[:200]
    return changed


def mutant(rng: Random, corpus: Corpus, session_id: bytes) -> Mutant:
    """One hostile document for the session with this id, which has the length of `ID`."""
    kinds = _KINDS + (_YAML_KINDS if corpus.suffix == ".yaml" else ()) + _STRUCTURES
    kind = rng.choice(kinds)
    base = rng.choice(corpus.documents)
    raw = kind(rng, base, corpus)
    if kind not in _STRUCTURES and rng.random() < 0.15:  # two mistakes in one document
        kind = rng.choice(kinds)
        if kind not in _STRUCTURES:
            raw = kind(rng, raw, corpus)
    name = kind.__name__.strip("_")
    return Mutant(name, corpus.suffix, base.replace(ID, session_id), raw.replace(ID, session_id), kind in _STRUCTURES)


# Bytes


def _place(rng: Random, raw: bytes) -> int:
    """A place in the document: anywhere, or near its end, where writes are torn."""
    return max(0, len(raw) - rng.randrange(40)) if rng.random() < 0.3 else rng.randrange(len(raw) + 1)


def _flip_bits(rng: Random, raw: bytes, corpus: Corpus) -> bytes:
    changed = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 5, 30)) if changed else 0):
        changed[min(_place(rng, raw), len(changed) - 1)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _change_bytes(rng: Random, raw: bytes, corpus: Corpus) -> bytes:
    changed = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 10)) if changed else 0):
        changed[min(_place(rng, raw), len(changed) - 1)] = rng.choice((0, 9, 10, 13, 32, 34, 35, 39, 45, 58, 91, 92))
    return bytes(changed)


def _cut(rng: Random, raw: bytes, corpus: Corpus) -> bytes:
    return raw[: _place(rng, raw)]


def _cut_out(rng: Random, raw: bytes, corpus: Corpus) -> bytes:
    start = _place(rng, raw)
    return raw[:start] + raw[start + rng.choice((1, 2, 7, 50, 600)) :]


def _cut_and_fill(rng: Random, raw: bytes, corpus: Corpus) -> bytes:
    """As a power cut leaves a file: its size is there and its bytes are not."""
    start = _place(rng, raw)
    size = rng.choice((1, 3, 17, 512, len(raw) - start))
    return raw[:start] + b"\0" * size + raw[start + size :]


_INSERTED = (
    *(b"\0", b"\0" * 7, b"\0" * 4096, b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80"),
    *(b"\xef\xbb\xbf", b"\r", b"\r\n", b"\n", b"\t", b"\x1b[2J", b"\x7f", b"\xc2\x85", b"\xe2\x80\xa8"),
    *(b"\xe2\x80\xae", b"'", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"#", b" # note\n", b"//", b"/* */"),
    *(b"\n    }\n  ]\n}\n", b"\n    },\n    {\n", b'\n  "history": [\n', b"\n  ]\n}\n", b"\n...\n", b"\n---\n"),
    *(b"\n- ", b"\nhistory:\n", b"\nhistory: []\n...\n", b"\n- type: run\n", b"\n    {\n", b'"status": "unfinished"'),
    *(b"\n        }\n      ],\n", b"  status: unfinished\n...\n", b"a" * 70_000, b" " * 5000, b"\n" * 300),
)


def _insert(rng: Random, raw: bytes, corpus: Corpus) -> bytes:
    for _ in range(rng.choice((1, 1, 1, 3))):
        at = rng.choice((_place(rng, raw), 0, len(raw)))
        raw = raw[:at] + rng.choice(_INSERTED) + raw[at:]
    return raw


def _windows(rng: Random, raw: bytes, corpus: Corpus) -> bytes:
    how = rng.randrange(4)
    if how == 0:
        return raw.replace(b"\n", b"\r\n")
    if how == 1:
        return raw.replace(b"\n", b"\r")
    if how == 2:
        return b"\xef\xbb\xbf" + raw.replace(b"\n", b"\r\n")
    return raw.decode(errors="ignore").encode(rng.choice(("utf-16", "utf-16-le", "utf-32", "latin-1")), "replace")


def _stretch_blanks(rng: Random, raw: bytes, corpus: Corpus) -> bytes:
    """Change the indentation of some lines."""
    lines = raw.split(b"\n")
    for _ in range(rng.choice((1, 3, 20))):
        number = rng.randrange(len(lines))
        lines[number] = rng.choice((b" ", b"  ", b"\t", b"    ")) + lines[number]
        if rng.random() < 0.5:
            lines[number] = lines[number].lstrip(b" ")
    return b"\n".join(lines)


# Lines and blocks


def _lines(rng: Random, raw: bytes, corpus: Corpus) -> bytes:
    lines = raw.split(b"\n")
    for _ in range(rng.choice((1, 1, 2, 5))):
        start = rng.randrange(len(lines))
        end = min(len(lines), start + rng.choice((1, 1, 2, 3, 9)))
        block, other = lines[start:end], rng.randrange(len(lines))
        match rng.randrange(4):
            case 0:
                lines[other:other] = block
            case 1 if end - start < len(lines):
                del lines[start:end]
            case 2:
                lines[start], lines[other] = lines[other], lines[start]
            case _:
                lines[start:end] = reversed(block)
    return b"\n".join(lines)


def _splice(rng: Random, raw: bytes, corpus: Corpus) -> bytes:
    other = rng.choice(corpus.documents)
    match rng.randrange(4):
        case 0:
            return raw[: _place(rng, raw)] + other[_place(rng, other) :]
        case 1:
            return raw + other
        case 2:
            mine, theirs = raw.split(b"\n"), other.split(b"\n")
            return b"\n".join(mine[: rng.randrange(len(mine))] + theirs[rng.randrange(len(theirs)) :])
        case _:
            start, at = _place(rng, other), _place(rng, raw)
            return raw[:at] + other[start : start + rng.randrange(400)] + raw[at:]


def _torn_append(rng: Random, raw: bytes, corpus: Corpus) -> bytes:
    """What an append that was cut off leaves: old, new and zero bytes where the old end was, then part of an entry."""
    layout = LAYOUTS[corpus.suffix]
    entry = {"type": "run", "run_id": "torn", "created_at": "2026-11-22T07:01:20.130Z", "status": "completed"}
    new = layout.separator + layout.entry(entry) + layout.end
    keep = len(raw) - len(layout.end)
    mixed = bytes(rng.choice((old, fresh, 0)) for old, fresh in zip(layout.end, new, strict=False))
    beyond = new[len(layout.end) :]
    return raw[:keep] + mixed + rng.choice((beyond, beyond[: rng.randrange(len(beyond))], b"\0" * len(beyond)))


def _twice(rng: Random, raw: bytes, corpus: Corpus) -> bytes:
    """A line with a key, once more with something else behind the key."""
    lines = raw.split(b"\n")
    numbers = [number for number, line in enumerate(lines) if b": " in line]
    if not numbers:
        return raw
    number = rng.choice(numbers)
    key, _, value = lines[number].partition(b": ")
    changed = rng.choice((value, b"1", b'"x"', b"null")).rstrip(b",")
    lines.insert(number, key + b": " + changed + (b"," if corpus.suffix == ".json" else b""))
    return b"\n".join(lines)


_KINDS: tuple[Callable[[Random, bytes, Corpus], bytes], ...] = (
    *(_flip_bits, _flip_bits, _change_bytes, _cut, _cut, _cut_out, _cut_and_fill, _insert, _insert, _insert),
    *(_windows, _stretch_blanks, _lines, _lines, _twice, _splice, _torn_append),
)


# YAML


_YAML_PIECES = (
    *("&a ", "*a ", "&a *a", "!!str ", "!!int ", "!!binary ", "!!python/object/apply:os.system [id]", "!x ", "!<y> "),
    *("!!python/name:os.system ", "!!set ", "!!omap ", "!!timestamp ", "!!null ", "!!float ", "!!bool ", "! "),
    *("? ", "? [a, b]\n: ", "| ", "|2 ", "|9\n", "|+\n", ">-\n  ", "> ", "|0\n", "|1-\n x", "- ", "- - - ", "@", "`"),
    *("[", "]", "{", "}", "{a: b, c: [d]} ", "[a, [b, {c: d}]] ", "{a, b} ", '"', "'", "%", ",", "key: ", "key", ": "),
    *("2026-11-22 ", "2026-11-22T07:01:20Z ", "0o17 ", "017 ", "0x1F ", "0b1 ", "190:20:30 ", "1_000 ", "1e3 "),
    *(
        ".inf ",
        ".nan ",
        "~ ",
        "no ",
        "y ",
        "null ",
        "+1 ",
        "-0 ",
        "0.0 ",
        ".5 ",
        "1. ",
        "1e999 ",
        "123456789012345678901 ",
    ),
    *("# comment\n", " # comment", "\t", "\t# comment", "\n\t", "\n\n", "\n# comment\n", "\n  # comment\n"),
    *("\n---\n", "\n...\n", "\n--- a\n", "\n... # end\n", "%YAML 1.2\n---\n", "%YAML 3.0\n---\n", "%TAG ! x:\n---\n"),
    *("\n<<: {a: b}\n", "\n<<: *a\n", "\n? session_id\n: other\n", "\n? |\n  kind\n: team\n", '\n"kind": team\n'),
    *("\n'session_id': doc-XX\n", "\nhistory: [{type: note}]\n", "\nhistory: null\n", "\n  - type: note\n", "\n-\n"),
    *("\n- type: note\n", "\n- {type: note}\n", "\n-   type: note\n", "\n- - type: note\n", "\n- ? a\n  : b\n"),
)


def _yaml_piece(rng: Random, raw: bytes, corpus: Corpus) -> bytes:
    """Put a piece of YAML where a value, a line or a document begins."""
    places = [match.end() for match in re.finditer(rb": (?=\S)|- (?=\S)|\n", raw)] or [0]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.choice((0, rng.choice(places), rng.choice(places), rng.choice(places)))
        raw = raw[:at] + rng.choice(_YAML_PIECES).encode() + raw[at:]
    return raw


def _yaml_value(rng: Random, raw: bytes, corpus: Corpus) -> bytes:
    """Put a piece of YAML in the place of a value."""
    found = rng.choice(list(re.finditer(rb"(?m): (\S.*)$", raw)) or [None])
    if found is None:
        return raw
    return raw[: found.start(1)] + rng.choice(_YAML_PIECES).rstrip("\n").encode() + raw[found.end(1) :]


def _yaml_laughs(rng: Random, raw: bytes, corpus: Corpus) -> bytes:
    """Aliases that double with every line."""
    lines = ["a0: &a0 [lol, lol]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, rng.choice((3, 40))))]
    return "\n".join(lines).encode() + b"\n" + raw


def _yaml_comments(rng: Random, raw: bytes, corpus: Corpus) -> bytes:
    """Comments everywhere, also where they are none."""
    lines = []
    for line in raw.split(b"\n"):
        if rng.random() < 0.3:
            lines.append(rng.choice((b"", b"  ", b"    ", b"      ")) + b"# a comment")
        lines.append(line + rng.choice((b"", b"", b"", b" # behind", b"  # b: [", b" #", b"#c")))
    return b"\n".join(lines)


def _yaml_block(rng: Random, raw: bytes, corpus: Corpus) -> bytes:
    """A block scalar with an odd header and odd lines in the place of a value."""
    found = rng.choice(list(re.finditer(rb"(?m)^( *)(?:- )?[\w]+: (\S.*)$", raw)) or [None])
    if found is None:
        return raw
    header = rng.choice(
        ("|", ">", "|-", "|+", ">+", "|2", "|1", "|4-", "|-4", ">2-", "| # comment", "|10", "|\t", "||")
    )
    indent = len(found[1]) + rng.choice((0, 1, 2, 3, 4, 8))
    texts = (
        "text",
        "  more",
        "",
        "# no comment",
        "- item",
        "key: value",
        "\ttab",
        "...",
        "---",
        " ",
        "[",
        "'",
        "\u2028",
    )
    lines = [" " * rng.choice((indent, indent, indent, 0, 1)) + rng.choice(texts) for _ in range(rng.randrange(5))]
    return raw[: found.start(2)] + "\n".join([header, *lines]).encode() + raw[found.end(2) :]


def _yaml_flow(rng: Random, raw: bytes, corpus: Corpus) -> bytes:
    """The document in flow style, which is JSON or nearly so."""
    if b"*" in raw:
        return raw  # aliases may stand for very much
    try:
        value = yaml.load(raw, _OnlyText)  # noqa: S506 (a safe loader)
    except yaml.YAMLError:
        return raw  # damaged before
    text = json.dumps(value, indent=rng.choice((None, 1, 2)), ensure_ascii=rng.random() < 0.5)
    text = rng.choice((text, text.replace('"', "'"), re.sub(r'"(\w+)":', r"\1:", text), text.replace('": ', '":')))
    return text.encode() + rng.choice((b"", b"\n", b"\n...\n"))


def _yaml_deep(rng: Random, raw: bytes, corpus: Corpus) -> bytes:
    """Nesting by indentation and by compact sequences."""
    depth = rng.choice((100, 205, 300, 3000))
    deep = rng.choice(("- " * depth + "x", "{a: " * depth, "[" * depth + "]" * depth, "? " * depth + "x"))
    if depth <= 300 and rng.random() < 0.5:
        deep = "\n".join(" " * n + "a:" for n in range(1, depth))
    return raw.replace(b"history:", b"deep:\n " + deep.encode() + b"\nhistory:", 1)


_YAML_KINDS = (
    *(_yaml_piece, _yaml_piece, _yaml_piece, _yaml_value, _yaml_value, _yaml_laughs),
    *(_yaml_comments, _yaml_block, _yaml_block, _yaml_flow, _yaml_deep),
)


# Structure

_TEXTS = (
    *("", " ", "x" * 20_000, "\0", "\x1b[31m", "\u202e", "\ufeff", "e\u0301", "\u0130", "🚂" * 50, "\x85", "\u2028"),
    *(
        "no",
        "null",
        "~",
        "1e3",
        "12:30",
        "- a",
        "a: b",
        "# a",
        "...",
        "---",
        "\n...\n",
        "a\n    }\n  ]\n}\n",
        "\n- type: run\n",
    ),
    *(
        "2026-11-22",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00+14:00",
        "2026-11-22T07:01:20+01:00",
        "../../x",
        "C:\\x",
    ),
    *(
        "unfinished",
        "run",
        "update",
        "user",
        "=",
        "%s %n",
        "{}",
        "[bold]",
        "&a",
        "*a",
        "!!str",
        "|",
        ">",
        "@",
        "`",
        "'",
        '"',
    ),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 2**63, 2**64 - 1, -(2**63), 1.0, 0.5, -0.0, 1e308, 5e-324, 1e22, [], {}, [[]]),
    *([None], [1, "a", None], {"a": 1}, {"": ""}, {"a": {"b": [{}]}}, ["a"], [{"type": "text", "text": "t"}], [{}]),
)
_RAW_JSON = (
    *("1e999", "-1e999", "NaN", "Infinity", "18446744073709551616", "9" * 400, "9" * 5000, "-9223372036854775809"),
    *("1.", ".5", "01", "+1", "0x1F", "1E400", '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude82"', '"\\u0000"'),
    *("1" + "0" * 400 + ".0", "1e-999", "0." + "1" * 3000, "tRue", "null null", '"a" "b"', "{]", "[1,]", "{,}", "'a'"),
    *(
        '{"a": 1, "a": 2}',
        '{"a": 1, "\\u0061": 2}',
        "[" * 150 + "]" * 150,
        "[" * 260 + "]" * 260,
        "[" * 600 + "]" * 600,
    ),
    *("[" * _DEEP + "]" * _DEEP, '{"a":' * _DEEP + "1" + "}" * _DEEP, "[" * _DEEP, '{"a":' * 205 + "1" + "}" * 205),
)
_SPECIAL: dict[str, tuple[Any, ...]] = {
    "schema_version": (0, 2, -1, "1", 1.0, True, None, 10**30, [1], 99),
    "session_id": ("", None, 7, "doc-00", "doc-01", "doc-02", "other", "x" * 5000, "\0", ["doc-XX"], {}, "DOC-XX"),
    "kind": ("team", "workflow", "robot", "", None, 1, ["agent"]),
    "created_at": ("", None, 5, "yesterday", "2026-11-22", "0000-00-00T00:00:00Z", {}),
    "history": (None, {}, [], "run", [None], [[]], ["x"], [{}], {"type": "run"}, 0, False),
    "type": (None, 1, "", "note", "update", "Run", [], "run\n"),
    "run_id": (None, 1, "", "r1", ["r1"], "x" * 3000, "\n", "unfinished"),
    "messages": (None, {}, "hi", [None], [{}], [{"role": 1}], [{"role": "user", "content": 5}], [[]], [{"role": None}]),
    "status": (None, 1, "unfinished", "completed", [], "", "unfinished\n"),
    "metrics": ([], "x", {"input_tokens": "many"}, {"input_tokens": 1.5}, {"duration_seconds": "1"}, None),
    "tags": (None, "a", [1], ["a", None], {}, [[]], ["a"] * 500),
    "tool_calls": ([{}], [None], "x", [{"name": 1}], [{"name": "n", "arguments": []}], [{"name": "n", "arguments": 1}]),
    "arguments": (None, 1, [], "text", {"a": None}, True),
    "member_runs": (None, [], [{}], "x", [{"type": "update"}], [None], {}),
    "steps": (None, [], [{}], "x", [{"name": 1}], [None], {}),
    "session_state": (None, [], "x", {}, {"a": None}, 1),
    "$schema": (None, 1, {}, "https://example.org/x.json"),
}


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in the value: what holds it, and its key or index there."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        current = waiting.pop()
        pairs = current.items() if isinstance(current, dict) else enumerate(current)
        for key, child in list(pairs):
            found.append((current, key))
            if isinstance(child, (dict, list)) and child:
                waiting.append(child)
    return found


def _chosen(rng: Random, values: tuple[Any, ...]) -> Any:
    """One of them that nobody else holds, so that a seed makes the same documents again."""
    return deepcopy(rng.choice(values))


def _change_value(rng: Random, document: dict[str, Any], raws: list[str]) -> None:
    holder, key = rng.choice(_places(document))
    match rng.randrange(8):
        case 0 | 1 if isinstance(key, str) and key in _SPECIAL:
            holder[key] = _chosen(rng, _SPECIAL[key])
        case 2 if isinstance(holder, dict):
            del holder[key]
        case 3 if isinstance(holder, dict):
            holder[
                rng.choice((*_TEXTS[:20], "x" * 1100, "history", "type", "status", "$schema", "__class__", "<<"))
            ] = _chosen(rng, _VALUES)
        case 4:
            raws.append(rng.choice(_RAW_JSON))
            holder[key] = f"{_RAW}{len(raws) - 1}X"
        case 5:
            holder[key] = rng.choice(_TEXTS)
        case 6 if isinstance(holder, list):
            holder.insert(rng.randrange(len(holder) + 1), json.loads(json.dumps(rng.choice(holder))))
        case 7 if names := [name for name in document if name in _SPECIAL]:
            name = rng.choice(names)
            document[name] = _chosen(rng, _SPECIAL[name])
        case _:
            holder[key] = _chosen(rng, _VALUES)


def _changed(rng: Random, raw: bytes, suffix: str) -> tuple[dict[str, Any], list[str]]:
    document = json.loads(raw) if suffix == ".json" else yaml.load(raw, _OnlyText)  # noqa: S506 (a safe loader)
    raws: list[str] = []
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if not document:
            break
        _change_value(rng, document, raws)
    if rng.random() < 0.1:  # another order
        names = list(document)
        rng.shuffle(names)
        document = {name: document[name] for name in names}
    return document, raws


class _OnlyText(yaml.CSafeLoader):
    """Times stay text."""


_OnlyText.yaml_implicit_resolvers = {
    char: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for char, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _structure(rng: Random, raw: bytes, corpus: Corpus) -> bytes:
    """Change the value behind the document, and write it out again in one layout or another."""
    document, raws = _changed(rng, raw, corpus.suffix)
    text = _in_our_layout(document, corpus.suffix) if rng.random() < 0.6 else None
    if text is None:
        if corpus.suffix == ".yaml" and rng.random() < 0.6:
            text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=10_000)
        else:
            text = json.dumps(document, indent=rng.choice((None, 2, 4)), ensure_ascii=rng.random() < 0.5)
    for number, piece in enumerate(raws):
        token = f"{_RAW}{number}X"
        text = text.replace(f'"{token}"', piece).replace(token, piece)
    return text.encode("utf-8", "surrogatepass")


def _in_our_layout(document: dict[str, Any], suffix: str) -> str | None:
    header = {key: value for key, value in document.items() if key not in ("$schema", "history")}
    history = document.get("history")
    if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
        return None
    layout = LAYOUTS[suffix]
    try:
        return layout.assemble(layout.head(header), [layout.entry(entry) for entry in history]).decode()
    except (TypeError, ValueError):  # beyond what the serialiser takes
        return None


_STRUCTURES: tuple[Callable[[Random, bytes, Corpus], bytes], ...] = (_structure,) * 10
