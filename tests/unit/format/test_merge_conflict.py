"""Conflicts of git in a document: where they are, and the versions that they hold."""

from __future__ import annotations

import pytest

from localstore.format.merge_conflict import Sides, find_conflict, find_sides, own_side, sides_of_union

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


def test_the_versions_in_a_header_with_repeated_keys_are_found() -> None:
    names = b'  "name": "a:b",\n  "name": "c",\n'
    tags = b'  "tags": [\n    "x"\n  ],\n  "tags": [\n    "y"\n  ],\n'
    assert sides_of_union(b'{\n  "$schema": "x",\n' + names + tags) == Sides(
        b'{\n  "$schema": "x",\n  "name": "a:b",\n  "tags": [\n    "x"\n  ],\n',
        b'{\n  "$schema": "x",\n  "name": "c",\n  "tags": [\n    "y"\n  ],\n',
        None,
    )
    head = b"# x: y\nsession_id: s\nname: a  # first\nname: |-\n  name: b\ntags:\n  - x\n"
    assert sides_of_union(head) == Sides(
        b"# x: y\nsession_id: s\nname: a  # first\ntags:\n  - x\n",
        b"# x: y\nsession_id: s\nname: |-\n  name: b\ntags:\n  - x\n",
        None,
    )


@pytest.mark.parametrize("head", [b"", b"{\n", b'{\n  "name": "a",\n', b"name: a\n", b"name: a\nname: b\nname: c\n"])
def test_a_header_without_a_key_that_stands_twice_is_one_version(head: bytes) -> None:
    assert sides_of_union(head) is None
