"""A header says which entries were removed on purpose, and when."""

from typing import Any

from localstore.engine.removal import Removals, with_removal
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
    assert Removals({"removed": {"r1": 5, "r2": "2026-11-22T08:01:20+01:00"}}).times == {
        "r1": "",
        "r2": "2026-11-22T07:01:20.000Z",
    }
    assert Removals({"removed": None}).times == Removals({}).times == {}


def test_many_removals_are_a_few_lines() -> None:
    """A session whose 5,000 items were cleared had 5,000 lines above its history, and each change wrote them again."""
    ids = [f"00000000-0000-4000-8000-{number:012}" for number in range(5000)]

    new = with_removal({"removed": {"r1": "2026-11-22T07:01:20.123Z"}}, ids)

    assert next(iter(new["removed"])) == "r1"
    assert len(new["removed"]) == 1 + 63
    assert all(is_time_text(time) for time in new["removed"].values())
    assert [*new["removed"]][1:] == sorted([*new["removed"]][1:])
    assert max(map(len, new["removed"])) <= 1024  # longer keys are no YAML
    removed = Removals(new)
    assert all(one in removed for one in [*ids, "r1"])
    assert all(removed.last(one) in new["removed"].values() for one in ids)
    assert not any(one in removed for one in ("r2", "", "blake2b:", *(f"{one}0" for one in ids)))


def test_one_of_many_that_is_removed_again_gets_a_later_time() -> None:
    """Whether it is then removed with others or by itself."""
    ids = [f"r{number}" for number in range(20)]
    once = with_removal({}, ids)
    far = {"removed": dict.fromkeys(once["removed"], "2199-01-01T00:00:00.000Z")}

    for some in (ids, ["r7"]):
        again = Removals(with_removal(far, some))
        assert again.last("r7") == "2199-01-01T00:00:00.001Z"


def test_a_digest_is_the_one_that_the_format_page_specifies() -> None:
    """Programs in other languages must find the ids."""
    [key] = with_removal({}, [f"r{number}" for number in range(17)])["removed"]

    assert "1ugawIrs_6GK" in [key[start : start + 12] for start in range(len("blake2b:"), len(key), 12)]  # of r0
