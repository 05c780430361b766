"""The JSON layout: any JSON parser reads it, and entries can be cut out at lines that have no other meaning."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localstore.format.json_layout import LAYOUT as JSON
from localstore.format.json_layout import parse
from localstore.format.parse_error import ParseError
from localstore.format.values import MAX_INTEGER, MIN_INTEGER

HEADER = {"schema_version": 1, "session_id": "s1", "kind": "agent", "metadata": {"history": [{"a": [{}]}]}}
TRAPS = ["\n    {\n", "\n    }", '"', "\\", "\n  ]\n}\n", '  "history": [\n', "\u2028", "\0", "é😀"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(MIN_INTEGER, MAX_INTEGER) | st.sampled_from(TRAPS) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.sampled_from(TRAPS), inner, max_size=3)
    ),
    max_leaves=10,
)
ENTRIES = st.lists(st.dictionaries(st.text(min_size=1, max_size=5), VALUES, min_size=1, max_size=4), max_size=4)


def entry(run_id: str, **more: Any) -> dict[str, Any]:
    return {"type": "run", "run_id": run_id, "messages": [{"role": "user", "content": "hi"}], **more}


@given(ENTRIES)
def test_a_document_reads_back_and_is_cut_at_its_entry_lines(entries: list[dict[str, Any]]) -> None:
    pieces = [JSON.entry(item) for item in entries]
    raw = JSON.assemble(JSON.head(HEADER), pieces)
    document = json.loads(raw)
    assert document.pop("$schema") == "../../schemas/session-1.schema.json"
    assert document == {**HEADER, "history": entries}
    assert list(document)[-1] == "history"
    starts = JSON.entry_starts(raw, raw.find(JSON.opening) + len(JSON.opening)) if entries else []
    for count in range(len(entries) + 2):
        assert JSON.last_entry_starts(raw, count) == starts[max(0, len(starts) - count) :]
    assert [raw[start : JSON.entry_end(raw, start)] for start in starts] == pieces
    assert [JSON.parse_entry(piece) for piece in pieces] == entries


def test_a_document_looks_as_people_expect() -> None:
    raw = JSON.assemble(
        JSON.head({"session_id": "s1"}), [JSON.entry({"type": "a", "x": []}), JSON.entry({"type": "b"})]
    )
    assert raw.decode() == (
        "{\n"
        '  "$schema": "../../schemas/session-1.schema.json",\n'
        '  "session_id": "s1",\n'
        '  "history": [\n'
        "    {\n"
        '      "type": "a",\n'
        '      "x": []\n'
        "    },\n"
        "    {\n"
        '      "type": "b"\n'
        "    }\n"
        "  ]\n"
        "}\n"
    )
    assert raw.endswith(JSON.closing)


def test_a_document_without_entries_ends_in_an_empty_list() -> None:
    raw = JSON.assemble(JSON.head(HEADER), [])
    assert raw.endswith(b'\n  "history": []\n}\n')
    assert json.loads(raw)["history"] == []


def test_an_unfinished_run_ends_in_constant_bytes() -> None:
    raw = JSON.assemble(JSON.head(HEADER), [JSON.entry(entry("r1", status="unfinished"))])
    assert raw.endswith(JSON.closing_after_list)


def test_the_header_parses_alone() -> None:
    assert JSON.parse_head(JSON.head(HEADER)) | {"$schema": ""} == {**HEADER, "$schema": "", "history": []}


def test_the_run_id_is_found_without_parsing() -> None:
    assert JSON.run_id(JSON.entry(entry("r-1 é"))) == "r-1 é"
    assert JSON.run_id(JSON.entry(entry('r"1'))) is None
    assert JSON.run_id(JSON.entry({"type": "update", "run_id": "x"})) is None
    assert JSON.run_id(JSON.entry({"run_id": "x", "type": "run"})) is None


def test_an_entry_without_an_end_is_not_cut() -> None:
    assert JSON.entry_end(JSON.entry(entry("r1"))[:-1], 0) == -1


@pytest.mark.parametrize(
    ("raw", "line", "column"),
    [
        (b'{\n  "a": 1,\n  "b" 2\n}', 3, 7),
        (b'{\n  "a": "\xff"\n}', 2, 9),
        (b"", 1, 1),
        (b'{"a": NaN}', 1, 7),
    ],
)
def test_invalid_json_is_refused_with_line_and_column(raw: bytes, line: int, column: int) -> None:
    with pytest.raises(ParseError) as caught:
        parse(raw)
    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' appears twice"),
        ('{"x": [{"a": 1, "a": 1}]}', "the key 'a' appears twice"),
        ('{"a": 18446744073709551616}', "beyond 64 bits"),
        ('{"a": [-9223372036854775809]}', "beyond 64 bits"),
        ('{"a": %s}' % ("9" * 5000), "beyond 64 bits"),
        ('{"a": 1e999}', "beyond 64 bits"),
        ('{"a": 3.14159265358979323846}', "would be rounded to 3.141592653589793;"),
        ('{"a": [-0.12345678901234567]}', "rounded"),
        ('{"a": 9007199254740993.0}', "rounded"),
        ('{"a": 1e-400}', "would be rounded to 0.0"),
        ('{"a": 1e-99999999999999999999}', "rounded"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ("[" * 400 + "]" * 400, "nested too deeply"),
    ],
    ids=lambda text: text[:20],
)
def test_values_that_a_rewrite_would_drop_or_round_are_refused(text: str, problem: str) -> None:
    with pytest.raises(ParseError, match=problem):
        JSON.parse_strict(text.encode())


def test_a_number_that_would_be_rounded_is_refused_with_its_line_and_column() -> None:
    """The error had no position. The same digits in a text, or with a sign, are not the number."""
    raw = b'{"a": "3.14159265358979323846, \\" ",\n "b": -3.14159,\n "\xc3\xbc": [3.14159265358979323846]}'
    with pytest.raises(ParseError) as caught:
        JSON.parse_strict(raw)
    assert (caught.value.line, caught.value.column) == (3, 8)


@pytest.mark.parametrize(
    "text", ["1.10", "1e3", "1E-7", "-0.0", "0.30000000000000004", "1.7976931348623157e308", "5e-324"]
)
def test_a_decimal_that_denotes_the_same_number_is_accepted(text: str) -> None:
    assert JSON.parse_strict(b'{"a": %s}' % text.encode()) == {"a": float(text)}


def test_values_that_a_rewrite_keeps_are_accepted() -> None:
    text = '\ufeff{"a": 18446744073709551615, "b": -9223372036854775808, "c": 1.5, "d": {"a": null}}'
    assert JSON.parse_strict(text.encode()) == json.loads(text.removeprefix("\ufeff"))


def test_a_whole_document_is_its_head_and_its_entries() -> None:
    header = {"session_id": "s", "metadata": {"a": [], "b": {}}}
    messages = [{"role": "user", "content": "hi\n"}]
    history: list[dict[str, Any]] = [{"type": "run", "messages": messages}, {"type": "update"}]
    for count in (0, 2):
        entries = history[:count]
        parts = JSON.assemble(JSON.head(header), [JSON.entry(entry) for entry in entries])
        assert JSON.document(header, entries) == parts
