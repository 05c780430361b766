"""`localstore rescue`: list, show and restore rescued runs and files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .. import output
from ..local_times import when
from ..store_option import find_store, store_option

if TYPE_CHECKING:
    from localstore.disk.rescue_folder import Rescued


@click.command()
@click.argument("name", required=False)
@click.option("--restore", is_flag=True, help="Put the complete runs in the file back into their session.")
@click.option("--all", "everything", is_flag=True, help="With --restore: restore all files, oldest first.")
@click.option("--create", is_flag=True, help="With --restore: create the session again if it is gone.")
@click.option("--dry-run", is_flag=True, help="With --restore: only show what would be done.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@store_option
def command(
    name: str | None, restore: bool, everything: bool, create: bool, dry_run: bool, as_json: bool, store: str | None
) -> None:
    """List rescue files, newest first; with NAME, show one.

    Runs that could not be stored, remains of documents that a crash damaged, and leftover temporary files are kept in
    the folder .localstore/rescue of the store. NAME is the name of a file there, or its unique beginning. In a pipe,
    each file is one line: name, session, time, reason and bytes, separated by tabs.

    --restore adds the complete runs to the end of their session, each only once. If the session then contains
    everything in the file, the file is removed; otherwise it is kept, and the output says why.
    """
    _check(name, restore, everything, create=create, dry_run=dry_run)
    root = find_store(store)
    from localstore.maintenance.rescue import rescued

    files = rescued(root)
    if restore:
        from ..rescue_files import find_rescued, put_back

        chosen = files[::-1] if name is None else [find_rescued(files, name)]
        put_back(root, chosen, create=create, dry_run=dry_run, as_json=as_json)
    elif name is not None:
        _show(files, name, as_json)
    elif as_json:
        output.write_json([file.as_dict() for file in files])
    else:
        _list(files)
    if name is None and not files and not as_json:
        output.note("Nothing was set aside in this store.")


def _check(name: str | None, restore: bool, everything: bool, **with_restore: bool) -> None:
    """Raise UsageError if the options cannot be combined."""
    context = click.get_current_context()
    if name == "":
        raise click.UsageError("NAME is empty", context)
    for option, is_given in {"all": everything, **with_restore}.items():
        if is_given and not restore:
            raise click.UsageError(f"--{option.replace('_', '-')} needs --restore", context)
    if restore and (name is not None) == everything:
        raise click.UsageError("--restore takes either NAME or --all", context)


def _list(files: list[Rescued]) -> None:
    rows = [(file.name, file.session_id or "", file.set_aside_at, file.reason, str(file.size)) for file in files]
    if not output.to_terminal():
        output.write_rows(rows)
    elif rows:
        from ..table import LONGEST_NAME, print_table

        print_table(
            output.console(),
            {
                "name": [row[0] for row in rows],
                "session": [row[1] for row in rows],
                "when": [when(row[2]) for row in rows],
                "why": [row[3] for row in rows],
                "bytes": [f"{file.size:,}" for file in files],
            },
            numbers=("bytes",),
            kept_longest=("name", "when", "why", "session", "bytes"),
            marked=[False] * len(rows),
            roomy={"name": LONGEST_NAME},
            elide=("name",),
        )


def _show(files: list[Rescued], name: str, as_json: bool) -> None:
    from localstore.maintenance.rescue import content

    from ..pieces import Printer
    from ..rescue_files import entries, find_rescued, heading
    from ..transcript import Transcript

    file = find_rescued(files, name)
    file_content = content(file)
    if as_json:
        rest = file_content.rest.decode(errors="backslashreplace")
        output.write_json({**file.as_dict(), "entries": file_content.entries, "rest": rest})
        return
    person = output.to_terminal()
    Printer(output.console() if person else None)(
        [*heading(file, person), *entries(file_content, Transcript(person=person, fold=False))]
    )
