"""`localstore backups`: list and delete the backups of upgrades and conversions."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from localstore.models.figures import counted

from .. import output
from ..local_times import when
from ..store_option import find_store, store_option

if TYPE_CHECKING:
    from localstore.disk.backup_folder import BackupInfo


@click.command()
@click.argument("name", required=False)
@click.option("--prune", is_flag=True, help="Permanently delete backup NAME, or all but the newest with --keep.")
@click.option("--keep", type=click.IntRange(0), metavar="N", help="With --prune: keep the N newest backups.")
@click.option("--yes", is_flag=True, help="With --prune: do not ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@store_option
def command(name: str | None, prune: bool, keep: int | None, yes: bool, as_json: bool, store: str | None) -> None:
    """List the backups that upgrades, conversions and redactions made, newest first.

    With NAME, list the documents in that backup. NAME may be the unique beginning of a name. In a pipe, each backup is
    one line: name, the action that made it, time, number of documents and bytes, separated by tabs.

    'localstore upgrade --undo' restores the newest backup, unless it is that of a redaction: 'localstore restore --kind
    backup NAME' does. A redaction leaves the secrets in its backup, until you delete it. On a file system with hard
    links, a backup takes up no space until the documents change.
    """
    context = click.get_current_context()
    if name == "":
        raise click.UsageError("NAME is empty", context)
    if (keep is not None or yes) and not prune:
        raise click.UsageError("--keep and --yes need --prune", context)
    if prune and (name is None) == (keep is None):
        raise click.UsageError("--prune needs either NAME or --keep N", context)
    root = find_store(store)
    from localstore.disk import backup_folder
    from localstore.disk.store_tree import root_of

    root = str(root_of(root))
    if prune:
        chosen = backup_folder.listing(root)[keep:] if name is None else [backup_folder.named(root, name)]
        _prune(root, chosen, yes=yes, as_json=as_json)
        return
    if name is not None:
        _show(root, backup_folder.named(root, name), as_json)
        return
    _list(backup_folder.listing(root), as_json)


def _list(backups: list[BackupInfo], as_json: bool) -> None:
    if as_json:
        output.write_json([backup.as_dict() for backup in backups])
    elif not output.to_terminal():
        output.write_rows(
            [
                (backup.name, backup.action, backup.made_at, str(backup.documents), str(backup.size))
                for backup in backups
            ]
        )
    elif backups:
        from ..table import LONGEST_NAME, print_table

        print_table(
            output.console(),
            {
                "name": [backup.name for backup in backups],
                "made by": [
                    backup.action if backup.finished else f"{backup.action} (interrupted)" for backup in backups
                ],
                "when": [when(backup.made_at) for backup in backups],
                "documents": [f"{backup.documents:,}" for backup in backups],
                "bytes": [f"{backup.size:,}" for backup in backups],
            },
            numbers=("documents", "bytes"),
            kept_longest=("name", "when", "made by", "documents", "bytes"),
            marked=[False] * len(backups),
            roomy={"name": LONGEST_NAME},
            elide=("name",),
        )
    if not backups and not as_json:
        output.note("This store has no backups.")


def _show(root: str, backup: BackupInfo, as_json: bool) -> None:
    from localstore.disk.backup_folder import Backup

    paths = Backup(root, backup.name).paths()
    if as_json:
        output.write_json({**backup.as_dict(), "paths": paths})
    else:
        output.write_rows([(path,) for path in paths])


def _prune(root: str, chosen: list[BackupInfo], *, yes: bool, as_json: bool) -> None:
    from localstore.disk.backup_folder import Backup

    count = sum(backup.documents for backup in chosen)
    if chosen and not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(
                "No terminal to ask on. Add --yes to delete permanently", click.get_current_context()
            )
        names = ", ".join(backup.name for backup in chosen)
        click.confirm(f"Delete {counted(count, 'document')} of backup {names} permanently?", abort=True, err=True)
    for backup in chosen:
        Backup(root, backup.name).remove()
        if not as_json:
            output.write(f"deleted {backup.name}\n")
    if as_json:
        output.write_json([backup.as_dict() for backup in chosen])
    elif not chosen:
        output.note("Nothing to delete.")
