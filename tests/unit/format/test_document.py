"""Documents are parsed in any layout, checked, and rewritten in our layout; errors name the line."""

import json
import re
import tracemalloc
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from localstore import DocumentBroken, NewerFormat
from localstore.format.document import (
    LAYOUTS,
    Layout,
    normalise,
    order_header,
    parse_document,
    parse_for_reading,
    run_id_and_state,
)
from localstore.format.json_layout import LAYOUT as JSON
from localstore.format.yaml_layout import LAYOUT as YAML
from tests.effort import rounds

HEADER = {"schema_version": 1, "session_id": "s1", "kind": "agent", "created_at": "2026-11-22T07:01:20.123Z"}


def run(run_id: str, **more: Any) -> dict[str, Any]:
    message = {"role": "user", "content": "two\nlines"}
    return {"type": "run", "run_id": run_id, "created_at": "2026-11-22T07:01:20.123Z", "messages": [message], **more}


ENTRIES = [run("r1", status="completed"), {"type": "note", "x": None}, run("r2", status="unfinished")]


@pytest.fixture(params=LAYOUTS.values(), ids=["json", "yaml"])
def layout(request: pytest.FixtureRequest) -> Layout:
    chosen: Layout = request.param
    return chosen


def written(layout: Layout, header: dict[str, Any] = HEADER, entries: list[dict[str, Any]] = ENTRIES) -> bytes:
    return layout.assemble(layout.head(header), [layout.entry(entry) for entry in entries])


def test_a_document_in_our_layout_is_cut_at_its_entry_lines(layout: Layout) -> None:
    raw = written(layout)
    parsed = parse_document(raw, layout, "file")
    assert parsed.in_layout
    assert (parsed.header, parsed.entries) == (HEADER, ENTRIES)
    assert parsed.slices() == [layout.entry(entry) for entry in ENTRIES]
    assert layout.assemble(parsed.head, parsed.slices()) == raw


def test_a_document_without_entries_is_in_our_layout(layout: Layout) -> None:
    parsed = parse_document(written(layout, entries=[]), layout, "file")
    assert parsed.in_layout
    assert (parsed.header, parsed.entries, parsed.starts) == (HEADER, [], [])
    assert layout.assemble(parsed.head, [layout.entry(entry) for entry in ENTRIES]) == written(layout)


DOCUMENT = {**HEADER, "history": ENTRIES}
BY_OTHERS: dict[str, tuple[Layout, bytes]] = {
    "json on one line": (JSON, json.dumps(DOCUMENT).encode()),
    "json indented by four": (JSON, json.dumps(DOCUMENT, indent=4).encode()),
    "json with tabs": (JSON, json.dumps(DOCUMENT, indent="\t").encode()),
    "json with CRLF": (JSON, written(JSON).replace(b"\n", b"\r\n")),
    "json with a byte order mark": (JSON, b"\xef\xbb\xbf" + written(JSON)),
    "json with history first": (JSON, json.dumps({"history": ENTRIES, **HEADER}, indent=2).encode()),
    "json without a newline at the end": (JSON, written(JSON)[:-1]),
    "json with blanks at the end": (JSON, written(JSON) + b"\n\n"),
    "json with a key after history": (JSON, json.dumps({**DOCUMENT, "kind": "agent"}, indent=2).encode()),
    "json with one entry on one line": (
        JSON,
        written(JSON).replace(JSON.entry(ENTRIES[1]), b"    " + json.dumps(ENTRIES[1]).encode()),
    ),
    "json with a line inside that looks like an end": (
        JSON,
        written(JSON).replace(b'"x": null', b'"x": {\n    }').replace(b"{\n    }\n    }", b'{\n    },\n"y": 1\n    }'),
    ),
    "yaml by PyYAML": (YAML, yaml.safe_dump(DOCUMENT).encode()),
    "yaml in one line": (YAML, json.dumps(DOCUMENT).encode()),
    "yaml with CRLF": (YAML, written(YAML).replace(b"\n", b"\r\n")),
    "yaml with a byte order mark": (YAML, b"\xef\xbb\xbf" + written(YAML)),
    "yaml without the end marker": (YAML, written(YAML).removesuffix(b"...\n")),
    "yaml with the history indented": (
        YAML,
        re.sub(rb"(?m)^(?=- |  )", b"  ", written(YAML)),
    ),
    "yaml with a key after history": (YAML, written(YAML).replace(b"\n...\n", b"\nkind2: x\n...\n")),
}


@pytest.mark.parametrize("name", BY_OTHERS)
def test_a_document_in_another_layout_is_the_same_session(name: str) -> None:
    layout, raw = BY_OTHERS[name]
    parsed = parse_document(raw, layout, "file")
    assert not parsed.in_layout
    assert {key: parsed.header[key] for key in HEADER} == HEADER
    expected = (
        ENTRIES if "looks like an end" not in name else [ENTRIES[0], {"type": "note", "x": {}, "y": 1}, ENTRIES[2]]
    )
    assert parsed.entries == expected
    normal = normalise(parsed, "file")
    assert normal.in_layout
    assert (normal.header, normal.entries) == (parsed.header, parsed.entries)
    assert not normal.raw.startswith(b"\xef\xbb\xbf")
    assert b"\r" not in normal.raw


def test_a_document_without_a_history_has_no_entries(layout: Layout) -> None:
    histories: list[dict[str, Any]] = [{}, {"history": None}, {"history": []}]
    for history in histories:
        raw = json.dumps({**HEADER, **history}).encode()
        assert parse_document(raw, layout, "file").entries == []


def test_comments_between_entries_do_not_leave_the_layout() -> None:
    raw = (
        written(YAML).replace(b"history:\n", b"history:\n# first\n").replace(b"- type: note", b"# second\n- type: note")
    )
    parsed = parse_document(raw, YAML, "file")
    assert parsed.in_layout
    assert parsed.entries == ENTRIES
    assert YAML.assemble(parsed.head, parsed.slices()) == raw


def changed(**more: Any) -> dict[str, Any]:
    return {key: value for key, value in {**HEADER, **more}.items() if value is not Ellipsis}


WRONG: dict[str, tuple[Any, str]] = {
    "a list": ([1], "must be one mapping"),
    "a text": ("x", "must be one mapping"),
    "no session_id": (changed(session_id=...), '"session_id"'),
    "an empty session_id": (changed(session_id=""), '"session_id"'),
    "session_id a number": (changed(session_id=5), '"session_id"'),
    "kind unknown": (changed(kind="robot"), '"kind" must be one of agent, team, workflow'),
    "created_at a number": (changed(created_at=5), '"created_at"'),
    "user_id a number": (changed(user_id=5), '"user_id" must be text'),
    "tags a text": (changed(tags="a"), '"tags" must be a list of text'),
    "tags of numbers": (changed(tags=[1]), '"tags" must be a list of text'),
    "metadata a list": (changed(metadata=[]), '"metadata" must be a mapping'),
    "no schema_version": (changed(schema_version=...), '"schema_version"'),
    "schema_version a text": (changed(schema_version="1"), '"schema_version"'),
    "schema_version true": (changed(schema_version=True), '"schema_version"'),
    "schema_version negative": (changed(schema_version=-1), '"schema_version"'),
    "history a mapping": ({**HEADER, "history": {}}, '"history" must be a list'),
    "an entry that is a text": ({**HEADER, "history": [run("r1"), "x"]}, r"history\[1\] must be a mapping"),
    "an entry without type": ({**HEADER, "history": [{}]}, r'"type" must be .* in history\[0\]'),
    "a run without an id": ({**HEADER, "history": [{**run("r"), "run_id": 7}]}, '"run_id"'),
    "a run without a time": ({**HEADER, "history": [{**run("r"), "created_at": None}]}, '"created_at"'),
    "messages a text": ({**HEADER, "history": [{**run("r"), "messages": "x"}]}, '"messages" must be a list'),
    "a message without a role": ({**HEADER, "history": [{**run("r"), "messages": [{}]}]}, '"role"'),
    "session_state a list": ({**HEADER, "history": [run("r", session_state=[])]}, '"session_state" must be a mapping'),
    "status a number": ({**HEADER, "history": [run("r", status=1)]}, '"status" must be text'),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_document_that_is_not_a_session_is_refused_with_a_reason(layout: Layout, name: str) -> None:
    document, words = WRONG[name]
    with pytest.raises(DocumentBroken, match=words) as caught:
        parse_document(json.dumps(document).encode(), layout, "/a/file")
    assert caught.value.path == "/a/file"
    assert str(caught.value).startswith("/a/file")
    assert "Nothing was changed. Fix the file" in str(caught.value)


def test_a_wrong_entry_is_named_with_its_line(layout: Layout) -> None:
    raw = written(layout, entries=[run("r1"), run("r2", status=5), run("r3")])
    with pytest.raises(DocumentBroken, match=r"history\[1\]") as caught:
        parse_document(raw, layout, "file")
    assert caught.value.line == raw[: layout.entry_starts(raw, raw.find(layout.opening))[1]].count(b"\n") + 1


@pytest.mark.parametrize(
    ("layout", "old", "new", "line", "column"),
    [
        (JSON, b'"run_id": "r2"', b'"run_id" "r2"', 26, 16),
        (JSON, b'"kind": "agent"', b'"kind": agent"', 5, 11),
        (YAML, b"run_id: r2", b"run_id: [r2", 20, 13),
        (YAML, b"kind: agent", b"kind: *agent", 4, 7),
    ],
)
def test_a_parse_error_names_line_and_column(layout: Layout, old: bytes, new: bytes, line: int, column: int) -> None:
    raw = written(layout)
    assert raw.count(old) == 1
    with pytest.raises(DocumentBroken) as caught:
        parse_document(raw.replace(old, new), layout, "/a/file")
    assert (caught.value.line, caught.value.column) == (line, column)
    assert f"/a/file, line {line}, column {column}: " in str(caught.value)


def test_a_newer_version_is_refused(layout: Layout) -> None:
    with pytest.raises(NewerFormat, match="schema version 2, but this localstore reads versions up to 1"):
        parse_document(written(layout, changed(schema_version=2)), layout, "file")
    with pytest.raises(NewerFormat):
        parse_document(json.dumps({"schema_version": 99, "sessions": "all new"}).encode(), layout, "file")


def test_a_document_in_our_layout_is_parsed_for_reading_without_cutting_it() -> None:
    parsed = parse_for_reading(written(JSON), JSON)
    assert parsed is not None
    assert (parsed.header, parsed.entries) == (HEADER, ENTRIES)


@pytest.mark.parametrize("name", [name for name, (layout, _) in BY_OTHERS.items() if layout is JSON])
def test_parsing_for_reading_gives_the_same_or_nothing_in_another_layout(name: str) -> None:
    """A power cut may keep a file's times and lose some of its bytes."""
    _, raw = BY_OTHERS[name]
    parsed, closely = parse_for_reading(raw, JSON), parse_document(raw, JSON, "file")
    assert parsed is None or (parsed.header, parsed.entries) == (closely.header, closely.entries)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"run_id": "r2"', b'"run_id" "r2"'),
        (b'"run_id": "r2"', b'"run_id": 2'),
        (b'"kind": "agent"', b'"kind": "x"'),
        (b'"schema_version": 1', b'"schema_version": 2'),
        (b"two", b"\0\0\0"),
        (b'"x": null', b'"x": ' + b"[" * 300 + b"\n" + b" " * 400 + b"]" * 300),
        (b"\n    {\n", b"\n    {"),
    ],
)
def test_parsing_for_reading_gives_nothing_for_a_wrong_document(old: bytes, new: bytes) -> None:
    assert parse_for_reading(written(JSON).replace(old, new), JSON) is None


def old_session() -> dict[str, Any]:
    """Return a small session as agno 1.x wrote it."""
    run = {"run_id": "r1", "content": "Vienna.", "messages": [{"role": "user", "content": "Where?"}], "created_at": 5}
    return {"session_id": "s1", "agent_id": "geo", "memory": {"runs": [run]}, "session_data": {}, "created_at": 7}


def test_an_older_document_is_read_as_the_current_version_and_keeps_its_own(layout: Layout) -> None:
    parsed = parse_document(json.dumps(old_session(), indent=4).encode(), layout, "file")
    assert (parsed.version, parsed.in_layout, parsed.header["schema_version"]) == (0, False, 1)
    assert parsed.header["agent_id"] == "geo"
    assert [entry["run_id"] for entry in parsed.entries if entry["type"] == "run"] == ["r1"]
    normal = normalise(parsed, "file")
    assert (normal.version, normal.in_layout) == (1, True)
    assert (normal.header, normal.entries) == (parsed.header, parsed.entries)


def test_an_older_document_that_cannot_be_upgraded_is_named_with_its_line(layout: Layout) -> None:
    session = old_session()
    session["memory"]["runs"][0]["messages"] = "none"
    raw = json.dumps(session, indent=4).encode()
    line = raw[: raw.index(b'"messages"')].count(b"\n") + 1
    with pytest.raises(DocumentBroken, match="cannot be upgraded from schema version 0") as caught:
        parse_document(raw, layout, "file")
    assert caught.value.line == line


def test_yaml_with_aliases_is_read_if_agno_wrote_it() -> None:
    """PyYAML writes a shared Python object as an anchor with aliases, and agno's storage does not prevent it."""
    shared = {"unit": "km"}
    session = old_session() | {"session_data": {"session_state": {"one": shared, "two": shared}}}
    raw = yaml.dump(session, default_flow_style=False).encode()
    assert b"&id001" in raw
    parsed = normalise(parse_document(raw, YAML, "file"), "file")
    assert parsed.entries[-1]["session_state"] == {"one": shared, "two": shared}
    with pytest.raises(DocumentBroken, match="anchors are not allowed"):
        parse_document(b"schema_version: 1\n" + raw, YAML, "file")


ODD = (
    "1e3 089 08 0o17 0x1F 12:30 1:30.5 1_000 no y ~ 2026-11-22 = << +1 -0 .5 1. 1e .inf .NaN null 0b1 1e+5 1.0e5 - ? '"
)
TEXTS = st.one_of(st.text(max_size=30), st.sampled_from(["", "2026-11-22 07:01:20", *ODD.split()]))
SCALARS = st.one_of(
    TEXTS, st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
)


@settings(max_examples=rounds(40, 150, 3000), deadline=None)
@given(value=VALUES, said=TEXTS)
def test_values_that_pyyaml_wrote_read_back_unchanged(value: Any, said: str) -> None:
    """PyYAML follows YAML 1.1: it writes the text `1e3` without quotes, which is a number in YAML 1.2."""
    session = old_session() | {"session_data": {"session_state": {"value": value}}}
    session["memory"]["runs"][0]["messages"][0]["content"] = said
    raw = yaml.dump(session, default_flow_style=False).encode()
    if yaml.safe_load(raw) != session or any(char in raw.decode() for char in "\x85\u2028\u2029"):
        return  # it does not read back itself what it wrote
    parsed = parse_document(raw, YAML, "file")
    assert parsed.version == 0
    state = parsed.entries[-1].get("session_state", {"value": None})
    assert json.dumps(state["value"], sort_keys=True) == json.dumps(value, sort_keys=True)
    message = parsed.entries[0]["messages"][0] if parsed.entries[0].get("messages") else {}
    assert message.get("content", "") == said


def test_the_texts_of_a_current_document_do_not_change_its_rules() -> None:
    raw = written(YAML).replace(b"x: null", b"x: 1e3")
    assert raw != written(YAML)
    assert parse_document(raw, YAML, "file").entries[1]["x"] == 1000.0


def test_an_old_session_whose_text_mentions_schema_versions_is_read_as_an_old_one() -> None:
    session = old_session()
    session["memory"]["runs"][0]["messages"][0]["content"] = "089"
    session["memory"]["runs"][0]["messages"].append({"role": "assistant", "content": "what is\nschema_version: 1?"})
    parsed = parse_document(yaml.dump(session, default_flow_style=False).encode(), YAML, "file")
    assert parsed.entries[0]["messages"][0]["content"] == "089"


def test_an_alias_bomb_is_refused_quickly() -> None:
    levels = [b"session_id: s1\nmemory: {}\nsession_data:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"]
    levels += [b"  a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 12)]
    with pytest.raises(DocumentBroken, match="with its aliases, the document has more than"):
        parse_document(b"".join(levels), YAML, "file")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("x" * 100_000, id="a long text"),
        pytest.param("|\n" + "      x\n" * 20_000, id="many lines, each of them indented"),
        pytest.param("[" * 100 + ", ".join(["1"] * 500) + "]" * 100, id="deep lists of short values"),
    ],
)
def test_aliases_are_limited_by_the_bytes_that_they_amount_to(value: str) -> None:
    """Only their number was limited: an upgrade made 2 GB of 180 KB, and took 7.6 GB of memory."""
    raw = f"session_id: s1\nagent_id: a\nmemory: {{}}\nsession_data:\n  session_state:\n    a: &a {value}\n"
    raw += "".join(f"    a{number}: *a\n" for number in range(2000))
    assert len(raw) < 250_000
    tracemalloc.start()
    with pytest.raises(DocumentBroken, match=r"with its aliases, the document has more than 1[78] MB") as caught:
        parse_document(raw.encode(), YAML, "file")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000_000
    assert caught.value.line is not None


def test_aliases_that_amount_to_less_are_read() -> None:
    raw = f"session_id: s1\nagent_id: a\nmemory: {{}}\nsession_data:\n  session_state:\n    a: &a {'x' * 1000}\n"
    raw += "".join(f"    a{number}: *a\n" for number in range(5000))
    state = parse_document(raw.encode(), YAML, "file").entries[-1]["session_state"]
    assert state["a4999"] == "x" * 1000


def test_an_alias_inside_of_its_own_value_is_refused() -> None:
    raw = b"session_id: s1\nmemory: {}\nsession_data: &a\n  b: *a\n"
    with pytest.raises(DocumentBroken, match="inside the value that it refers to"):
        parse_document(raw, YAML, "file")


@pytest.mark.parametrize(
    ("layout", "old", "new"),
    [
        (JSON, b'"kind": "agent"', b'"kind": "agent", "x": 1, "x": 2'),
        (JSON, b'"role": "user"', b'"role": "user", "x": 1, "x": 1'),
        (JSON, b'"x": null', b'"x": 18446744073709551616'),
        (YAML, b"x: null", b"x: 18446744073709551616"),
    ],
)
def test_a_document_is_not_rewritten_if_that_would_drop_or_round_values(layout: Layout, old: bytes, new: bytes) -> None:
    raw = written(layout).replace(old, new).replace(b"\n", b"\r\n")
    parsed = parse_document(raw, layout, "file")
    with pytest.raises(DocumentBroken, match=r"appears twice|64 bits"):
        normalise(parsed, "file")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (run("r1", status="unfinished"), ("r1", True)),
        (run("r1", status="completed"), ("r1", False)),
        (run("r1"), ("r1", False)),
        (run('r"1', status="unfinished"), ('r"1', True)),
        (run("12", status="unfinished"), ("12", True)),
        (run("run-1", status="unfinished", note="behind it"), ("run-1", True)),
        (run("run-1", status="completed", note="\n  status: unfinished"), ("run-1", False)),
        (run("run-1", session_state={"status": "unfinished"}), ("run-1", False)),
        ({"run_id": "r1", "type": "run", "status": "unfinished"}, ("r1", True)),
        ({"type": "update", "run_id": "r1", "status": "unfinished"}, (None, False)),
    ],
)
def test_id_and_state_of_a_run_are_found_in_any_formatting(
    layout: Layout, entry: dict[str, Any], expected: tuple[str | None, bool]
) -> None:
    assert run_id_and_state(layout, layout.entry(entry)) == expected


def test_a_comment_after_the_status_does_not_finish_a_run() -> None:
    piece = YAML.entry(run("run-1", status="unfinished")).replace(b"unfinished", b"unfinished  # hm")
    assert run_id_and_state(YAML, piece) == ("run-1", True)


def test_the_header_is_written_in_the_order_of_the_format() -> None:
    header = {"zebra": 1, "name": "n", "created_at": "t", "kind": "agent", "agent_id": "a", "apple": 2}
    assert list(order_header(header)) == ["kind", "agent_id", "name", "created_at", "zebra", "apple"]
