"""Lines of the manifest as bytes."""

import json

import pytest

from localstore.index.manifest_lines import (
    DELETED,
    FolderNote,
    folder_note,
    last_usable,
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
    assert split_lines(first + b"\n" + second)[:2] == [(first, "a"), (second, "b")]


@pytest.mark.parametrize(
    ("line", "session_id"),
    [
        (b'{"session_id":"a\\"b"}', 'a"b'),
        (b' {"user_id": "u", "session_id": "a"}', "a"),
        (b'{"session_id":"torn', None),
        (b'{torn, "session_id"', None),
        (b'{"session_id": 5}', None),
        (b'["session_id"]', None),
        (b"", None),
    ],
)
def test_a_line_in_another_form_is_parsed_for_its_id(line: bytes, session_id: str | None) -> None:
    assert split_lines(line) == [(line, session_id)]


def test_a_note_about_a_folder_holds_behind_the_line_it_was_written_with() -> None:
    """A power cut left notes about sessions whose lines it had lost: these sessions were missing in listings."""
    row, note = line_of(session_id="a"), FolderNote("sessions/2026-11", 5, 7)
    line = note.line(row)
    assert folder_note(line, row) == note
    assert split_lines(line) == [(line, None)]
    for previous in (None, b"", bytes(len(row)), line_of(session_id="b")):
        assert folder_note(line, previous) is None
    for other in (b'{"folder":', b'{"folder":"x"}', b'{"folder":"x","before":"5","after":7}', row):
        assert folder_note(other, row) is None
