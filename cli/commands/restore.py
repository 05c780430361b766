"""`localstore restore`: list and restore removed, rescued and backed-up documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .. import output
from ..store_option import find_store, store_option

if TYPE_CHECKING:
    from ..restore_items import Restorable


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@store_option
def command(name: str | None, as_json: bool, store: str | None) -> None:
    """List what is in the trash, in the rescue folder and in backups; with NAME, restore it.

    The list is newest first. In a pipe, each item is one line: kind, name, session, time, description and bytes,
    separated by tabs. NAME is a name from the list, its unique beginning, or the id of a session that is listed once.

    A document in the trash goes back to its old place and never replaces another one. A rescue file is restored as with
    'localstore rescue NAME --restore', and the newest backup as with 'localstore upgrade --undo'.
    """
    if name == "":
        raise click.UsageError("NAME is empty", click.get_current_context())
    root = find_store(store)
    from ..restore_items import find_restorable, restorable

    items = restorable(root)
    if name is not None:
        find_restorable(items, name).put_back(as_json)
    elif as_json:
        output.write_json([item.as_dict() for item in items])
    elif items:
        _list(items)
    else:
        output.note("Nothing to restore: the trash and the rescue folder are empty, and there are no backups.")


def _list(items: list[Restorable]) -> None:
    rows = [(item.kind, item.name, item.session_id or "", item.when, item.why, str(item.size)) for item in items]
    if not output.to_terminal():
        output.write_rows(rows)
        return
    from ..table import print_table

    print_table(
        output.console(),
        {
            "kind": [row[0] for row in rows],
            "name": [row[1] for row in rows],
            "session": [row[2] for row in rows],
            "when": [output.when(row[3]) for row in rows],
            "what": [row[4] for row in rows],
            "bytes": [f"{item.size:,}" for item in items],
        },
        numbers=("bytes",),
        kept_longest=("name", "when", "session", "what", "kind", "bytes"),
        marked=[False] * len(rows),
    )
