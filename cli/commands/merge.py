"""`localstore merge`: merge the copies of sessions that sync tools made, or another store with this one."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import click

from localstore.models.figures import counted

from .. import output
from ..errors import FINDINGS
from ..store_option import find_store, open_folder, open_named, store_option
from ..transfer_summary import transfer_summary
from .git import set_up_repository

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localstore.maintenance.copy_sides import Copyable
    from localstore.maintenance.merge_copies import MergedCopy, MergedSession
    from localstore.storage.storage import JsonStorage


@click.command()
@click.argument("other", metavar="[OTHER_STORE]", required=False)
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("--install", is_flag=True, help="Set up git to merge sessions, as 'localstore git init' does.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: an array or, with OTHER_STORE, an object.")
@store_option
def command(other: str | None, dry_run: bool, install: bool, as_json: bool, store: str | None) -> None:
    """Merge the copies that sync tools made of sessions, or another store.

    With OTHER_STORE, this store gets the sessions that only the other one has, and in sessions of both, the runs of
    both. What both have in different forms is named: this store gets the form of the store with the newer history, and
    keeps one that it loses for 'localstore rescue'. OTHER_STORE is only read. A session that is in the trash here stays
    there, unless the other store has more of it. A session that cannot be merged is named, and the exit code is 1.

    Without OTHER_STORE, copies in this store are merged. A sync tool that meets two versions of a document keeps the
    second one beside it, under another name. Such a copy is not read. This command adds what only a copy has to the
    document, run by run, and moves the copy to the folder .localstore/rescue. What both have in different forms is
    named; the form that was not taken is in rescue. A copy that is alone gets the name of the document.

    In a pipe, each copy is one line: session, copy, program that made it, what was added, and where the copy is now or
    why it stays, separated by tabs. If a copy stays, the exit code is 1.
    """
    if install:
        if other is not None or dry_run:
            problem = "--install cannot be combined with OTHER_STORE or --dry-run"
            raise click.UsageError(problem, click.get_current_context())
        set_up_repository(find_store(store), as_json=as_json)
        return
    storage = open_folder(store)
    if other is not None:
        _merge_store(storage, other, dry_run=dry_run, as_json=as_json)
        return
    done = storage.merge_copies(dry_run=dry_run)
    if as_json:
        output.write_json([merged.as_dict() for merged in done])
    else:
        for merged in done:
            _show(merged, dry_run=dry_run)
        summary = _summary(done, dry_run=dry_run)
        output.write(f"{summary}\n") if output.to_terminal() else output.note(summary)
    if any(merged.problems for merged in done):
        click.get_current_context().exit(FINDINGS)


def _merge_store(storage: JsonStorage, other: str, *, dry_run: bool, as_json: bool) -> None:
    from ..progress import progress

    source = open_named(other, "OTHER_STORE")
    if getattr(source, "root", None) == storage.root:
        raise click.UsageError("OTHER_STORE is the store itself", click.get_current_context())
    with progress("sessions") as report:
        done = storage.merge_from(cast("Copyable", source), dry_run=dry_run, progress=report)
    for difference in done.differences:
        output.note(str(difference))
    for session_id in done.deleted:
        output.note(f"session {session_id!r} stays in the trash: the other store has nothing more of it.")
    for session_id in done.returned:
        text = "would come" if dry_run else "comes"
        output.note(f"session {session_id!r} {text} back from the trash, because the other store has more of it.")
    for skipped in done.skipped:
        output.note(f"Not merged: {skipped}")
    if as_json:
        output.write_json(done.as_dict())
    else:
        output.write(f"{transfer_summary(done, 'Merged', 'Would merge')}\n")
    if done.skipped:
        click.get_current_context().exit(FINDINGS)


def _show(merged: MergedSession, *, dry_run: bool) -> None:
    person = output.to_terminal()
    for copy in merged.copies:
        if person:
            _print(f"{merged.session_id}: {_sentence(copy, dry_run=dry_run)}")
            if copy.kept is not None:
                _print(f"kept for 'localstore rescue' as {copy.kept.name}", 2)
        else:
            where = copy.problem or str(copy.kept or "")
            output.write_rows([(merged.session_id, str(copy.path), copy.tool or "", copy.summary, where)])
    name = merged.path.name
    if merged.renamed_from is not None:
        text = f"{merged.renamed_from.name} {'would be' if dry_run else 'is'} renamed to {name}"
        if person:
            _print(f"{merged.session_id}: {text}")
        else:
            output.write_rows([(merged.session_id, str(merged.renamed_from), "", "", str(merged.path))])
    if merged.problem is not None:
        output.note(f"{merged.session_id}: {merged.problem}")


def _sentence(copy: MergedCopy, *, dry_run: bool) -> str:
    made_by = "" if copy.tool is None else f" ({copy.tool})"
    if copy.problem is not None:
        return f"{copy.path.name}{made_by} stays: {copy.problem}"
    return f"{'would merge' if dry_run else 'merged'} {copy.path.name}{made_by}: {copy.summary}"


def _print(text: str, indent: int = 0) -> None:
    from ..pieces import Piece, Printer

    Printer(output.console())([Piece(output.one_line(text), indent)])


def _summary(done: Sequence[MergedSession], *, dry_run: bool) -> str:
    copies = [copy for merged in done for copy in merged.copies if copy.problem is None]
    renamed = sum(merged.renamed_from is not None for merged in done)
    left = sum(len(merged.problems) for merged in done)
    if not done:
        return "No session has a copy."
    would = "would be " if dry_run else ""
    texts = [f"{counted(len(copies), 'copy', 'copies')} {would}merged"] if copies else []
    texts += [f"{counted(renamed, 'document')} {would}renamed"] if renamed else []
    texts += [counted(left, "problem")] if left else []
    return ", ".join(texts)
