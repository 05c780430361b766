"""`localstore archive`: archive sessions, so that listings leave them out."""

from __future__ import annotations

import click

from ..archiving import archive
from ..store_option import store_option


@click.command()
@click.argument("sessions", metavar="SESSION...", nargs=-1, required=True)
@store_option
def command(sessions: tuple[str, ...], store: str | None) -> None:
    """Archive sessions: 'localstore ls' leaves them out.

    SESSION is an id, a name, the unique beginning of either, a path, or @2 for the second session of 'localstore ls';
    - reads ids from standard input, one per line. If one of them does not exist, nothing changes.

    An archived session has the tag 'archived', and can be used as before. 'localstore ls --archived' lists it,
    'localstore unarchive' removes the tag.
    """
    archive(sessions, store, archived=True)
