"""The YAML writer: YAML 1.1 and YAML 1.2 parsers read the same values from its output."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
import yaml12
from hypothesis import given, settings
from hypothesis import strategies as st

from localstore.format import yaml_reader, yaml_writer
from tests.effort import rounds

Value = Any

# PyYAML reads YAML 1.1, twice over; py-yaml12 and our own reader read YAML 1.2.
READERS: dict[str, Callable[[str], Value]] = {
    "PyYAML": lambda text: yaml.load(text, Loader=yaml.SafeLoader),
    "PyYAML with libyaml": lambda text: yaml.load(text.encode(), Loader=yaml.CSafeLoader),
    "py-yaml12": lambda text: yaml12.parse_yaml(text),
    "localstore": lambda text: yaml_reader.load(text.encode(), strict=True),
}

# Pieces that mean something to a YAML parser, so that a few of them make a trap.
PIECES = [
    *" \n\t:#-?!&*[]{},|>%@`'\"\\~=<.+_019eExobTZay/$(^;",
    *"\x00\x1b\x7f\x85\xa0\u2028\u2029\u200b\u3000\ufeff\uffff\ud7ff\ue000é😀ſ",
    *("- ", ": ", " #", "---", "...", "\n\n", "\r\n", "no", "true", "null", "inf", "nan", "<<", "12:30", "\n...\n"),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=10).map("".join) | st.text(max_size=30)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    TEXTS | NUMBERS | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
ENTRIES = st.dictionaries(TEXTS, VALUES, max_size=5)

HOSTILE = [
    *("", " ", "  ", "\t", "\n", "\n\n", "\r", "\r\n", " \n", "\n ", "\n\n  \n", "\t\n", "\n\t", "~", "null", "Null"),
    *("y", "Y", "n", "N", "yes", "No", "NO", "on", "Off", "true", "True", "FALSE", "tRUE", "nULL"),
    *("0", "-0", "+1", "1", "089", "007", "0o7", "0O7", "0x1F", "0X1f", "0b1", "0B1", "1_000", "1,000", "_1", "1__2"),
    *(".5", "5.", "-.5", "1.", "1e3", "1E3", "1e+3", "1.0e+22", "1e", "e1", ".", "..", "1.2.3", "127.0.0.1", "+", "-"),
    *(".inf", "-.inf", "+.INF", ".Inf", ".nan", ".NaN", ".NAN", "nan", "inf", "Infinity", "NaN"),
    *("12:30", "1:60", "190:20:30", "190:20:30.15", "12:30:45", "-1:30", "1:2:3:4", "::", "1:"),
    *("2026-11-22", "2026-1-2", "2026-11-22T07:01:20.130Z", "2026-11-22 07:01:20", "2026-11-22t07:01:20 +1:00"),
    *("...", "---", "--- a", "... a", "- x", "-x", "-", "--", "? x", "?x", "?", ": x", ":x", ":", "a:", "a: b", "a:b"),
    *("a #b", "a#b", "#a", "a\t#b", "a:\tb", "a\tb", "\ta", "a\t", " a", "a ", "a :b", "a : b", "a\xa0#b", "a:\xa0b"),
    *("<<", "=", "<", "<<<", "<a>", "&a", "*a", "!a", "!", "!!str a", "%YAML 1.2", "%a", "@a", "`a`", "|", ">", "|-"),
    *(
        "[",
        "]",
        "{",
        "}",
        ",",
        "[a]",
        "{a: b}",
        "a, b",
        "a]",
        "a}",
        '{"a": "it\'s"}',
        "'",
        '"',
        "''",
        "'a'",
        '"a"',
        "a'b",
    ),
    *(
        "\\",
        "\\n",
        "C:\\new\\x",
        "a\\",
        '\\"',
        "a\x00b",
        "a\x1bb",
        "a\x7fb",
        "a\x85b",
        "a\u2028b",
        "a\u2029\nb",
        "\ufeffa",
    ),
    *(
        "\ufffe",
        "\uffff",
        "\xa0a\xa0",
        "\u3000",
        "\u200b",
        "é",
        "😀",
        "日本語: x",
        "“quoted”",
        "—",
        "\u202ea",
        "a\xadb",
    ),
    *("a\nb", "a\nb\n", "a\nb\n\n", "a\n\n\nb\n\n\n", "\na", "\n\na", "\n a", "\n\ta", " a\nb", "  a\n b\nc", "\ta\nb"),
    *(
        "a\n b",
        "a\n  ",
        "a \nb ",
        "a\n\t",
        "a\n\n ",
        "a\n...\nb",
        "...\n",
        "---\na",
        "- a\n- b",
        "a: b\nc: d",
        "# a\n# b",
    ),
    *(
        "a\n# b",
        "a\rb\n",
        "a\r\nb",
        "a\x00\nb",
        "%TAG\n%TAG",
        "|\n",
        "a\n- type: run\n",
        "history:\n- x\n...\n",
        "\xa0\n\xa0",
    ),
]


def document(entries: list[dict[str, Value]]) -> str:
    return "history:\n" + "".join(map(yaml_writer.item, entries)) + "...\n"


def check(text: str, expected: Value) -> None:
    """Check that every parser reads `text` as `expected`, including types, order and the sign of zero."""
    for name, read in READERS.items():
        assert repr(read(text)) == repr(expected), name


def value_as_text(value: Value) -> str:
    """Return the text after the key."""
    return yaml_writer.mapping({"k": value}).removeprefix("k:").removeprefix(" ").removesuffix("\n")


@settings(max_examples=rounds(24, 120, 1200), deadline=None)
@given(st.lists(ENTRIES, min_size=1, max_size=3))
def test_entries_read_back_as_they_were(entries: list[dict[str, Value]]) -> None:
    check(document(entries), {"history": entries})


@settings(max_examples=rounds(10, 50, 500), deadline=None)
@given(ENTRIES, st.integers(0, 3))
def test_a_mapping_reads_back_at_every_indentation(value: dict[str, Value], depth: int) -> None:
    text = yaml_writer.mapping(value, depth * 2)
    expected: Value = value
    for level in reversed(range(depth)):
        text = " " * (level * 2) + "around:\n" + text
        expected = {"around": expected}
    check(text, expected)


@settings(max_examples=rounds(24, 120, 1200), deadline=None)
@given(ENTRIES)
def test_only_the_first_line_of_an_entry_stands_in_column_0(entry: dict[str, Value]) -> None:
    text = yaml_writer.item(entry)
    assert text.endswith("\n")
    first, *others = text.split("\n")
    assert first.startswith("- ")
    assert all(line == "" or line.startswith("  ") for line in others)


@settings(max_examples=rounds(12, 60, 600), deadline=None)
@given(st.lists(ENTRIES, min_size=1, max_size=4))
def test_cutting_at_the_entry_lines_gives_the_entries(entries: list[dict[str, Value]]) -> None:
    body = "".join(map(yaml_writer.item, entries))
    pieces = re.split(r"(?m)^(?=- )", body)[1:]
    assert pieces == list(map(yaml_writer.item, entries))
    assert not re.search(r"(?m)^\.\.\.", body)
    assert [yaml_reader.load(piece.encode()) for piece in pieces] == [[entry] for entry in entries]


def test_hostile_texts_read_back_as_themselves() -> None:
    entry = {"values": HOSTILE, "by_name": {f"k{number}": text for number, text in enumerate(HOSTILE)}}
    check(
        document([entry, {"nested": [[text] for text in HOSTILE]}]),
        {"history": [entry, {"nested": [[t] for t in HOSTILE]}]},
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_reads_back_alone_as_value_and_as_key(text: str) -> None:
    check(document([{text: text}]), {"history": [{text: text}]})
    check(yaml_writer.mapping({text: [text, {text: text}]}), {text: [text, {text: text}]})


@pytest.mark.parametrize(
    "text", ["word", "two words", "0f8c5a52-7c3e-4c41", "3 apples", "a:b", "http://a.b/c?d=e#f", "é", "😀 yes"]
)
def test_an_ordinary_text_stands_without_quotes(text: str) -> None:
    assert value_as_text(text) == text


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("no", '"no"'),
        ("12:30", '"12:30"'),
        ("a\tb", '"a\\tb"'),
        ('é "a"\u2028', '"é \\"a\\"\\u2028"'),
        ('{"n": 1}', "'{\"n\": 1}'"),
        ("a\u2028\nb", '"a\\u2028\\nb"'),
        (1e22, "1.0e+22"),
        (1e-7, "1.0e-07"),
        (-0.0, "-0.0"),
        (2**64 - 1, "18446744073709551615"),
        (None, "null"),
        (True, "true"),
        ({}, "{}"),
        ([], "[]"),
        ("a\nb", "|-\n  a\n  b"),
        ("a\nb\n", "|\n  a\n  b"),
        ("a\n\nb\n\n", "|+\n  a\n\n  b\n"),
        ("\ta\t\n b ", "|2-\n  \ta\t\n   b "),
        ("\n a", "|2-\n\n   a"),
    ],
)
def test_values_are_written_in_one_way(value: Value, written: str) -> None:
    assert value_as_text(value) == written


def test_an_entry_is_laid_out_as_a_person_would_type_it() -> None:
    entry = {
        "type": "run",
        "messages": [{"role": "user", "content": "Hello\nthere\n"}, {"role": "assistant", "content": "Hi"}],
        "session_state": {"cart": {"items": ["tea", 2], "grid": [[1, 2], []]}},
        "error": None,
    }
    assert yaml_writer.item(entry) == (
        "- type: run\n"
        "  messages:\n"
        "    - role: user\n"
        "      content: |\n"
        "        Hello\n"
        "        there\n"
        "    - role: assistant\n"
        "      content: Hi\n"
        "  session_state:\n"
        "    cart:\n"
        "      items:\n"
        "        - tea\n"
        "        - 2\n"
        "      grid:\n"
        "        - - 1\n"
        "          - 2\n"
        "        - []\n"
        "  error: null\n"
    )


def test_empty_mappings_keep_their_place() -> None:
    assert yaml_writer.item({}) == "- {}\n"
    assert yaml_writer.mapping({}, 4) == "    {}\n"


def test_a_long_line_is_never_folded() -> None:
    text = "word " * 50_000 + "end"
    assert yaml_writer.item({"k": text}).count("\n") == 1
    check(
        document([{"k": text, "q": text + ":", "s": text + '"'}]),
        {"history": [{"k": text, "q": text + ":", "s": text + '"'}]},
    )


@pytest.mark.parametrize("key", ["k" * 990, "k" * 1100, "no\n" * 700, '"' * 600, "é" * 1020, "😀" * 5000])
def test_a_key_of_any_length_reads_back(key: str) -> None:
    value = {key: 1, "b": {key: {key: "a\nb\n", "c": [{key: [1]}]}}, "d": {key: {}}}
    check(document([value, value]), {"history": [value, value]})
    check(yaml_writer.mapping(value), value)


def test_the_largest_integers_read_back() -> None:
    # py-yaml12 knows signed 64-bit integers only and makes a float of those above, so it is no judge here.
    entry = {"low": -(2**63), "high": 2**64 - 1}
    for name in ("PyYAML", "PyYAML with libyaml", "localstore"):
        assert READERS[name](document([entry])) == {"history": [entry]}


def test_the_deepest_value_reads_back() -> None:
    value: Value = "a\n b\n"
    for level in range(200):
        value = {"k": value} if level % 3 else [value, value if level < 4 else 1]
    check(document([{"k": value}]), {"history": [{"k": value}]})


def test_a_value_that_is_not_plain_is_refused() -> None:
    with pytest.raises(TypeError, match="takes JSON values only, not set"):
        yaml_writer.item({"k": {1}})
