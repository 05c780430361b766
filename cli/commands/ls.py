"""`localstore ls`: list the sessions of a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import output
from ..store_option import open_store, store_option

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localstore.models.session_info import SessionInfo

ON_A_TERMINAL = 50
"""How many sessions a terminal shows without `--all` or `--limit`."""
_MOST_NAMED = 3
"""How many of the files that are not read are named."""


@click.command()
@click.option("--user", metavar="ID", help="List only the sessions of this user.")
@click.option("--entity", metavar="ID", help="List only the sessions of this agent, team or workflow.")
@click.option("--kind", type=click.Choice(["agent", "team", "workflow"]), help="List only the sessions of this kind.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="List at most the N newest sessions.")
@click.option("--all", "everything", is_flag=True, help=f"List all sessions on a terminal, not only {ON_A_TERMINAL}.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array with all fields of each session.")
@store_option
def command(
    user: str | None,
    entity: str | None,
    kind: str | None,
    limit: int | None,
    everything: bool,
    as_json: bool,
    store: str | None,
) -> None:
    """List sessions, most recently active first.

    In a pipe, all sessions are listed, one per line: id, name, kind, entity, user, runs, updated and problem, separated
    by tabs. Control characters are written as escapes; every command also accepts an id in this form.
    """
    if limit and everything:
        raise click.UsageError("--limit and --all cannot be combined", click.get_current_context())
    storage = open_store(store)
    rows = storage.list_sessions(user_id=user, entity_id=entity, kind=kind, limit=limit)
    if as_json:
        output.write_json([row.as_dict() for row in rows])
    elif output.to_terminal():
        _show(rows, None if limit or everything else ON_A_TERMINAL)
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
        filtered = user is not None or entity is not None or kind is not None
        none = f"No sessions in the store {storage.root} yet."
        output.note("No sessions match. 'localstore ls' lists all sessions." if filtered else none)


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
    from localstore.models.times import time_text

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


def _show(rows: list[SessionInfo], most: int | None) -> None:
    from ..table import print_table

    shown = rows[:most]
    if not shown:
        return
    cells = [_cells(row) for row in shown]
    screen = output.console()
    print_table(
        screen,
        {
            "id": [row[0] for row in cells],
            "name": [row[1] for row in cells],
            "kind": [row[2] for row in cells],
            "entity": [row[3] for row in cells],
            "user": [row[4] for row in cells],
            "runs": [row[5] for row in cells],
            "updated": [output.when(row[6]) for row in cells],
        },
        numbers=("runs",),
        kept_longest=("id", "updated", "runs", "name", "user", "entity", "kind"),
        marked=[bool(row.problem) for row in shown],
    )
    for row in shown:
        if row.problem:
            screen.print(output.one_line(f"{row.session_id}: {row.problem}"), style="red")
    if len(rows) > len(shown):
        screen.print(f"… and {len(rows) - len(shown):,} more. --all lists them.", style="dim")
