"""Counts over sessions: tokens, seconds, failures and cost, in groups."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from localstore.models.nearest import not_one_of, shown
from localstore.models.times import is_time_text

GroupKey = Literal["user", "month", "model", "entity", "status"]
GROUP_KEYS: tuple[GroupKey, ...] = get_args(GroupKey)
Prices = Mapping[str, Sequence[float]]
"""Prices per million tokens by model: (input, output) or (input, output, cached input), in any currency."""

_HIGHEST_PRICE = 1e12
_DATED = re.compile(r"-(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8})\Z")
"""The date at the end of a model's name, as servers add it."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted in the sessions of one group, or in all of them.

    `user`, `month`, `model`, `entity` and `status` are the values of the group; None if the sessions have no such value
    or were not grouped by it. `month` is `YYYY-MM` in UTC, that of the runs; a session without runs counts in the month
    in which it was made. `status` is that of a session's last run.
    """

    user: str | None = None
    month: str | None = None
    model: str | None = None
    entity: str | None = None
    status: str | None = None
    sessions: int = 0
    """How many sessions have a run in the group. In groups by month or model, a session may be in several."""
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

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dict of JSON values. Values that are None are left out."""
        return {
            "groups": [counts.as_dict() for counts in self.groups],
            "total": self.total.as_dict(),
            "unpriced": list(self.unpriced),
            "unreadable": self.unreadable,
        }


class _Group:
    def __init__(self) -> None:
        self.sessions = self.runs = self.failures = self.milliseconds = 0
        self.tokens: dict[str, list[int]] = {}

    def add(self, model: str, numbers: Sequence[int]) -> None:
        runs, failures, *tokens, milliseconds = numbers
        self.runs += runs
        self.failures += failures
        self.milliseconds += milliseconds
        self.tokens[model] = [a + b for a, b in zip(self.tokens.get(model, (0, 0, 0)), tokens, strict=True)]

    def counts(self, values: Mapping[str, str | None], prices: Prices | None) -> Counts:
        tokens = [sum(column) for column in zip(*self.tokens.values(), strict=True)] or [0, 0, 0]
        return Counts(
            **values,
            sessions=self.sessions,
            runs=self.runs,
            failures=self.failures,
            input_tokens=tokens[0],
            output_tokens=tokens[1],
            cached_tokens=tokens[2],
            seconds=self.milliseconds / 1000,
            cost=None if prices is None else sum(_cost(model, used, prices) for model, used in self.tokens.items()),
        )


def _price(model: str, prices: Prices) -> Sequence[float] | None:
    """Return the price of a model, or of the model without the date at the end of its name, or None."""
    return prices.get(model, prices.get(_DATED.sub("", model)))


def _cost(model: str, tokens: Sequence[int], prices: Prices) -> float:
    tokens_in, tokens_out, cached = tokens
    price = _price(model, prices)
    if price is None:
        return 0.0
    cached = min(cached, tokens_in)
    cached_price = price[2] if len(price) > 2 else price[0]
    return ((tokens_in - cached) * price[0] + tokens_out * price[1] + cached * cached_price) / 1_000_000


def stats_of(rows: Iterable[Mapping[str, Any]], by: Sequence[GroupKey], prices: Prices | None) -> Stats:
    """Count over rows of the manifest. A row without counts, of a document that cannot be read, counts as a session.

    >>> row = {"created_at": "2026-11-22T07:01:20.123Z", "overview": {"usage": {"2026-11": {"m": [1, 0, 9, 1, 0, 50]}}}}
    >>> stats_of([row], ["model"], {"m": (1.0, 2.0)}).groups[0].cost
    1.1e-05
    """
    groups: dict[tuple[str, ...], _Group] = {}
    total = _Group()
    unreadable = 0
    for row in rows:
        total.sessions += 1
        unreadable += "problem" in row
        overview = row.get("overview", {})
        session = {"user": row.get("user_id"), "entity": row.get("entity_id"), "status": overview.get("status")}
        seen = set()
        usage = overview.get("usage") or {_month(row["created_at"]): {"": [0, 0, 0, 0, 0, 0]}}
        for month, models in usage.items():
            for model, numbers in models.items():
                values = {**session, "month": month, "model": model}
                key = tuple(values[name] or "" for name in by)
                group = groups.setdefault(key, _Group())
                group.add(model, numbers)
                total.add(model, numbers)
                if key not in seen:
                    seen.add(key)
                    group.sessions += 1
    return Stats(
        tuple(
            groups[key].counts({name: text or None for name, text in zip(by, key, strict=True)}, prices)
            for key in sorted(groups)
        ),
        total.counts({}, prices),
        ()
        if prices is None
        else tuple(sorted(m for m, used in total.tokens.items() if any(used) and _price(m, prices) is None)),
        unreadable,
    )


def _month(time: str) -> str:
    """Return the month of a time, or "" if a document has text there that is not a time."""
    return time[:7] if is_time_text(time) else ""


def check_grouping(by: object) -> tuple[GroupKey, ...]:
    """Return `by` as a tuple. Raises ValueError if a name in it is unknown or repeated, TypeError if it is no list."""
    names = (by,) if isinstance(by, str) else by
    if not isinstance(names, (list, tuple)):
        raise TypeError(f"by must be a tuple of names, not {shown(by)}")
    for name in names:
        if name not in GROUP_KEYS:
            raise ValueError(f"by: {not_one_of(name, GROUP_KEYS)}")
    if len(set(names)) < len(names):
        raise ValueError(f"by has a name twice: {shown(by)}")
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
