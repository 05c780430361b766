"""`localstore stats`: count sessions, runs, tokens and their cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .. import output
from ..filter_options import filter_options
from ..price_file import read_prices
from ..store_option import open_store, store_option

if TYPE_CHECKING:
    from localstore.models.filter import Filter
    from localstore.models.stats import Counts, GroupKey, Stats

_NUMBERS = {
    "sessions": "sessions",
    "runs": "runs",
    "failed": "failures",
    "input": "input_tokens",
    "output": "output_tokens",
    "cached": "cached_tokens",
    "seconds": "seconds",
    "cost": "cost",
}
"""The columns of a terminal, and the fields of `Counts` that they show."""
_NONE = "-"
"""What a terminal shows where the sessions of a group have no such value."""


def _grouping(context: click.Context, parameter: click.Parameter, value: str) -> tuple[GroupKey, ...]:
    from localstore.models.stats import check_grouping

    try:
        return check_grouping([name.strip() for name in value.split(",") if name.strip()])
    except ValueError as error:
        raise click.BadParameter(str(error).removeprefix("by: "), context, parameter) from None


@click.command()
@click.option(
    "--by",
    metavar="WORDS",
    default="month",
    show_default=True,
    callback=_grouping,
    help="Count in groups by user, month, model, entity, status or several of them, separated by commas.",
)
@click.option("--prices", "price_file", metavar="FILE", help="Count the cost, by the prices in FILE (YAML or JSON).")
@filter_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the groups, the total, and models without a price.")
@store_option
def command(by: tuple[GroupKey, ...], price_file: str | None, where: Filter, as_json: bool, store: str | None) -> None:
    """Count sessions, runs, failures, tokens, seconds and cost. All runs of the sessions that match are counted.

    FILE maps models to prices of a million tokens, for input, output and, if there is one, cached input:

    \b
    gpt-4o-mini: [0.15, 0.60, 0.075]

    In a pipe, there is one line per group, separated by tabs: the values of --by, sessions, runs, failures, input,
    output and cached tokens, seconds and, with --prices, cost. Tokens of unfinished runs are not counted.
    """
    storage = open_store(store)
    prices = None if price_file is None else read_prices(price_file)
    stats = storage.stats(where, by=by, prices=prices)
    if as_json:
        output.write_json(stats.as_dict())
    elif output.to_terminal():
        _show(stats, by)
    else:
        output.write_rows(_cells(counts, by) for counts in stats.groups)
    if stats.unpriced:
        models = ", ".join(model or "(no model)" for model in stats.unpriced)
        output.note(f"The cost leaves out the tokens of {models}, for which there is no price.")
    if stats.unreadable:
        documents = "1 document" if stats.unreadable == 1 else f"{stats.unreadable:,} documents"
        output.note(f"{documents} cannot be read, so the last known counts are used. 'localstore check' says why.")
    if not stats.total.sessions and not as_json:
        none = f"No sessions in the store {storage.root} yet."
        output.note("No sessions match. 'localstore ls' lists all sessions." if where else none)


def _cells(counts: Counts, by: tuple[GroupKey, ...]) -> list[str]:
    values = [getattr(counts, name) or "" for name in by]
    numbers = [getattr(counts, field) for field in _NUMBERS.values()]
    return values + [_plain(number) for number in numbers if number is not None]


def _plain(number: float) -> str:
    """Return a number without an exponent and without rounding errors at its end."""
    return str(number) if isinstance(number, int) else f"{number:.6f}".rstrip("0").rstrip(".")


def _show(stats: Stats, by: tuple[GroupKey, ...]) -> None:
    """Print a row for each group and one for the total, with bars for the cost, else the tokens, else the runs."""
    from ..table import print_table

    groups, total = stats.groups, stats.total
    if not groups:
        return
    rows = [*groups, total] if len(groups) > 1 else [*groups]
    used = {name: field for name, field in _NUMBERS.items() if getattr(total, field) or name in ("sessions", "runs")}
    columns: dict[str, list[str]] = {name: [getattr(counts, name) or _NONE for counts in groups] for name in by}
    for number, cells in enumerate(columns.values()):
        cells += ["total" if number == 0 else ""] * (len(rows) - len(groups))
    for name, field in used.items():
        columns[name] = [_readable(name, getattr(counts, field), getattr(total, field)) for counts in rows]
    measure, amounts = _measured(stats)
    print_table(
        output.console(),
        columns,
        numbers=tuple(used),
        kept_longest=(*by, "cost", "runs", "input", "output", "sessions", "failed", "cached", "seconds"),
        marked=[False] * len(rows),
        total_last=len(rows) > len(groups),
        bars=(measure, amounts) if len(groups) > 1 else None,
    )


def _measured(stats: Stats) -> tuple[str, list[float]]:
    """Return what the bars show, and its amount for each group."""
    if stats.total.cost:
        return "cost", [counts.cost or 0.0 for counts in stats.groups]
    if stats.total.input_tokens or stats.total.output_tokens:
        return "tokens", [counts.input_tokens + counts.output_tokens for counts in stats.groups]
    return "runs", [counts.runs for counts in stats.groups]


def _readable(name: str, number: float, total: float) -> str:
    """Return a number as text. All numbers of a column have the same decimals, by their total."""
    if isinstance(number, int):
        return f"{number:,}"
    if name == "cost":
        return f"{number:,.{2 if total >= 100 else 4}f}"
    return f"{number:,.{0 if total >= 1000 else 1}f}"
