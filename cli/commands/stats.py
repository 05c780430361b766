"""`localstore stats`: count sessions, runs, tokens and their cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from localstore.models.figures import counted

from .. import output
from ..filter_options import filter_options
from ..price_file import read_prices
from ..store_option import open_store, store_name, store_option

if TYPE_CHECKING:
    from localstore.models.filter import Filter
    from localstore.models.stats import Counts, GroupKey, Stats

_NUMBERS = ("sessions", "runs", "failures", "input_tokens", "output_tokens", "cached_tokens", "seconds", "cost")
"""The fields of `Counts` that a pipe gets, in this order."""


def _grouping(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[GroupKey, ...]:
    from localstore.models.stats import check_grouping

    names = [name.strip() for value in values for name in value.split(",") if name.strip()]
    try:
        return check_grouping(names)
    except ValueError as error:
        raise click.BadParameter(str(error).removeprefix("by "), context, parameter) from None


def _groupings(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Return what completes a list of groups. None of them is offered twice."""
    from localstore.models.stats import GROUP_KEYS

    before, comma, last = incomplete.rpartition(",")
    left = [name for name in GROUP_KEYS if name not in before.split(",")]
    return [f"{before}{comma}{name}" for name in left if name.startswith(last)]


@click.command()
@click.option(
    "--by",
    metavar="WORDS",
    default=("month",),
    show_default=True,
    multiple=True,
    callback=_grouping,
    shell_complete=_groupings,
    help="Count in groups by user, month, day, model, entity, status or several of them, separated by commas.",
)
@click.option("--prices", "price_file", metavar="FILE", help="Count the cost, by the prices in FILE (YAML or JSON).")
@filter_options
@click.option("--no-pager", is_flag=True, help="Print to the terminal, and not to the pager.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the groups, the total, and models without a price.")
@store_option
def command(
    by: tuple[GroupKey, ...],
    price_file: str | None,
    where: Filter,
    no_pager: bool,
    as_json: bool,
    store: str | None,
) -> None:
    """Count sessions, runs, failures, tokens, seconds and cost. All runs of the sessions that match are counted.

    Groups by day take longer than others, because the documents of all these sessions are read.

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
        _show(stats, by, wants_pager=not no_pager)
    else:
        output.write_rows(_cells(counts, by) for counts in stats.groups)
    if stats.unpriced:
        models = ", ".join(model or "(no model)" for model in stats.unpriced)
        output.note(f"The cost leaves out the tokens of {models}, for which there is no price.")
    if stats.unreadable:
        documents = counted(stats.unreadable, "document")
        output.note(f"{documents} cannot be read, so the last known counts are used. 'localstore check' says why.")
    if not stats.total.sessions and not as_json:
        none = f"No sessions in the store {store_name(storage)} yet."
        output.note("No sessions match. 'localstore ls' lists all sessions." if where else none)


def _cells(counts: Counts, by: tuple[GroupKey, ...]) -> list[str]:
    values = [getattr(counts, name) or "" for name in by]
    numbers = [getattr(counts, field) for field in _NUMBERS]
    return values + [_plain(number) for number in numbers if number is not None]


def _plain(number: float) -> str:
    """Return a number without an exponent and without rounding errors at its end."""
    return str(number) if isinstance(number, int) else f"{number:.6f}".rstrip("0").rstrip(".")


def _show(stats: Stats, by: tuple[GroupKey, ...], *, wants_pager: bool) -> None:
    if not stats.groups:
        return
    from ..pager import paged
    from ..stats_table import print_stats

    with paged(wanted=wants_pager) as screen:
        print_stats(screen, stats, by)
