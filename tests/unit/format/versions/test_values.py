"""Plain values are copied and compared, and times are converted."""

import pytest

from localstore.format.versions import CannotUpgrade
from localstore.format.versions.values import identity, object_in, seconds_of, to_time


def test_values_of_different_types_are_not_the_same() -> None:
    assert len({identity(value) for value in (1, 1.0, True, "1")}) == 4
    assert identity({"a": 1, "b": 2}) == identity({"b": 2, "a": 1})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_795_331_432, "2026-11-22T07:10:32.000Z"),
        (1_795_331_432.13, "2026-11-22T07:10:32.130Z"),
        (-1, "1969-12-31T23:59:59.000Z"),
    ],
)
def test_times_survive_the_round_trip(seconds: float, text: str) -> None:
    assert to_time(seconds, ()) == text
    assert seconds_of(text) == seconds
    assert type(seconds_of(text)) is type(seconds)


@pytest.mark.parametrize("value", [True, "2026-11-22", [], 10**13, 1e300, -(10**13)])
def test_a_value_that_is_not_a_time_is_refused(value: object) -> None:
    with pytest.raises(CannotUpgrade, match="created_at: expected a time"):
        to_time(value, ("created_at",))


@pytest.mark.parametrize("text", ["", "yesterday", None, 5, "2026-11-22T07:10:32"])
def test_text_that_is_not_a_time_has_no_seconds(text: object) -> None:
    assert seconds_of(text) is None


def test_arguments_with_a_decimal_that_would_be_rounded_stay_text() -> None:
    """An upgrade of a session of agno rounded the model's numbers, and the way back to agno gave other ones."""
    assert object_in('{"a": 0.1234567890123456789}', 10) is None
    assert object_in('{"a": 1.10}', 10) == {"a": 1.1}
