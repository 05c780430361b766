"""`localstore copy`: copy sessions from one store to another."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Literal

import click

from localstore.databases.opening import is_url, without_password
from localstore.errors import StoreNotFound

from .. import output
from ..errors import FINDINGS
from ..filter_options import filter_options
from ..store_option import open_named, open_or_make_named
from ..transfer_summary import transfer_summary

if TYPE_CHECKING:
    from localstore.maintenance.copy_sides import Side
    from localstore.models.filter import Filter


_MOST_JOBS = 8
"""How many processes are used by default at most: each has a connection of its own to the database."""
_NO_DOCUMENT = ".database"
"""An ending that no document has: none keeps its bytes. A database does not store them either, but values."""


@click.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@filter_options
@click.option("--format", "suffix", type=click.Choice(["json", "yaml"]), help="The format of new documents in TO.")
@click.option("--dry-run", is_flag=True, help="Only say what would be copied.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    metavar="N",
    help=f"Use N processes for a large copy to PostgreSQL. Default: one per core, at most {_MOST_JOBS}.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object with the ids of the sessions.")
def command(
    source: str,
    target: str,
    where: Filter,
    suffix: Literal["json", "yaml"] | None,
    dry_run: bool,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Copy sessions from one store to another. FROM and TO are folders, or URLs of databases.

    What TO has already is not copied again, so run it as often as you like, also after an interruption. A session that
    was written to in both stores gets the runs of both in TO. What both have in different forms is named: TO gets the
    newer form, and keeps an older one for 'localstore rescue'. FROM does not change. Each session is read again after
    it was written, and compared.

    Without --format, each document keeps its format, and its bytes if TO does not have the session yet. A session that
    cannot be copied is named, and the exit code is 1.
    """
    from localstore.maintenance.copying import copy

    from ..progress import progress

    with contextlib.ExitStack() as stack, progress("sessions") as report:
        sides = open_named(source, "FROM")._copy_side(), _target(target, suffix, stack, dry_run=dry_run)
        if sides[0].name == sides[1].name:
            raise click.UsageError("FROM and TO are the same store", click.get_current_context())
        jobs = jobs or min(os.cpu_count() or 1, _MOST_JOBS)
        done = copy(*sides, where, jobs=jobs, dry_run=dry_run, progress=report)
    for difference in done.differences:
        output.note(str(difference))
    for skipped in done.skipped:
        output.note(f"Not copied: {skipped}")
    if as_json:
        output.write_json(done.as_dict())
    else:
        output.write(f"{transfer_summary(done, 'Copied', 'Would copy')}\n")
    if done.skipped:
        click.get_current_context().exit(FINDINGS)


def _target(name: str, suffix: str | None, stack: contextlib.ExitStack, *, dry_run: bool) -> Side:
    """Return the store to copy to, and create it if it does not exist. A dry run that needs one gets an empty one."""
    from localstore.storage.folder_side import FolderSide
    from localstore.storage.storage import JsonStorage, Storage

    ending = None if suffix is None else f".{suffix}"
    try:
        storage = open_named(name, "TO") if dry_run else open_or_make_named(name)
    except StoreNotFound:
        if not dry_run:
            raise
        output.note(f"There is no store in {without_password(name)} yet.")
        from tempfile import TemporaryDirectory

        storage = JsonStorage(stack.enter_context(TemporaryDirectory()))
        if is_url(name):
            ending = _NO_DOCUMENT
    return FolderSide(storage._engine, ending) if isinstance(storage, Storage) else storage._copy_side()
