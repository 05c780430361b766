"""The order of a merged history: by time of creation, with the order of each side kept. Nothing here touches a file."""

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Literal, TypeVar

Side = Literal["ours", "theirs"]
Key = TypeVar("Key", bound=Hashable)


def merged_order(
    ours: Sequence[Key],
    theirs: Sequence[Key],
    base: Iterable[Key],
    times: Mapping[Key, str],
    later: Side,
) -> list[Key]:
    """Return the keys of both sides, each once.

    Keys that only one side has are placed by their time between the keys that both have; at equal times, those of ours
    come first. If the sides have their common keys in different orders, the side that changed the order of `base`
    decides, and `later` if both did or neither is known to have.

    Args:
        ours: The keys of the one side, in its order.
        theirs: The keys of the other side, in its order.
        base: The keys of the version that both sides come from, in its order; empty if there is none.
        times: The time of each key, in a form that sorts as text.
        later: The side with the newer history.
    """
    if _has_their_order(ours, theirs, base, later):
        return _interleaved(theirs, ours, times, is_first=False)
    return _interleaved(ours, theirs, times, is_first=True)


def _has_their_order(ours: Sequence[Key], theirs: Sequence[Key], base: Iterable[Key], later: Side) -> bool:
    """Return whether both sides order their common keys differently, and the order of theirs counts."""
    common = set(ours) & set(theirs)
    our_order, their_order = _only(ours, common), _only(theirs, common)
    if our_order == their_order:
        return False
    base_order = _only(base, common)
    known = set(base_order)
    if base_order and _only(our_order, known) == base_order:
        return True
    if base_order and _only(their_order, known) == base_order:
        return False
    return later == "theirs"


def _only(keys: Iterable[Key], kept: Collection[Key]) -> list[Key]:
    return [key for key in keys if key in kept]


def _interleaved(main: Sequence[Key], other: Sequence[Key], times: Mapping[Key, str], *, is_first: bool) -> list[Key]:
    """Return `main` with the keys that only `other` has between its keys.

    `is_first` says whether keys of `main` come before those of `other` at equal times.
    """
    places = {key: place for place, key in enumerate(main)}
    main_times = list(accumulate((times[key] for key in main), max))
    # The first place in `main` of any common key that comes later in `other`: no key before it goes behind this place.
    ends = list(accumulate((places.get(key, len(main)) for key in reversed(other)), min, initial=len(main)))
    result: list[Key] = []
    done = 0
    latest = ""
    for number, key in enumerate(other):
        latest = max(latest, times[key])
        end = ends[len(other) - number]
        if key in places:
            end = places[key] + 1
        else:
            end = min(end, _end_of_older(main_times, done, latest, including_equal=is_first))
        if end > done:
            result += main[done:end]
            done = end
        if key not in places:
            result.append(key)
    return [*result, *main[done:]]


def _end_of_older(times: Sequence[str], start: int, time: str, *, including_equal: bool) -> int:
    """Return the index after the last of the rising `times`, from `start` on, that is older than `time`."""
    index = start
    while index < len(times) and (times[index] < time or (including_equal and times[index] == time)):
        index += 1
    return index
