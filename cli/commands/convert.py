"""`localstore convert`: JSON documents become YAML, or the other way round."""

from __future__ import annotations

import os
from typing import Literal

import click

from ..migration import say_what_was_done, sizes
from ..store import open_store, store_option


@click.command()
@click.argument("sessions", metavar="[SESSION]...", nargs=-1)
@click.option("--to", type=click.Choice(["json", "yaml"]), required=True, help="The format to write.")
@click.option("--jobs", type=click.IntRange(1, 64), help="Share the work by so many processes. Default: all cores.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@store_option
def command(
    sessions: tuple[str, ...], to: Literal["json", "yaml"], jobs: int | None, as_json: bool, store: str | None
) -> None:
    """Write documents in the other format.

    Those of each SESSION are converted, or without one all of the store.
    Nothing in a session changes. The old documents are kept in a backup, and 'localstore upgrade --undo' brings them
    back, with what was added since. A document that cannot be converted stays as it is and is named, and the exit
    code is 1. Interrupted, run it again. Comments in YAML have no place in JSON; the backup has them.
    """
    storage = open_store(store)
    from localstore.maintenance.upgrade import convert

    from ..progress import progress
    from ..sessions import find_session

    ids = [find_session(storage, session).session_id for session in sessions] or None
    with progress("documents") as report:
        done = convert(storage, to, ids, processes=jobs or os.cpu_count() or 1, progress=report)
    say_what_was_done(done, f"Converted {sizes(done.documents)} to {to.upper()}.", str(storage.root), as_json=as_json)
