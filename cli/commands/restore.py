"""`localstore restore`: list and restore removed documents, rescue files or backups."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from .. import output
from ..local_times import when
from ..restore_items import KINDS, PLACES
from ..store_option import folder_of, open_store, store_option

if TYPE_CHECKING:
    from localstore.storage.contract import SessionStorage

    from ..restore_items import Kind, Restorable


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--kind", type=click.Choice(KINDS), default="trash", help="What to list or restore. [trash]")
@click.option("--all", "everything", is_flag=True, help="Restore everything of this kind. Not for backups.")
@click.option("--to", metavar="ID|PATH", help="Restore a document under another id, or copy it to a file.")
@click.option("--yes", is_flag=True, help="With --kind backup: do not ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@store_option
def command(
    names: tuple[str, ...], kind: Kind, everything: bool, to: str | None, yes: bool, as_json: bool, store: str | None
) -> None:
    """List what is in the trash; with NAME, restore it. NAME is a name from the list, its unique beginning, or the id
    of a session that is listed once.

    \b
    --kind trash   documents that were removed; they go back to their old places
    --kind rescue  runs and remains that were set aside; their runs go back into
                   their sessions, as with 'localstore rescue NAME --restore'
    --kind backup  backups of upgrades and conversions; the newest one is undone,
                   as with 'localstore upgrade --undo', after a confirmation

    In a database, --kind rescue lists the runs that were taken out of sessions. There are no backups.

    Nothing is replaced: a session that exists again stays, and the error says what to do. With --to ID, a document,
    or the runs of a rescue file, become another session. With --to PATH, a name with a slash or the ending .json or
    .yaml, it is copied to a file, and stays where it is.

    The list is newest first. In a pipe, each item is one line: kind, name, session, time, description and bytes,
    separated by tabs.
    """
    _check(names, kind, everything, to, yes=yes)
    storage = open_store(store)
    from ..restore_items import find_restorable, restorable

    if kind == "backup":
        folder_of(storage, "--kind backup")
    items = restorable(storage, kind)
    found = (find_restorable(storage, kind, items, name) for name in names)
    chosen = list({item.name: item for item in found}.values())
    if everything:
        chosen = items
    if not names and (not everything or not items):
        _list(storage, kind, items, as_json)
        return
    from localstore.storage.storage import Storage

    from ..restoring import copy_document, restore_documents, restore_rescued, undo_backup

    if kind == "backup":
        undo_backup(str(folder_of(storage).root), chosen[0], items[0].name, sure=yes, as_json=as_json)
    elif to is not None and _is_path(to):
        folder_of(storage, "--to PATH")
        copy_document(chosen[0], to, as_json=as_json)
    elif kind == "rescue" and isinstance(storage, Storage):
        restore_rescued(str(storage.root), chosen, new_id=to, as_json=as_json)
    else:
        restore_documents(storage, chosen, new_id=to, as_json=as_json)


def _check(names: tuple[str, ...], kind: Kind, everything: bool, to: str | None, *, yes: bool) -> None:
    """Raise UsageError if the arguments cannot be combined."""
    context = click.get_current_context()
    if "" in names:
        raise click.UsageError("NAME is empty", context)
    if names and everything:
        raise click.UsageError("NAME and --all cannot be combined", context)
    if kind == "backup" and (everything or len(names) > 1):
        raise click.UsageError("Backups are undone one at a time, the newest one first", context)
    if to is not None and (kind == "backup" or len(names) != 1):
        raise click.UsageError("--to needs one NAME of a document in the trash, or of a rescue file", context)
    if to == "":
        raise click.UsageError("--to is empty", context)
    if yes and kind != "backup":
        raise click.UsageError("--yes needs --kind backup", context)


def _is_path(text: str) -> bool:
    return os.path.basename(text) != text or text.endswith((".json", ".yaml"))


def _list(storage: SessionStorage, kind: Kind, items: list[Restorable], as_json: bool) -> None:
    if as_json:
        output.write_json([item.as_dict() for item in items])
        return
    if not output.to_terminal():
        output.write_rows(
            (item.kind, item.name, item.session_id or "", item.when, item.why, str(item.size)) for item in items
        )
    elif items:
        _print(items)
    if not items:
        output.note(f"There is nothing in {PLACES[kind]}.")
    if kind == "trash":
        _name_others(storage)


def _print(items: list[Restorable]) -> None:
    from ..table import LONGEST_NAME, print_table

    print_table(
        output.console(),
        {
            "name": [item.name for item in items],
            "session": [item.session_id or "" for item in items],
            "when": [when(item.when) for item in items],
            "what": [item.why for item in items],
            "bytes": [f"{item.size:,}" for item in items],
        },
        numbers=("bytes",),
        kept_longest=("name", "when", "session", "what", "bytes"),
        marked=[False] * len(items),
        roomy={"name": LONGEST_NAME},
        elide=("name",),
    )


def _name_others(storage: SessionStorage) -> None:
    """Say how many items of the other kinds there are."""
    from ..restore_items import restorable

    for kind in KINDS[1:]:
        number = len(restorable(storage, kind))
        if number:
            are, them = ("item is", "it") if number == 1 else ("items are", "them")
            output.note(f"{number:,} {are} in {PLACES[kind]}. 'localstore restore --kind {kind}' lists {them}.")
