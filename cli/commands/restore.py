"""`localstore restore`: what was thrown away, set aside or backed up, in one list; put it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .. import output
from ..store import find_store, store_option

if TYPE_CHECKING:
    from ..restorable import Restorable


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@store_option
def command(name: str | None, as_json: bool, store: str | None) -> None:
    """List what was thrown away, set aside or backed up; put it back.

    Without NAME there is a list, newest first; into a pipe go kind, name, session, when, what, and bytes, separated by
    tabs. NAME is a name from the list, the beginning of one that no other one shares, or the id of a session of which
    there is just one thing.

    A document in the trash goes back to where it stood, never over another one. What was set aside goes back as with
    'localstore rescue NAME --restore', and the newest backup as with 'localstore upgrade --undo'.
    """
    if name == "":
        raise click.UsageError("NAME is empty", click.get_current_context())
    root = find_store(store)
    from ..restorable import find_restorable, restorable

    found = restorable(root)
    if name is not None:
        find_restorable(found, name).put_back(as_json)
    elif as_json:
        output.write_json([one.as_dict() for one in found])
    elif found:
        _list(found)
    else:
        output.note("The trash is empty, nothing was set aside, and there is no backup in this store.")


def _list(found: list[Restorable]) -> None:
    rows = [(one.kind, one.name, one.session_id or "", one.when, one.why, str(one.size)) for one in found]
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
            "bytes": [f"{one.size:,}" for one in found],
        },
        numbers=("bytes",),
        kept_longest=("name", "when", "session", "what", "kind", "bytes"),
        marked=[False] * len(rows),
    )
