"""The YAML layout: any YAML parser reads it, and entries can be cut out at the lines in column 0."""

from typing import Any

import pytest
import yaml
import yaml12

from localstore.format.parse_error import ParseError
from localstore.format.yaml_layout import LAYOUT as YAML

HEADER = {"schema_version": 1, "session_id": "no", "kind": "agent", "metadata": {"history": [{"a": "- b\n...\n"}]}}
TRAPS = ["- a\n- b\n", "\n- a", "...\n", "history:\n- x", "# no comment", "a\n# b", "yes", "12:30", "a\n\n", " \n"]


def entry(run_id: str, **more: Any) -> dict[str, Any]:
    return {"type": "run", "run_id": run_id, "messages": [{"role": "user", "content": "hi"}], **more}


ENTRIES = [entry("r1", texts=TRAPS), {"type": "note", **{text: text for text in TRAPS}}, entry("r2", status="done")]


def test_a_document_reads_back_and_is_cut_at_its_entry_lines() -> None:
    pieces = [YAML.entry(item) for item in ENTRIES]
    raw = YAML.assemble(YAML.head(HEADER), pieces)
    for document in (yaml.safe_load(raw), yaml12.parse_yaml(raw.decode())):
        assert document == {**HEADER, "history": ENTRIES}
        assert list(document)[-1] == "history"
    starts = YAML.entry_starts(raw, raw.find(YAML.opening) + len(YAML.opening))
    for count in range(len(ENTRIES) + 2):
        assert YAML.last_entry_starts(raw, count) == starts[max(0, len(starts) - count) :]
    assert [raw[start : YAML.entry_end(raw, start)] for start in starts] == pieces
    assert [YAML.parse_entry(piece) for piece in pieces] == ENTRIES


def test_a_document_looks_as_people_expect() -> None:
    raw = YAML.assemble(YAML.head({"session_id": "s1"}), [YAML.entry({"type": "a", "x": ["tea"]})])
    assert raw.decode() == (
        "# yaml-language-server: $schema=../../schemas/session-1.schema.json\n"
        "session_id: s1\n"
        "history:\n"
        "- type: a\n"
        "  x:\n"
        "    - tea\n"
        "...\n"
    )
    assert raw.endswith(YAML.closing)


def test_a_document_without_entries_ends_in_an_empty_list() -> None:
    raw = YAML.assemble(YAML.head(HEADER), [])
    assert raw.endswith(b"\nhistory: []\n...\n")
    assert yaml.safe_load(raw)["history"] == []


def test_an_unfinished_run_ends_in_constant_bytes() -> None:
    raw = YAML.assemble(YAML.head(HEADER), [YAML.entry(entry("r1", status="unfinished"))])
    assert raw.endswith(YAML.closing_after_list)


def test_the_header_parses_alone() -> None:
    assert YAML.parse_head(YAML.head(HEADER)) == {**HEADER, "history": None}


@pytest.mark.parametrize("run_id", ["0f8c5a52-7c3e", "run_1", "7eb"])
def test_the_run_id_is_found_without_parsing(run_id: str) -> None:
    assert YAML.run_id(YAML.entry(entry(run_id))) == run_id


@pytest.mark.parametrize("run_id", ["no", "12", "1e3", "a: b", "é", "null", "true", "0x1f", "1_000"])
def test_a_quoted_or_unusual_run_id_is_found_correctly_or_not_at_all(run_id: str) -> None:
    assert YAML.run_id(YAML.entry(entry(run_id))) in (None, run_id)
    assert YAML.parse_entry(YAML.entry(entry(run_id)))["run_id"] == run_id


@pytest.mark.parametrize("end", [b"- next", b"...\n", b"\0\0\0"])
def test_an_entry_ends_at_the_next_line_in_column_0_or_at_nul(end: bytes) -> None:
    piece = YAML.entry(entry("r1", text="a\n\n- b\n"))
    raw = piece + end
    assert raw[: YAML.entry_end(raw, 0)].strip(b"\0") == piece.strip(b"\0")
    assert YAML.entry_end(piece, 0) == -1


@pytest.mark.parametrize("raw", [b"- a: 1\n- b: 2\n", b"a: 1\n", b"- [\n", b""])
def test_bytes_that_are_not_exactly_one_entry_are_refused(raw: bytes) -> None:
    with pytest.raises(ParseError):
        YAML.parse_entry(raw)


def test_numbers_that_a_rewrite_would_round_are_refused() -> None:
    assert YAML.parse(b"a: 18446744073709551616\n")
    with pytest.raises(ParseError, match="64 bits"):
        YAML.parse_strict(b"a: 18446744073709551616\n")
    with pytest.raises(ParseError, match="twice"):
        YAML.parse_strict(b"a: 1\na: 2\n")
