"""The YAML reader follows the core schema of YAML 1.2, refuses ambiguous input, and raises no error but ParseError."""

import pickle
import subprocess
import sys
import time
from typing import Any

import pytest
import yaml12
from hypothesis import given, settings
from hypothesis import strategies as st

from localstore.format import yaml_writer
from localstore.format.parse_error import ParseError
from localstore.format.yaml_reader import DEPTH_LIMIT, first_comment, load
from tests.effort import rounds

Value = Any

ENTRY: dict[str, Value] = {
    "type": "run",
    "messages": [{"role": "user", "content": "a\n b\n\n"}, {"role": "assistant", "content": "no: #"}],
    "numbers": [1, -0.5, 1e22, None, True, [[], {}]],
    "é": '{"a": "b"}',
}
DOCUMENT = ("# a comment\nname: x\nhistory:\n" + yaml_writer.item(ENTRY) * 2 + "...\n").encode()
TOKENS = [
    *(b"[", b"]", b"{", b"}", b",", b": ", b"- ", b"? ", b"&a ", b"*a", b"! ", b"!x ", b"!!int ", b"!!map ", b"!<a> "),
    *(b"!%ff ", b"!<tag:yaml.org,2002:float> ", b"%YAML 1.2\n", b"%TAG ! x\n", b"---\n", b"...\n", b"|", b">2-", b"\n"),
    *(b"\r\n", b"\r", b"\t", b" ", b"\0", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xc2\x85"),
    *(
        b"#",
        b"'",
        b'"',
        b"\\",
        b"\\ud800",
        b"\\xZZ",
        b"<<",
        b"1e999",
        b".nan",
        b"0x",
        b"9" * 5000,
        b"@",
        b"\x1b",
        b"[" * 300,
    ),
]


def refusal(raw: bytes, *, strict: bool = False) -> ParseError:
    with pytest.raises(ParseError) as caught:
        load(raw, strict=strict)
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("Null", None),
        ("nULL", "nULL"),
        ("true", True),
        ("TRUE", True),
        ("False", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("12", 12),
        ("-12", -12),
        ("+12", 12),
        ("089", 89),
        ("0o17", 15),
        ("0x1F", 31),
        ("-0x1F", "-0x1F"),
        ("0b1", "0b1"),
        ("1_000", "1_000"),
        ("1e3", 1000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-0.0", -0.0),
        ("1.5E-3", 0.0015),
        (".", "."),
        ("+", "+"),
        ("1.2.3", "1.2.3"),
        ("12:30", "12:30"),
        ("2026-11-22", "2026-11-22"),
        ("2026-11-22T07:01:20.130Z", "2026-11-22T07:01:20.130Z"),
        ("<<", "<<"),
        ("=", "="),
        ("١", "١"),
        ("'12'", "12"),
        ('"null"', "null"),
        ("!!str 12", "12"),
        ("!!str", ""),
        ("!!int '12'", 12),
        ("!!float 12", 12.0),
        ("!!bool 'true'", True),
        ("!!null ''", None),
        ("!<tag:yaml.org,2002:int> 0x10", 16),
        ("!!map {}", {}),
        ("!!seq []", []),
        ("a\n b\n\n c", "a b\nc"),
        (">\n a\n b\n", "a b\n"),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: Value) -> None:
    assert repr(load(f"k: {text}".encode())) == repr({"k": value})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("k: &a 1", "anchors"),
        ("k: &a [1]", "anchors"),
        ("&a k: 1", "anchors"),
        ("k: *a", "aliases"),
        ("*a : 1", "aliases"),
        ("k: !x 1", "the tag '!x'"),
        ("k: ! 1", "the tag '!'"),
        ("k: !!timestamp 2026-11-22", "timestamp"),
        ("k: !!python/object:x.y {}", "python/object"),
        ("k: !!set {a}", "tag:yaml.org,2002:set"),
        ("k: !!binary aGk=", "binary"),
        ("k: !!map []", "2002:map"),
        ("k: !!seq a", "2002:seq"),
        ("k: !!int x", "'x' is not a valid int"),
        ("k: !!bool null", "'null' is not a valid bool"),
        ("k: !!null false", "'false' is not a valid null"),
        ("k: !!float .inf", "not a finite number"),
        ("k: .inf", "not a finite number"),
        ("k: -.INF", "not a finite number"),
        ("k: .NaN", "not a finite number"),
        ("k: 1e999", "not a finite number"),
        ("!!int 1: a", "a key is always text"),
        ("[a]: 1", "a key must be a text"),
        ("{a: 1}: 1", "a key must be a text"),
        ("? - a\n: 1", "a key must be a text"),
        ("a: 1\nb: 2\n'a': 3", "the key 'a' appears twice"),
        ("k: {1: a, '1': b}", "the key '1' appears twice"),
        ("a: 1\n---\nb: 2", "more than one document"),
        ("a: 1\n...\n---\n", "more than one document"),
        ("", "there is no document"),
        ("# only a comment\n", "there is no document"),
        ("%TAG !e! tag:example.com,2026:\n---\nk: 1", "%TAG"),
        ("a: b: c", "mapping values are not allowed"),
        ('a: "b', "unexpected end of stream"),
        ('a: "\\ud83d\\ude00"', "invalid Unicode"),
        ("a: [1, 2", "flow sequence"),
        ("a: b\n\tc: d", "tab character"),
        ("k: " + "9" * 5000, "more than 4,000 digits"),
    ],
)
def test_yaml_that_is_not_a_plain_document_is_refused_with_its_place(text: str, words: str) -> None:
    error = refusal(text.encode())
    assert words in error.problem
    assert error.line is not None
    assert 1 <= error.line <= text.count("\n") + 1
    assert error.column is not None
    assert error.column >= 1


def test_keys_are_read_as_their_literal_text() -> None:
    keys = ["1", "1.0", "null", "~", "true", "2026-11-22", "<<", "=", "0x10", "two words"]
    raw = "".join(f"{key}: {{x: 1}}\n" for key in keys) + "? explicit\n: 1\n?\n: 2\n!!str 3: 4\n'5': 6"
    assert load(raw.encode()) == {**{key: {"x": 1} for key in keys}, "explicit": 1, "": 2, "3": 4, "5": 6}


def test_byte_order_mark_crlf_directive_and_markers_are_accepted() -> None:
    assert load(b"\xef\xbb\xbf%YAML 1.2\r\n---\r\na: |\r\n  x\r\n  y\r\nb: 1 # c\r\n...\r\n# end\r\n") == {
        "a": "x\ny\n",
        "b": 1,
    }


def test_a_json_document_is_a_yaml_document() -> None:
    assert load(b'{"a": [1, {"b": "\\u00e9\\/"}], "c": null, "d": -1.5e3}') == {
        "a": [1, {"b": "é/"}],
        "c": None,
        "d": -1500.0,
    }


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**30])
def test_only_strict_refuses_integers_beyond_64_bits(number: int) -> None:
    raw = f"a: 1\nk: {number}".encode()
    assert load(raw) == {"a": 1, "k": number}
    error = refusal(raw, strict=True)
    assert (error.line, error.column) == (2, 4)
    assert "64 bits" in error.problem


@pytest.mark.parametrize("by_pyyaml", [False, True])
@pytest.mark.parametrize("number", ["3.14159265358979323846", "-0.12345678901234567", "!!float 3.14159265358979323846"])
def test_only_strict_refuses_decimals_that_would_be_rounded(number: str, by_pyyaml: bool) -> None:
    """A rewrite rounded a decimal that a person had typed, without a word: its last digits were lost."""
    raw = f"a: 1\nk: {number}".encode()
    assert load(raw, by_pyyaml=by_pyyaml) == {"a": 1, "k": float(number.split()[-1])}
    with pytest.raises(ParseError, match="would be rounded") as caught:
        load(raw, strict=True, by_pyyaml=by_pyyaml)
    assert (caught.value.line, caught.value.column) == (2, 4)


@pytest.mark.parametrize("number", ["1.10", "1.0e+3", ".5", "1.", "+1.5", "0.30000000000000004"])
def test_strict_accepts_decimals_that_denote_the_same_number(number: str) -> None:
    for by_pyyaml in (False, True):
        assert load(f"[{number}]".encode(), strict=True, by_pyyaml=by_pyyaml) == [float(number)]
    assert load(b"[1e3]", strict=True) == [1000.0]


def test_strict_reads_the_other_forms_of_decimals_of_pyyaml() -> None:
    assert load(b"[1_0.5, 1:30.5, -1:30.25]", strict=True, by_pyyaml=True) == [10.5, 90.5, -90.25]
    for number in ("1:30.123456789012345678", "1_0.12345678901234567"):
        with pytest.raises(ParseError, match="would be rounded"):
            load(f"[{number}]".encode(), strict=True, by_pyyaml=True)


def test_strict_accepts_every_integer_of_64_bits() -> None:
    assert load(f"[{2**64 - 1}, {-(2**63)}]".encode(), strict=True) == [2**64 - 1, -(2**63)]


@pytest.mark.parametrize(
    ("raw", "line", "column"),
    [
        (b"a: 1\nb: \xff", 2, 4),
        ("a: 1\r\né: x".encode() + b"\xe2\x82", 2, 5),
        (b"\xef\xbb\xbfa: \xff", 1, 4),
        (b"a: \xed\xa0\x80", 1, 4),
        ("a: 1".encode("utf-16"), 1, 1),
        ("a: 1".encode("utf-16-le"), 1, 2),
        (b"a: 1\nb: x\0y", 2, 5),
        (b"a: \x1b", 1, 4),
        (b"a: 1\rb: \x7f", 2, 4),
        ("é: \ufffe".encode(), 1, 4),
        ("a: |\n  x\u2028y".encode(), 2, 4),
        ("a: 'x\x85y'".encode(), 1, 6),
        (b"a: 1\na: 2", 2, 1),
        ("é: x: y".encode(), 1, 5),
    ],
)
def test_an_error_has_line_and_column(raw: bytes, line: int, column: int) -> None:
    error = refusal(raw)
    assert (error.line, error.column) == (line, column)


def test_a_parse_error_reads_well_and_pickles() -> None:
    error = refusal(b"a: 1\na: 2")
    assert str(error) == "line 2, column 1: the key 'a' appears twice in one mapping"
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (str(copy), copy.problem, copy.line, copy.column) == (str(error), error.problem, 2, 1)
    assert str(ParseError("no place")) == "no place"
    assert str(ParseError("a line", 3)) == "line 3: a line"


def test_nesting_is_accepted_up_to_the_limit_and_refused_beyond() -> None:
    value: Value = load(b"[" * DEPTH_LIMIT + b"]" * DEPTH_LIMIT)
    for _ in range(DEPTH_LIMIT - 1):
        (value,) = value
    assert value == []
    assert "levels deep" in refusal(b"[" * (DEPTH_LIMIT + 1) + b"]" * (DEPTH_LIMIT + 1)).problem


@pytest.mark.parametrize(
    "raw",
    [
        *(b"[" * 10_000 + b"]" * 10_000, b"{a: " * 10_000 + b"}" * 10_000, b"- " * 10_000 + b"a", b'{"a":' * 10_000),
        *(
            b"[" * 300_000,
            b"[\n" * 300_000,
            b"{" * 300_000,
            b"? " * 300_000,
            b"- " * 300_000,
            b"{? " * 300_000,
            b"!a " * 300_000,
        ),
        b"\n".join(b" " * level + b"a:" for level in range(3000)),
        b"".join(b"%%TAG !a%d! x\n" % number for number in range(50_000)) + b"--- 1",
        b"a: 1\n...\n" + b"".join(b"%%TAG !a%d! x\n" % number for number in range(50_000)) + b"--- 1",
        *(
            b"k: " + b"9" * 300_000,
            b"k: 0x" + b"f" * 300_000,
            b"k: 1e" + b"9" * 300_000,
            b"---\n" * 300_000,
            b"a: 1\n" * 300_000,
        ),
        *(
            b"x\n" * 300_000 + b"\0",
            b"x\n" * 300_000 + b"\xff",
            b"&" + b"a" * 300_000,
            b"!<" + b"%41" * 300_000 + b"> a",
        ),
    ],
    ids=lambda raw: repr(raw[:6]),
)
def test_hostile_input_is_refused_quickly(raw: bytes) -> None:
    began = time.process_time()
    refusal(raw, strict=True)
    assert time.process_time() - began < 2  # about 0.01 s; the parser left alone takes seconds for some of them


def test_large_and_odd_input_is_read_in_linear_time() -> None:
    began = time.process_time()
    assert load(b"k: |\n" + b"\n" * 300_000 + b" x") == {"k": "\n" * 300_000 + "x"}
    assert load(b"k: 0." + b"0" * 300_000) == {"k": 0.0}
    assert load(b"k: " + b"1" * 300_000 + b"x") == {"k": "1" * 300_000 + "x"}
    assert len(load(b"{" + b",".join(b"k%d" % number for number in range(30_000)) + b"}")) == 30_000
    assert time.process_time() - began < 2


def test_values_agree_with_a_parser_of_yaml_1_2() -> None:
    texts = [
        "089",
        "0o17",
        "0x1F",
        "1e3",
        "1.",
        ".5",
        "yes",
        "no",
        "12:30",
        "2026-11-22",
        "1_000",
        "~",
        "",
        "Null",
        "TRUE",
        "+1",
    ]
    raw = "".join(f"- {text}\n- '{text}'\n- {{{text or 'x'}: 1}}\n" for text in texts)
    ours, theirs = load(raw.encode()), yaml12.parse_yaml(raw)
    assert isinstance(theirs, list)
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if not isinstance(a, dict)]  # they resolve keys as well
    assert [repr(a) for a, _ in pairs] == [repr(b) for _, b in pairs]


EDITS = st.lists(
    st.tuples(st.integers(0, len(DOCUMENT)), st.integers(0, 12), st.sampled_from(TOKENS) | st.binary(max_size=4)),
    min_size=1,
    max_size=6,
)


def outcome(raw: bytes, *, strict: bool) -> ParseError | None:
    """Return the error, or None if the bytes are a document. Any other exception fails the test."""
    try:
        load(raw, strict=strict)
    except ParseError as error:
        return error
    return None


@settings(max_examples=rounds(80, 300, 6000), deadline=None)
@given(EDITS, st.booleans())
def test_a_damaged_document_is_read_or_refused_and_nothing_else(
    edits: list[tuple[int, int, bytes]], strict: bool
) -> None:
    raw = DOCUMENT
    for position, removed, added in edits:
        raw = raw[:position] + added + raw[position + removed :]
    error = outcome(raw, strict=strict)
    if error is not None:
        assert error.line is not None
        assert 1 <= error.line <= raw.count(b"\n") + raw.count(b"\r") + 1
        assert error.column is not None
        assert 1 <= error.column <= len(raw) + 1


@settings(max_examples=rounds(40, 150, 3000), deadline=None)
@given(st.lists(st.sampled_from(TOKENS) | st.binary(max_size=4), max_size=12).map(b"".join))
def test_any_bytes_are_read_or_refused_and_nothing_else(raw: bytes) -> None:
    error = outcome(raw, strict=True)
    assert error is None or str(error).startswith("line ")


def test_the_yaml_library_is_loaded_on_first_use_only() -> None:
    program = (
        "import sys; from localstore.format import yaml_reader, yaml_writer; assert 'yaml' not in sys.modules;"
        "yaml_reader.load(b'a: 1'); assert 'yaml' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a: 1", None),
        ("a: '# 1'\nb: \"# 2\"\nc: x#3\nd: |\n  # 4\n\ne: >-\n  a\n  # 5\n", None),
        ("a: 1 # x", (1, 6)),
        ("\ufeffa: 1\r\n# x", (2, 1)),
        ("ü: [1, # x\n 2]", (1, 8)),
        ("a: |- # x\n  b\n", (1, 7)),
        ("a: |\n  # no\n# x\n", (3, 1)),
        ("a: 1\n...\n# x", (3, 1)),
        ("%YAML 1.2 # x\n---\na: 1", (1, 11)),
    ],
)
def test_the_first_comment(text: str, where: tuple[int, int] | None) -> None:
    assert first_comment(text.encode()) == where
