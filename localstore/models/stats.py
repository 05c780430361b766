"""Counts over sessions: tokens, seconds, failures and cost, in groups."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import add
from typing import Any, Literal, get_args

from localstore.models.excerpt import given_repr
from localstore.models.nearest import not_one_of, shown
from localstore.models.times import is_time_text

GroupKey = Literal["user", "month", "day", "model", "entity", "status"]
GROUP_KEYS: tuple[GroupKey, ...] = get_args(GroupKey)
Prices = Mapping[str, Sequence[float]]
"""Prices per million tokens by model: (input, output) or (input, output, cached input), in any currency."""

_HIGHEST_PRICE = 1e12
_DATED = re.compile(r"-(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8})\Z")
"""The date at the end of a model's name, as servers add it."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted in the sessions of one group, or in all of them.

    `user`, `month`, `day`, `model`, `entity` and `status` are the values of the group; None if the sessions have no
    such value or were not grouped by it. `month` is `YYYY-MM` and `day` is `YYYY-MM-DD`, in UTC. They are those of the
    runs; a session without runs counts on the day on which it was made. `status` is that of a session's last run.
    """

    user: str | None = None
    month: str | None = None
    day: str | None = None
    model: str | None = None
    entity: str | None = None
    status: str | None = None
    sessions: int = 0
    """How many sessions have a run in the group. In groups by month, day or model, a session may be in several."""
    runs: int = 0
    failures: int = 0
    """How many of the runs have the status `error`."""
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    """How many of the input tokens came from a server's cache."""
    seconds: float = 0.0
    cost: float | None = None
    """What the tokens cost, by the given prices; None without prices. Models without a price are left out."""

    def __repr__(self) -> str:
        return given_repr("Counts", self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dict of JSON values, without those that are None."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Stats:
    """The result of `stats`: the counts of each group, in the order of their values, and those of all sessions."""

    groups: tuple[Counts, ...]
    total: Counts
    unpriced: tuple[str, ...] = ()
    """The models that used tokens and have no price in the given table; "" stands for runs without a model."""

    unreadable: int = 0
    """How many of the sessions have a document that cannot be read. The last known counts of these are used, if any."""

    def __repr__(self) -> str:
        groups = "1 group" if len(self.groups) == 1 else f"{len(self.groups):,} groups"
        return f"Stats({groups}, total={self.total!r})"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dict of JSON values. Values that are None are left out."""
        return {
            "groups": [counts.as_dict() for counts in self.groups],
            "total": self.total.as_dict(),
            "unpriced": list(self.unpriced),
            "unreadable": self.unreadable,
        }


def _price(model: str, prices: Prices) -> Sequence[float] | None:
    """Return the price of a model, or of the model without the date at the end of its name, or None."""
    return prices.get(model, prices.get(_DATED.sub("", model)))


def _cost(model: str, numbers: Sequence[int], prices: Prices) -> float:
    _, _, tokens_in, tokens_out, cached, _ = numbers
    price = _price(model, prices)
    if price is None:
        return 0.0
    cached = min(cached, tokens_in)
    cached_price = price[2] if len(price) > 2 else price[0]
    return ((tokens_in - cached) * price[0] + tokens_out * price[1] + cached * cached_price) / 1_000_000


def stats_of(tally: "Tally", by: Sequence[GroupKey], prices: Prices | None) -> Stats:
    """Return the counts and the cost of what was added up in groups of `by`.

    >>> row = {"created_at": "2026-11-22T07:01:20.123Z", "overview": {"usage": {"2026-11": {"m": [1, 0, 9, 1, 0, 50]}}}}
    >>> stats_of(tally_of([row], ["model"]), ["model"], {"m": (1.0, 2.0)}).groups[0].cost
    1.1e-05
    """
    groups: dict[Key, list[_Share]] = {}
    models: dict[str, list[int]] = {}
    for (key, model), numbers in tally.numbers.items():
        groups.setdefault(key, []).append((model, numbers))
        models[model] = _sum(models.get(model), numbers)
    used = sorted(model for model, (_, _, *tokens, _) in models.items() if any(tokens))
    return Stats(
        tuple(
            _counts(dict(zip(by, key, strict=True)), tally.sessions_in[key], groups[key], prices)
            for key in sorted(groups)
        ),
        _counts({}, tally.sessions, list(models.items()), prices),
        () if prices is None else tuple(model for model in used if _price(model, prices) is None),
        tally.unreadable,
    )


Key = tuple[str, ...]
"""The values of a group in the order of `by`, "" where there is none."""
_Share = tuple[str, list[int]]
"""A model and its numbers: runs, failures, tokens in, out and cached, milliseconds."""
_NOTHING = [0, 0, 0, 0, 0, 0]


@dataclass(slots=True)
class Tally:
    """What was added up over sessions."""

    sessions: int
    unreadable: int
    """How many of the sessions have a document that cannot be read."""
    sessions_in: dict[Key, int]
    """How many sessions are in each group."""
    numbers: dict[tuple[Key, str], list[int]]
    """The sums by group and model."""
    left_out: tuple[str, ...] = ()
    """The sessions whose days only their documents tell. Nothing here counts them."""

    def add(self, other: "Tally") -> None:
        """Add what was added up over other sessions, in the same groups."""
        self.sessions += other.sessions
        self.unreadable += other.unreadable
        for key, sessions in other.sessions_in.items():
            self.sessions_in[key] = self.sessions_in.get(key, 0) + sessions
        for group, numbers in other.numbers.items():
            self.numbers[group] = _sum(self.numbers.get(group), numbers)
        self.left_out += other.left_out


Period = tuple[str, str, Mapping[str, list[int]]]
"""A month, a day of it, and the numbers of the runs at this time by model. The day is "" if it is not known."""


def tally_of(rows: Iterable[Mapping[str, Any]], by: Sequence[GroupKey]) -> Tally:
    """Add up the numbers of rows of the manifest, in groups of `by`, without days.

    A row without counts, of a document that cannot be read, counts as a session.
    """
    return tally_of_periods(((row, months_of(row)) for row in rows), by)


def tally_of_periods(sessions: Iterable[tuple[Mapping[str, Any], Iterable[Period]]], by: Sequence[GroupKey]) -> Tally:
    """Add up the numbers of sessions, each given by its row and its periods, in groups of `by`."""
    of_row = [(by.index(name), key) for name, key in (("user", "user_id"), ("entity", "entity_id")) if name in by]
    at_status, at_month, at_day, at_model = (
        by.index(name) if name in by else None for name in ("status", "month", "day", "model")
    )
    values = [""] * len(by)
    number = unreadable = 0
    sessions_in: dict[Key, int] = {}
    numbers_of: dict[tuple[Key, str], list[int]] = {}
    for row, periods in sessions:
        number += 1
        unreadable += "problem" in row
        for at, name in of_row:
            values[at] = row.get(name) or ""
        if at_status is not None:
            values[at_status] = row.get("overview", {}).get("status") or ""
        keys: set[Key] = set()
        for month, day, models in periods:
            if at_month is not None:
                values[at_month] = month
            if at_day is not None:
                values[at_day] = day
            for model, numbers in models.items():
                if at_model is not None:
                    values[at_model] = model
                key = tuple(values)
                if key not in keys:
                    keys.add(key)
                    sessions_in[key] = sessions_in.get(key, 0) + 1
                numbers_of[key, model] = _sum(numbers_of.get((key, model)), numbers)
    return Tally(number, unreadable, sessions_in, numbers_of)


def usage_of(row: Mapping[str, Any]) -> Mapping[str, Mapping[str, list[int]]]:
    """Return the numbers of a session by month and model. Without runs, they are zero in the month it was made in."""
    return row.get("overview", {}).get("usage") or {day_of(row["created_at"])[:7]: {"": _NOTHING}}


def months_of(row: Mapping[str, Any]) -> list[Period]:
    """Return the periods of a session as its row knows them, which has no days."""
    return [(month, "", models) for month, models in usage_of(row).items()]


def period_without_runs(row: Mapping[str, Any]) -> Period:
    """Return the period of a session without runs, in which it was made."""
    day = day_of(row["created_at"])
    return day[:7], day, {"": _NOTHING}


def day_of(time: str) -> str:
    """Return the day of a time, or "" if a document has text there that is not a time."""
    return time[:10] if is_time_text(time) else ""


def _sum(sums: list[int] | None, numbers: list[int]) -> list[int]:
    return numbers if sums is None else list(map(add, sums, numbers))


def _counts(values: Mapping[str, str], sessions: int, shares: Sequence[_Share], prices: Prices | None) -> Counts:
    sums = _NOTHING
    for _, numbers in shares:
        sums = _sum(sums, numbers)
    runs, failures, tokens_in, tokens_out, cached, milliseconds = sums
    return Counts(
        **{name: value or None for name, value in values.items()},
        sessions=sessions,
        runs=runs,
        failures=failures,
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        cached_tokens=cached,
        seconds=milliseconds / 1000,
        cost=None if prices is None else sum((_cost(model, numbers, prices) for model, numbers in shares), 0.0),
    )


def check_grouping(by: object) -> tuple[GroupKey, ...]:
    """Return `by` as a tuple. Raises ValueError if a name in it is unknown or repeated, TypeError if it is no list."""
    names = (by,) if isinstance(by, str) else by
    if not isinstance(names, (list, tuple)):
        raise TypeError(f"by must be a tuple of names, not {shown(by)}")
    for name in names:
        if name not in GROUP_KEYS:
            raise ValueError(f"by {not_one_of(name, GROUP_KEYS)}")
        if names.count(name) > 1:
            raise ValueError(f"by has {name!r} twice")
    return tuple(names)


def check_prices(prices: object) -> Prices:
    """Return `prices`. Raises TypeError or ValueError if it is not a table of two or three prices for each model."""
    if not isinstance(prices, Mapping):
        raise TypeError(f"prices must be a mapping from model to prices, not {shown(prices)}")
    for model, price in prices.items():
        if not isinstance(model, str):
            raise TypeError(f"prices must be a mapping from model to prices, and {shown(model)} is no model")
        if not isinstance(price, (list, tuple)) or len(price) not in (2, 3) or not all(map(_is_price, price)):
            raise ValueError(
                f"the price of {model!r} must be two or three numbers (input, output, cached input), for a million "
                f"tokens, not {shown(price)}"
            )
    return prices


def _is_price(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _HIGHEST_PRICE
