"""The line and column of a value in the text of a document."""

import pytest

from localstore.format import source_position
from localstore.format.source_position import line_and_column

JSON = b"""{
  "a": 1,
  "b": [
    {"c": "x"}, {"c": "y", "d": {"e": null}}
  ],
  "b2": {"": 0, "a": 1}
}
"""
YAML = b"""# comment
a: 1
b:
- c: x
- c: y
  d: {e: null}
? [complex, key]
: 1
b2:
  "": 0
  a: 1
"""


@pytest.mark.parametrize(
    ("where", "in_json", "in_yaml"),
    [
        ((), (1, 1), (2, 1)),
        (("a",), (2, 3), (2, 1)),
        (("b", 0), (4, 5), (4, 3)),
        (("b", 1, "d", "e"), (4, 34), (6, 7)),
        (("b2", "a"), (6, 17), (11, 3)),
        (("b2", ""), (6, 10), (10, 3)),
        (("b", 7), (3, 3), (3, 1)),
        (("b", 0, "missing", "further"), (4, 5), (4, 3)),
        (("b", "c"), (3, 3), (3, 1)),
        (("missing",), (1, 1), (2, 1)),
        (("a", 0), (2, 3), (2, 1)),
    ],
)
def test_the_position_is_that_of_the_last_existing_value_on_the_path(
    where: tuple[str | int, ...], in_json: tuple[int, int], in_yaml: tuple[int, int]
) -> None:
    """Line and column start at 1, and are those of the key if there is one."""
    assert line_and_column(JSON, where) == in_json
    assert line_and_column(YAML, where) == in_yaml


@pytest.mark.parametrize("raw", [b"", b"{", b"a: b: c", b"\xff", b"\0", b"[1", b"- a\n b", b"{\t"])
def test_a_text_that_does_not_parse_has_no_positions(raw: bytes) -> None:
    """No error is raised, because the caller already reports one."""
    line, column = line_and_column(raw, ("a", 1, "b"))
    assert (line is None) == (column is None)


def test_deep_and_large_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no recursion, and large texts take little time."""
    deep = b'{"a":' * 20_000 + b"1" + b"}" * 20_000
    line_and_column(deep, ("a",) * 30)
    monkeypatch.setattr(source_position, "_MAX_BYTES", 10)
    assert line_and_column(JSON, ("a",)) == (None, None)
