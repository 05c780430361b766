"""`localstore ls`: list the sessions of a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import output
from ..filter_options import filter_options, limit_option
from ..store_option import open_store, store_option

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localstore.models.filter import Filter
    from localstore.models.session_info import SessionInfo

ON_A_TERMINAL = 50
"""How many sessions a terminal shows without `--all` or `--limit`."""
_MOST_NAMED = 3
"""How many of the files that are not read are named."""


@click.command()
@filter_options
@limit_option("At most the N newest sessions.")
@click.option("--all", "everything", is_flag=True, help=f"List all sessions on a terminal, not only {ON_A_TERMINAL}.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array with all fields of each session.")
@store_option
def command(where: Filter, limit: int | None, everything: bool, as_json: bool, store: str | None) -> None:
    """List sessions, most recently active first. A session must match all options.

    In a pipe, all sessions are listed, one per line: id, name, kind, entity, user, runs, updated and problem, separated
    by tabs. Control characters are written as escapes; every command also accepts an id in this form.
    """
    if limit and everything:
        raise click.UsageError("--limit and --all cannot be combined", click.get_current_context())
    storage = open_store(store)
    most = None if limit or everything or as_json or not output.to_terminal() else ON_A_TERMINAL
    rows = storage.list_sessions(where=where, limit=limit if most is None else most + 1)
    if as_json:
        output.write_json([row.as_dict() for row in rows])
    elif output.to_terminal():
        _show(rows, most)
    else:
        output.write_rows(map(_cells, rows))
    unreadable = len(storage.unreadable_files())
    if unreadable:
        files = "1 file" if unreadable == 1 else f"{unreadable:,} files"
        output.note(f"{files} cannot be read as a session. 'localstore check' says why.")
    _name_ignored(storage.ignored_files())
    for path, session_id in storage.duplicate_files().items():
        output.note(f"{path} has the session_id {session_id!r} of another document. 'localstore check' says which.")
    if not rows and not as_json:
        none = f"No sessions in the store {storage.root} yet."
        output.note("No sessions match. 'localstore ls' lists all sessions." if where else none)


def _name_ignored(files: Mapping[Path, str]) -> None:
    """Print one line about the files that look like documents but are not read."""
    names = [str(path) for path in files]
    if len(names) == 1:
        output.note(f"{names[0]} {files[Path(names[0])]}")
    elif names:
        more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
        listed = ", ".join(names[:_MOST_NAMED])
        output.note(f"{len(names):,} files are not read: {listed}{more}. 'localstore check' says why and what to do.")


def _cells(row: SessionInfo) -> tuple[str, ...]:
    return (
        row.session_id,
        row.name or "",
        row.kind,
        row.entity_id or "",
        row.user_id or "",
        str(row.runs),
        _updated(row),
        row.problem or "",
    )


def _updated(row: SessionInfo) -> str:
    from localstore.models.times import time_text

    return "" if row.updated_at is None else time_text(row.updated_at)


def _show(rows: list[SessionInfo], most: int | None) -> None:
    """Print a table of the first `most` sessions. The status is shown unless it is the usual one."""
    from ..table import print_table

    shown = rows[:most]
    if not shown:
        return
    screen = output.console()
    print_table(
        screen,
        {
            "id": [row.session_id for row in shown],
            "title": [row.title or "" for row in shown],
            "kind": [row.kind for row in shown],
            "entity": [row.entity_id or "" for row in shown],
            "user": [row.user_id or "" for row in shown],
            "runs": [str(row.runs) for row in shown],
            "status": ["" if row.status == "completed" else row.status or "" for row in shown],
            "updated": [output.when(_updated(row)) for row in shown],
        },
        numbers=("runs",),
        kept_longest=("id", "updated", "title", "status", "runs", "user", "entity", "kind"),
        marked=[bool(row.problem) for row in shown],
    )
    for row in shown:
        if row.problem:
            screen.print(output.one_line(f"{row.session_id}: {row.problem}"), style="red")
    if len(rows) > len(shown):
        screen.print("… and more. --all lists them.", style="dim")
