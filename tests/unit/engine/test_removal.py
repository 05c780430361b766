"""A header says which entries were removed on purpose, and when."""

from typing import Any

from localstore.engine.removal import removals, with_removal
from localstore.models.times import is_time_text


def test_a_removal_is_in_the_header_with_its_time() -> None:
    """Other removals stay, and the keys have the order of the format."""
    header: dict[str, Any] = {
        "session_id": "s",
        "removed": {"r1": "2026-11-22T07:01:20.123Z"},
        "created_at": "",
        "mine": 1,
    }

    new = with_removal(header, ["r2"])

    assert list(new) == list(header)
    assert list(new["removed"]) == ["r1", "r2"]
    assert is_time_text(new["removed"]["r2"])
    assert list(header["removed"]) == ["r1"]
    assert with_removal(header, []) == header


def test_a_repeated_removal_is_later_than_the_last_one() -> None:
    """The entry was put back, and the clock is behind that of the machine that removed it first."""
    new = with_removal({"removed": {"r1": "2199-01-01T00:59:59.999+01:00"}}, ["r1"])

    assert new["removed"] == {"r1": "2199-01-01T00:00:00.000Z"}


def test_a_removal_without_a_time_counts_as_an_early_one() -> None:
    """A person may have typed anything."""
    assert removals({"removed": {"r1": 5, "r2": "2026-11-22T08:01:20+01:00"}}) == {
        "r1": "",
        "r2": "2026-11-22T07:01:20.000Z",
    }
    assert removals({"removed": None}) == removals({}) == {}
