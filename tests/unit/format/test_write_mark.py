"""The mark of a write: it undoes or completes that write, and explains nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localstore.format.write_mark import mark_of, parse_mark, repaired
from tests.crashes import states_after_kill

OLD = b"head, entries" + b"\n  ]\n}\n"
NEW = b"head, entries" + b',\n    {\n      "run_id": "r\xc3\xbc",' + b"x" * 700 + b"\n    }\n  ]\n}\n"
MARK = mark_of("s\u2028", len(OLD), OLD[13:], NEW[13:], "boot")


def test_a_mark_is_one_line_and_read_again() -> None:
    line = MARK.line()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert parse_mark(line[:-1]) == MARK


@given(st.integers(1, 400))
def test_the_rest_of_a_line_is_no_mark(at: int) -> None:
    """A shorter mark is written over a longer one, whose end stays."""
    assert parse_mark(MARK.line()[at:-1]) is None


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b'{"size": 1}', b"null", b"\0" * 20])
def test_other_bytes_are_no_mark(line: bytes) -> None:
    assert parse_mark(line) is None


def test_a_killed_write_is_undone_or_completed() -> None:
    for raw in states_after_kill(OLD, NEW):
        repair = repaired(raw, MARK)
        if raw in (OLD, NEW):
            assert repair is None
        else:
            assert repair is not None
            assert repair.raw == (NEW if len(raw) == len(NEW) else OLD)
            assert repair.raw == NEW or repair.rest == raw[len(OLD) :]


def test_an_error_in_the_overlap_is_undone() -> None:
    """A disk that fails twice leaves a part of the overlap, and the file with its old size."""
    repair = repaired(OLD[:13] + NEW[13:17] + OLD[17:], MARK)
    assert repair is not None
    assert (repair.raw, repair.rest) == (OLD, b"")


@pytest.mark.parametrize(
    "raw",
    [
        OLD + b"typed",
        OLD + b"\n\n",
        NEW + b"typed",
        NEW[:-9],
        OLD[:-3],
        b"",
        b"typed " + OLD,
        OLD.replace(b"head", b"longer head") + NEW[len(OLD) : len(OLD) + 50],
        OLD[:13] + b",\n    {\n typed",
    ],
)
def test_what_a_person_wrote_is_not_explained(raw: bytes) -> None:
    assert repaired(raw, MARK) is None
