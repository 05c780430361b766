"""`localstore rename`: give a session a name, or take it away."""

from __future__ import annotations

import click

from .. import output
from ..sessions import find_session
from ..store import open_store, store_option


@click.command()
@click.argument("session")
@click.argument("name", required=False)
@click.option("--remove", is_flag=True, help="Take the name away; so does an empty NAME.")
@store_option
def command(session: str, name: str | None, remove: bool, store: str | None) -> None:
    """Give a session a name. Its id and its file stay as they are.

    SESSION is an id, a name, or the beginning of an id that no other one shares.
    """
    if (name is not None) == remove:
        raise click.UsageError("Give either NAME or --remove", click.get_current_context())
    storage = open_store(store)
    info = find_session(storage, session)
    storage.update(info.session_id, name=name or None)
    said = f"is called {name} now" if name else "has no name now"
    output.write(f"{output.one_line(f'{info.session_id} {said}')}\n")
