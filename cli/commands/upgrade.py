"""`localstore upgrade`: upgrade old documents, preview an upgrade, or undo it."""

from __future__ import annotations

import contextlib
import gc
import os

import click

from localstore.databases.opening import is_url
from localstore.errors import BackupNotFound, Conflict, StoreNotFound
from localstore.models.figures import counted

from .. import output
from ..database_upgrade import upgrade_database
from ..rewrite_result import exit_with_problems, print_plan, print_result, undo_and_print_result
from ..store_option import find_store, store_option, url_of


@click.command()
@click.argument("folder", metavar="[DIR|URL]", required=False)
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("--diff", is_flag=True, help="Print the changes as a diff for `patch -p1`.")
@click.option("--undo", "undoes", is_flag=True, help="Undo the newest upgrade or conversion.")
@click.option("--jobs", type=click.IntRange(1, 64), metavar="N", help="Use N processes. Default: one per core.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@store_option
def command(
    folder: str | None, dry_run: bool, diff: bool, undoes: bool, jobs: int | None, as_json: bool, store: str | None
) -> None:
    """Upgrade old documents to the current schema version.

    DIR may also be a folder of session files that agno 1.x wrote: it becomes a store. So does a table of agno in SQLite
    or PostgreSQL, or a collection in MongoDB, that URL names.

    Old documents are first copied to a backup; see 'localstore backups'. A document that cannot be upgraded is named
    and left unchanged, and the exit code is 1. Other processes may use the store meanwhile. If the command is
    interrupted, run it again.

    --undo undoes the newest upgrade or conversion. Runs that were added since are kept.
    """
    if undoes and (dry_run or diff or jobs):
        raise click.UsageError(
            "--undo cannot be combined with --dry-run, --diff or --jobs", click.get_current_context()
        )
    if diff and as_json:
        raise click.UsageError("--diff and --json cannot be combined", click.get_current_context())
    if folder is not None and store is not None:
        raise click.UsageError("DIR and --store cannot be combined", click.get_current_context())
    if folder is not None and is_url(folder):
        folder, store = None, folder
    if folder and not os.path.isdir(folder):
        raise StoreNotFound(f"There is no folder '{folder}'. Correct the path.", path=folder)
    if folder is None and (url := url_of(store)) is not None:
        if jobs:
            raise click.UsageError("--jobs cannot be combined with a database", click.get_current_context())
        upgrade_database(url, dry_run=dry_run, diff=diff, undoes=undoes, as_json=as_json)
        return
    root = _find(folder if folder is not None else store)
    if undoes:
        _refuse_redaction(root)
        undo_and_print_result(root, as_json=as_json)
    elif dry_run or diff:
        _show_plan(root, diff=diff, as_json=as_json)
    else:
        _upgrade(root, jobs or os.cpu_count() or 1, as_json=as_json)


def _refuse_redaction(root: str) -> None:
    """Raise Conflict if the newest backup is that of a redaction: nobody expects an undo to bring secrets back."""
    from localstore.disk import backup_folder

    with contextlib.suppress(BackupNotFound):
        newest = backup_folder.newest(os.path.realpath(root))
        if newest.action == "redact":
            raise Conflict(
                f"The newest backup, {newest.name}, is that of a redaction. Nothing was changed. Bring the secrets "
                f"back with 'localstore restore --kind backup {newest.name}', or delete the backup with 'localstore "
                f"backups --prune {newest.name}'.",
                path=root,
            )


def _find(folder: str | None) -> str:
    """Return the folder to upgrade. If agno 1.x wrote the working directory, prefer it to a store above it."""
    if folder == "":
        raise click.UsageError("DIR is empty", click.get_current_context())
    is_named = folder is not None or click.get_current_context().find_root().params.get("store") is not None
    if not is_named and "LOCALSTORE_DIR" not in os.environ:
        from localstore.maintenance.upgrade import is_folder_of_agno

        if is_folder_of_agno(os.curdir):
            return os.getcwd()
    return find_store(folder)


def _show_plan(root: str, *, diff: bool, as_json: bool) -> None:
    from localstore.maintenance.upgrade import Problem as NotUpgraded
    from localstore.maintenance.upgrade import make_plan, preview, unified_diff

    gc.disable()  # the plan makes very many objects, none of them garbage
    plan = make_plan(root)
    gc.enable()
    problems = list(plan.problems)
    if not diff and not as_json:
        print_plan(plan.versions, [(step.version, step.title, count) for step, count in plan.steps])
    for change in preview(plan):
        if isinstance(change, NotUpgraded):
            problems.append(change)
        elif diff:
            output.write_bytes(unified_diff(change))
    if as_json:
        output.write_json({**plan.as_dict(), "problems": [problem.as_dict() for problem in problems]})
    exit_with_problems(problems)


def _upgrade(root: str, jobs: int, *, as_json: bool) -> None:
    from localstore.maintenance.upgrade import upgrade
    from localstore.models.schema import SCHEMA_VERSION

    from ..progress import progress

    with progress("documents") as report:
        done = upgrade(root, processes=jobs, progress=report)
    print_result(
        done, f"Upgraded {counted(done.documents, 'document')} to version {SCHEMA_VERSION}.", root, as_json=as_json
    )
