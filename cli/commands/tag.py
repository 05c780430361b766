"""`localstore tag`: add, remove or list the tags of a session."""

from __future__ import annotations

import click

from localstore.errors import SessionNotFound
from localstore.storage.plain_session import read_plain

from .. import output
from ..arguments import find_session
from ..store_option import open_store, store_option


@click.command()
@click.argument("session")
@click.argument("tags", metavar="[TAG]...", nargs=-1)
@click.option("--remove", is_flag=True, help="Remove these tags instead.")
@click.option("--json", "as_json", is_flag=True, help="Print the tags as a JSON array.")
@store_option
def command(session: str, tags: tuple[str, ...], remove: bool, as_json: bool, store: str | None) -> None:
    """Add tags to a session and print all its tags, one per line. Without TAG, only print them.

    SESSION is an id, a name, the unique beginning of either, a path, or @2 for the second session of 'localstore ls'.
    Tags that another process adds at the same time are kept.
    """
    context = click.get_current_context()
    if remove and not tags:
        raise click.UsageError("--remove needs the tags to remove", context)
    if "" in tags:
        raise click.UsageError("TAG is empty", context)
    storage = open_store(store)
    session_id = find_session(storage, session).session_id
    if tags:
        storage.update(session_id, add_tags=() if remove else tags, remove_tags=tags if remove else ())
    stored = read_plain(storage, session_id, last_runs=0)
    if stored is None:
        raise SessionNotFound(f"Session '{session_id}' was deleted just now. 'localstore ls' lists the remaining ones.")
    stored_tags = stored.header.get("tags", [])
    if as_json:
        output.write_json(stored_tags)
    else:
        output.write_rows([tag] for tag in stored_tags)
