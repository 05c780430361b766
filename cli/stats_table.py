"""The table of counts that `localstore stats` shows on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localstore.models.figures import count_with_share, short_count, short_time

from .table import print_table

if TYPE_CHECKING:
    from localstore.models.stats import Counts, GroupKey, Stats

_NONE = "-"
"""What is shown where the sessions of a group have no such value, or a model has no price."""
_GROUP = 24
"""The width that the values of a group get if they need it, before most numbers get theirs."""
_KEPT_LONGEST = ("cost", "runs", "failed", "input", "output", "sessions", "time", "cached")


def print_stats(screen: Any, stats: Stats, by: tuple[GroupKey, ...]) -> None:
    """Print a row for each group and one for the total, with bars for the cost, else the tokens, else the runs.

    Columns of numbers that are all zero are left out. `screen` is the console.
    """
    groups, total = stats.groups, stats.total
    rows = [*groups, total] if len(groups) > 1 else [*groups]
    columns: dict[str, list[str]] = {name: [getattr(counts, name) or _NONE for counts in groups] for name in by}
    for number, cells in enumerate(columns.values()):
        cells += ["total" if number == 0 else ""] * (len(rows) - len(groups))
    columns |= {
        "sessions": [f"{counts.sessions:,}" for counts in rows],
        "runs": [f"{counts.runs:,}" for counts in rows],
    }
    if total.failures:
        columns["failed"] = [count_with_share(counts.failures, counts.runs) for counts in rows]
    if total.input_tokens:
        columns["input"] = [short_count(counts.input_tokens) for counts in rows]
    if total.output_tokens:
        columns["output"] = [short_count(counts.output_tokens) for counts in rows]
    if total.cached_tokens:
        columns["cached"] = [short_count(counts.cached_tokens) for counts in rows]
    if total.seconds:
        columns["time"] = [short_time(counts.seconds) for counts in rows]
    if total.cost:
        unpriced = stats.unpriced if "model" in by else ()
        decimals = 2 if total.cost >= 100 else 4
        columns["cost"] = [
            _NONE if counts is not total and (counts.model or "") in unpriced else f"{counts.cost:,.{decimals}f}"
            for counts in rows
        ]
    print_table(
        screen,
        columns,
        numbers=[name for name in columns if name not in by],
        kept_longest=[*by, *_KEPT_LONGEST],
        marked=[False] * len(rows),
        roomy=dict.fromkeys(by, _GROUP) | {"cost": 8, "runs": 5},
        total_last=len(rows) > len(groups),
        bars=_bars(stats) if len(groups) > 1 else None,
    )


def _bars(stats: Stats) -> tuple[str, list[float]]:
    """Return the heading of the bars, and the amount of each group. The cost has a column of its own beside them."""
    if stats.total.cost:
        return "", [counts.cost or 0.0 for counts in stats.groups]
    if _tokens(stats.total):
        return "tokens", [_tokens(counts) for counts in stats.groups]
    return "runs", [counts.runs for counts in stats.groups]


def _tokens(counts: Counts) -> int:
    return counts.input_tokens + counts.output_tokens
