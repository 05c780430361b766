"""The error of a failed step."""

import pickle

import pytest

from localstore.format.versions import CannotUpgrade


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ((), "expected text"),
        (("name",), "name: expected text"),
        (("memory", "runs", 3, "messages", 1), "memory.runs[3].messages[1]: expected text"),
    ],
)
def test_the_error_names_the_place(where: tuple[str | int, ...], text: str) -> None:
    error = CannotUpgrade("expected text", where)
    assert str(error) == text
    assert (error.problem, error.where) == ("expected text", where)


def test_the_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(CannotUpgrade("expected text", ("a", 1))))  # noqa: S301
    assert (error.problem, error.where) == ("expected text", ("a", 1))
