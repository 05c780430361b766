"""`localstore convert`: convert documents from JSON to YAML or back."""

from __future__ import annotations

import os
from typing import Literal

import click

from localstore.models.figures import counted

from ..rewrite_result import print_result
from ..store_option import open_folder, store_option


@click.command()
@click.argument("sessions", metavar="[SESSION]...", nargs=-1)
@click.option("--to", type=click.Choice(["json", "yaml"]), required=True, help="Convert to this format.")
@click.option("--jobs", type=click.IntRange(1, 64), metavar="N", help="Use N processes. Default: one per core.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@store_option
def command(
    sessions: tuple[str, ...], to: Literal["json", "yaml"], jobs: int | None, as_json: bool, store: str | None
) -> None:
    """Convert documents to JSON or YAML. Without SESSION, convert the whole store.

    SESSION is an id, a name, the unique beginning of either, a path, or @2 for the second session of 'localstore ls';
    - reads ids from standard input, one per line.

    The content of a session does not change, except that JSON cannot keep the comments of YAML. The old documents are
    kept in a backup. 'localstore upgrade --undo' restores them and keeps runs that were added since. A document that
    cannot be converted is named and left unchanged, and the exit code is 1. If the command is interrupted, run it
    again.
    """
    storage = open_folder(store)
    from localstore.maintenance.upgrade import convert

    from ..arguments import find_sessions
    from ..progress import progress

    ids = [info.session_id for info in find_sessions(storage, sessions)] or None
    with progress("documents") as report:
        done = convert(storage, to, ids, processes=jobs or os.cpu_count() or 1, progress=report)
    print_result(
        done, f"Converted {counted(done.documents, 'document')} to {to.upper()}.", str(storage.root), as_json=as_json
    )
