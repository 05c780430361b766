"""Conflicts of git in a document: where they are, and the versions that they hold."""

from __future__ import annotations

import pytest

from localstore.format.merge_conflict import Sides, find_conflict, find_sides, own_side

_PLAIN = b"a\n<<<<<<< HEAD\nb\n=======\nc\nd\n>>>>>>> side\ne\n<<<<<<< HEAD\n=======\nf\n>>>>>>> side\n"


def test_the_versions_of_a_conflict_are_found() -> None:
    assert find_sides(_PLAIN) == Sides(b"a\nb\ne\n", b"a\nc\nd\ne\nf\n", None)
    assert own_side(_PLAIN) == b"a\nb\ne\n"


def test_the_version_that_both_come_from_is_found_if_each_conflict_has_it() -> None:
    raw = _PLAIN.replace(b"=======\n", b"||||||| 1c26d51\nold\n=======\n")
    assert find_sides(raw) == Sides(b"a\nb\ne\n", b"a\nc\nd\ne\nf\n", b"a\nold\ne\nold\n")
    raw = _PLAIN.replace(b"=======\n", b"||||||| 1c26d51\nold\n=======\n", 1)
    assert find_sides(raw) == Sides(b"a\nb\ne\n", b"a\nc\nd\ne\nf\n", None)


def test_lines_end_as_they_are_and_only_at_a_newline() -> None:
    raw = b"a\x85\x0b\r\n<<<<<<< ours: run r1\r\nb\r=======\nc\r\n=======\r\nd\r\n>>>>>>> theirs: run r1\r\ne"
    assert find_sides(raw) == Sides(b"a\x85\x0b\r\nb\r=======\nc\r\ne", b"a\x85\x0b\r\nd\r\ne", None)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"a\n",
        b"<<<<<<< HEAD\na\n",
        b"<<<<<<< HEAD\na\n=======\nb\n",
        b"a\n=======\nb\n>>>>>>> side\n",
        b"<<<<<<< HEAD\n<<<<<<< HEAD\na\n=======\nb\n>>>>>>> side\n",
        b"<<<<<<< HEAD\na\n=======\nb\n=======\nc\n>>>>>>> side\n",
    ],
)
def test_a_conflict_that_is_not_complete_has_no_versions(raw: bytes) -> None:
    assert find_sides(raw) is None


def test_the_error_names_the_line_of_the_first_mark() -> None:
    error = find_conflict(_PLAIN)
    assert error is not None
    assert error.line == 2
    assert find_conflict(b"a\n <<<<<<< HEAD\n<<<<<<<<< HEAD\n") is None
