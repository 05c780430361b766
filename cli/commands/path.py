"""`localstore path`: print where a session is stored."""

from __future__ import annotations

import click

from ..arguments import find_session
from ..output import write
from ..store_option import open_store, store_option


@click.command()
@click.argument("session")
@store_option
def command(session: str, store: str | None) -> None:
    """Print the absolute path of a session's document.

    SESSION is an id, a name, the unique beginning of either, a path, or @2 for the second session of 'localstore ls'.
    To edit a session, use 'localstore edit', which does not lose what others write meanwhile.
    """
    write(f"{find_session(open_store(store), session).path}\n")
