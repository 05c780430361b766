"""`localstore ls`: list the sessions of a store."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localstore.models.figures import counted
from localstore.models.session_info import SORT_KEYS
from localstore.models.times import time_text

from .. import output
from ..filter_options import archived_option, filter_options, limit_option, without_archived
from ..store_option import open_store, store_name, store_option

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localstore.models.filter import Filter
    from localstore.models.session_info import SessionInfo, SortKey
    from localstore.storage.storage import Storage

ON_A_TERMINAL = 50
"""How many sessions a terminal shows without `--all` or `--limit`."""
_MOST_NAMED = 3
"""How many of the files that are not read are named."""
_UNITE = "'localstore merge' unites them with the documents."


@click.command()
@filter_options
@archived_option
@click.option(
    "--sort", type=click.Choice(SORT_KEYS), default="updated", help="Newest or largest first, or by title. [updated]"
)
@limit_option("At most the first N sessions.")
@click.option("--all", "everything", is_flag=True, help=f"List all sessions on a terminal, not only {ON_A_TERMINAL}.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array with all fields of each session.")
@store_option
def command(
    where: Filter, archived: bool, sort: SortKey, limit: int | None, everything: bool, as_json: bool, store: str | None
) -> None:
    """List sessions, most recently active first. A session must match all options. Archived ones are left out.

    On a terminal, the title is the name or the first question, and the id is as long as commands need it. A mark says
    how the last run ended: ✗ failed, … unfinished, ■ stopped. Columns that are the same for all sessions are left out.

    In a pipe, all sessions are listed, one per line: id, name, kind, entity, user, runs, updated and problem, separated
    by tabs. Control characters are written as escapes; every command also accepts an id in this form.
    """
    if limit and everything:
        raise click.UsageError("--limit and --all cannot be combined", click.get_current_context())
    storage = open_store(store)
    most = None if limit or everything or as_json or not output.to_terminal() else ON_A_TERMINAL
    listed = without_archived(where, archived)
    rows = storage.list_sessions(where=listed, limit=limit if most is None else most + 1, sort=sort)
    if as_json:
        output.write_json([row.as_dict() for row in rows])
    elif output.to_terminal():
        from ..session_table import print_sessions

        print_sessions(storage, rows[:most], sort, has_more=len(rows) > len(rows[:most]))
    else:
        output.write_rows(map(_cells, rows))
    from localstore.storage.storage import Storage

    if isinstance(storage, Storage):
        _name_files(storage)
    if not rows and not as_json:
        with_archived = without_archived(where, archived=True)
        if listed != with_archived and storage.list_sessions(where=with_archived, limit=1):
            output.note("All of them are archived. 'localstore ls --archived' lists them.")
        elif where:
            output.note("No sessions match. 'localstore ls' lists all sessions.")
        else:
            output.note(f"No sessions in the store {store_name(storage)} yet.")


def _name_files(storage: Storage) -> None:
    """Print what is to be said about the files that are not sessions of the listing."""
    unreadable = len(storage.unreadable_files().keys() - storage.duplicate_files().keys())
    if unreadable:
        output.note(f"{counted(unreadable, 'file')} cannot be read as a session. 'localstore check' says why.")
    _name_ignored(storage.ignored_files())
    _name_copies(storage.duplicate_files())


def _name_ignored(files: Mapping[Path, str]) -> None:
    """Print one line about the files that look like documents but are not read."""
    for path, reason in files.items() if len(files) == 1 else ():
        output.note(f"{path} {reason}")
    if len(files) > 1:
        output.note(f"{len(files):,} files are not read: {_names(files)}. 'localstore check' says why and what to do.")


def _name_copies(files: Mapping[Path, str]) -> None:
    """Print one line about the copies of sessions, which are not read either."""
    for path, session_id in files.items() if len(files) == 1 else ():
        output.note(f"{path} is a copy of session {session_id!r}, and is not read. {_UNITE}")
    if len(files) > 1:
        output.note(f"{len(files):,} files are copies of sessions, and are not read: {_names(files)}. {_UNITE}")


def _names(files: Mapping[Path, str]) -> str:
    """Return the names of the first files, and how many more there are."""
    more = f" and {len(files) - _MOST_NAMED:,} more" if len(files) > _MOST_NAMED else ""
    return ", ".join(path.name for path in islice(files, _MOST_NAMED)) + more


def _cells(row: SessionInfo) -> tuple[str, ...]:
    return (
        row.session_id,
        row.name or "",
        row.kind,
        row.entity_id or "",
        row.user_id or "",
        str(row.runs),
        "" if row.updated_at is None else time_text(row.updated_at),
        row.problem or "",
    )
