"""`localstore unarchive`: bring archived sessions back to the listings."""

from __future__ import annotations

import click

from ..archiving import archive
from ..store_option import store_option


@click.command()
@click.argument("sessions", metavar="SESSION...", nargs=-1, required=True)
@store_option
def command(sessions: tuple[str, ...], store: str | None) -> None:
    """Bring archived sessions back to 'localstore ls'.

    SESSION is an id, a name, the unique beginning of either, a path, or @2 for the second session of 'localstore ls';
    - reads ids from standard input, one per line. If one of them does not exist, nothing changes.

    The tag 'archived' is removed.
    """
    archive(sessions, store, archived=False)
