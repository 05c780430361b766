"""`localstore rename`: set or remove the name of a session."""

from __future__ import annotations

import click

from .. import output
from ..arguments import find_session
from ..store_option import open_store, store_option


@click.command()
@click.argument("session")
@click.argument("name", required=False)
@click.option("--remove", is_flag=True, help="Remove the name. An empty NAME does the same.")
@store_option
def command(session: str, name: str | None, remove: bool, store: str | None) -> None:
    """Set the name of a session. Its id and its file do not change.

    SESSION is an id, a name, the unique beginning of either, a path, or @2 for the second session of 'localstore ls'.
    """
    if (name is not None) == remove:
        raise click.UsageError("Give either NAME or --remove", click.get_current_context())
    name = (name or "").strip()
    storage = open_store(store)
    info = find_session(storage, session)
    storage.update(info.session_id, name=name or None)
    change = f"is now named {name}" if name else "no longer has a name"
    output.write(f"{output.one_line(f'{info.session_id} {change}')}\n")
