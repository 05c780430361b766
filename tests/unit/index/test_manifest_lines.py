"""Lines of the manifest as bytes."""

import json

from localstore.index.manifest_lines import (
    DELETED,
    UNKNOWN_USER,
    generation_line,
    last_usable,
    lines_known_from,
    session_id_in,
    split_lines,
)
from tests.unit.index.test_row import GOOD


def line_of(**fields: object) -> bytes:
    return json.dumps({**GOOD, **fields}, separators=(",", ":")).encode()


def test_the_last_usable_line_wins() -> None:
    good, broken = line_of(session_id="s1", runs=1), line_of(session_id="s1", runs="x")
    row = last_usable("s1", [line_of(session_id="s1"), good, broken, b"{torn", line_of(session_id="s2")])
    assert row == json.loads(good)
    assert last_usable("s1", broken) is None
    assert last_usable("s1", [good, b'{"session_id":"s1","deleted":true}']) is DELETED


def test_lines_are_split_with_their_ids() -> None:
    first, second = b'{"session_id":"a","user_id":"u"}', b'{"session_id":"b"}'
    assert split_lines(first + b"\n" + second + b"\n")[:2] == [(first, b"a", b'"u"'), (second, b"b", b"")]


def test_a_line_with_an_escape_has_to_be_parsed() -> None:
    line = b'{"session_id":"a\\"b"}'
    assert (line, b"", UNKNOWN_USER) in split_lines(line)
    assert session_id_in(line) == 'a"b'
    assert session_id_in(b"{torn") is None
    assert session_id_in(b"[1]") is None


def test_only_lines_of_the_manifest_that_it_follows_are_known() -> None:
    first, other = generation_line(), generation_line()
    following = generation_line(first, 7)
    assert lines_known_from(following, first) == 7
    assert lines_known_from(following, other) == 0
    assert lines_known_from(following, b"{torn") == 0
    assert lines_known_from(first, other) == 0
