"""`localstore upgrade`: bring old documents up to the current schema version, look before, and take it back."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

import click

from localstore.errors import StoreNotFound

from .. import output
from ..migration import end, say_undone, say_what_was_done, sizes
from ..store import find_store, store_option

if TYPE_CHECKING:
    from localstore.maintenance.upgrade import Plan


@click.command()
@click.argument("folder", metavar="[DIR]", required=False)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--diff", is_flag=True, help="Show how each document would change, as a diff for `patch -p1`.")
@click.option("--undo", "undoes", is_flag=True, help="Bring back what the newest backup holds.")
@click.option("--jobs", type=click.IntRange(1, 64), help="Share the work by so many processes. Default: all cores.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@store_option
def command(
    folder: str | None, dry_run: bool, diff: bool, undoes: bool, jobs: int | None, as_json: bool, store: str | None
) -> None:
    """Bring old documents up to the current schema version.

    DIR may also be a folder of session files that agno 1.x wrote: it is turned into a store in place.

    Each old document is kept in a backup first, see 'localstore backups'. A document that cannot be upgraded stays as
    it is and is named, and the exit code is 1. Others may work on the store meanwhile. Interrupted, run it again.

    --undo takes the newest upgrade or conversion back; runs that were added since stay.
    """
    if undoes and (dry_run or diff or jobs):
        raise click.UsageError("--undo goes with none of --dry-run, --diff, --jobs", click.get_current_context())
    if diff and as_json:
        raise click.UsageError("--diff prints a diff, and --json prints JSON: choose one", click.get_current_context())
    if folder is not None and store is not None:
        raise click.UsageError("DIR and --store name the same thing: give one", click.get_current_context())
    if folder and not os.path.isdir(folder):
        raise StoreNotFound(f"There is no folder '{folder}'. Correct the path.", path=folder)
    root = _find(folder if folder is not None else store)
    if undoes:
        say_undone(root, as_json=as_json)
    elif dry_run or diff:
        _show_plan(root, diff=diff, as_json=as_json)
    else:
        _upgrade(root, jobs or os.cpu_count() or 1, as_json=as_json)


def _find(given: str | None) -> str:
    """The folder to upgrade: one of agno 1.x in which somebody stands comes before a store above it."""
    if given == "":
        raise click.UsageError("DIR is empty", click.get_current_context())
    is_named = given is not None or click.get_current_context().find_root().params.get("store") is not None
    if not is_named and "LOCALSTORE_DIR" not in os.environ:
        from localstore.maintenance.upgrade import is_folder_of_agno

        if is_folder_of_agno(os.curdir):
            return os.getcwd()
    return find_store(given)


def _show_plan(root: str, *, diff: bool, as_json: bool) -> None:
    from localstore.maintenance.upgrade import Problem as NotUpgraded
    from localstore.maintenance.upgrade import make_plan, preview, unified_diff

    gc.disable()  # very many rows, and none of them garbage
    plan = make_plan(root)
    gc.enable()
    problems = list(plan.problems)
    if not diff and not as_json:
        _print_plan(plan)
    for change in preview(plan):
        if isinstance(change, NotUpgraded):
            problems.append(change)
        elif diff:
            output.write_bytes(unified_diff(change))
    if as_json:
        output.write_json({**plan.as_dict(), "problems": [problem.as_dict() for problem in problems]})
    end(problems)


def _print_plan(plan: Plan) -> None:
    rows = [("version", str(version), str(count)) for version, count in plan.versions.items()]
    steps = [("step", str(step.version), step.title, str(count)) for step, count in plan.steps]
    if not output.to_terminal():
        output.write_rows([*rows, *steps])
        return
    for _, version, count in rows:
        output.write(f"version {version}: {sizes(int(count))}\n")
    for _, version, title, count in steps:
        output.write(f"step {version}: {output.one_line(title)} ({sizes(int(count))})\n")
    if not plan.versions:
        output.write("There is no document in this store.\n")
    elif not plan.steps:
        output.write("Nothing to do.\n")


def _upgrade(root: str, jobs: int, *, as_json: bool) -> None:
    from localstore.maintenance.upgrade import upgrade
    from localstore.models.schema import SCHEMA_VERSION

    from ..progress import progress

    with progress("documents") as report:
        done = upgrade(root, processes=jobs, progress=report)
    say_what_was_done(done, f"Upgraded {sizes(done.documents)} to version {SCHEMA_VERSION}.", root, as_json=as_json)
