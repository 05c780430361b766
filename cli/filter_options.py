"""The options that select sessions. They have the same names and meanings in every command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

import click

from localstore.models.filter import ARCHIVED, STATUSES, Filter
from localstore.models.schema import KINDS, RATINGS

_FIELDS = ("user", "entity", "kind", "name", "tag", "model", "status", "rating", "since", "until", "part_of")
_OPTIONS = (
    click.option("--user", metavar="ID", help="Only sessions of this user."),
    click.option("--entity", metavar="ID", help="Only sessions of this agent, team or workflow."),
    click.option("--kind", type=click.Choice(KINDS), help="Only sessions of this kind."),
    click.option("--name", metavar="TEXT", help="Only sessions with TEXT in their name."),
    click.option("--tag", metavar="TAG", multiple=True, help="Only sessions with this tag. May be repeated."),
    click.option("--model", metavar="MODEL", help="Only sessions in which this model answered."),
    click.option("--status", type=click.Choice(STATUSES), help="Only sessions whose last run has this status."),
    click.option("--rating", type=click.Choice(RATINGS), help="Only sessions with a run that has this rating."),
    click.option(
        "--since", metavar="TIME", help="Only sessions active since TIME, such as 2026-11-01, 7d, 12h or yesterday."
    ),
    click.option("--until", metavar="TIME", help="Only sessions last active before TIME, or on that day."),
    click.option("--part-of", metavar="ID", help="Only sub-sessions of this session."),
)


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that select sessions to a command, which gets them as one `Filter` named `where`.

    A value that no session can have is a UsageError.
    """

    @wraps(command)
    def with_filter(**options: Any) -> Any:
        fields = {name: options.pop(name) for name in _FIELDS}
        for name, value in fields.items():
            if value == "" or (isinstance(value, tuple) and "" in value):  # probably a variable that is not set
                raise click.UsageError(f"--{name.replace('_', '-')} is empty", click.get_current_context())
        return command(**options, where=_filter(fields))

    for option in reversed(_OPTIONS):
        option(with_filter)
    return with_filter


def _filter(fields: dict[str, Any]) -> Filter:
    try:
        return Filter(**{**fields, "tag": fields["tag"] or None})
    except ValueError as error:
        raise click.UsageError(f"--{error}", click.get_current_context()) from None


def archived_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option `--archived` to a command; it gets a bool named `archived`, for `without_archived`."""
    return click.option("--archived", is_flag=True, help="Archived sessions too.")(command)


def without_archived(where: Filter, archived: bool) -> Filter:
    """Return the filter of a listing: without archived sessions and sub-sessions, unless these were asked for."""
    if where.part_of is None:
        where = replace(where, sub_sessions=False)
    return where if archived or ARCHIVED in (where.tag or ()) else replace(where, archived=False)


def limit_option(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the decorator that adds the option `--limit` with this help text."""
    return click.option("--limit", type=click.IntRange(1, 10**18), metavar="N", help=text)
