"""Prints the results of commands that rewrite many documents."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from localstore.models.figures import counted

from . import output
from .errors import FINDINGS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from localstore.maintenance.upgrade import Problem, Undone, Upgraded


def name_problems(problems: Sequence[Problem]) -> None:
    """Print the documents that were left unchanged to standard error, one per line."""
    for problem in problems:
        output.note(str(problem))


def exit_with_problems(problems: Sequence[Problem]) -> None:
    """Print the documents that were left unchanged to standard error. If there are any, exit with code 1."""
    name_problems(problems)
    if problems:
        click.get_current_context().exit(FINDINGS)


def print_plan(versions: Mapping[int, int], steps: Sequence[tuple[int, str, int]]) -> None:
    """Print how many documents have which version, and the steps of an upgrade, each with its number of documents."""
    rows = [("version", str(version), str(count)) for version, count in versions.items()]
    todo = [("step", str(version), title, str(count)) for version, title, count in steps]
    if not output.to_terminal():
        output.write_rows([*rows, *todo])
        return
    for _, version, count in rows:
        output.write(f"version {version}: {counted(int(count), 'document')}\n")
    for _, version, title, count in todo:
        output.write(f"step {version}: {output.one_line(title)} ({counted(int(count), 'document')})\n")
    if not versions:
        output.write("This store has no documents.\n")
    elif not steps:
        output.write("Nothing to do.\n")


def print_result(done: Upgraded, summary: str, root: str, *, as_json: bool) -> None:
    """Print how many documents were rewritten, where the old ones are, and which were left unchanged."""
    undo = f"localstore upgrade --undo {shlex.quote(root)}"
    print_upgraded(done, summary, f"The old documents are in backup {done.backup}. Undo with: {undo}", as_json=as_json)


def print_upgraded(done: Upgraded, summary: str, old: str, *, as_json: bool) -> None:
    """Print how many documents were rewritten and which were left unchanged. `old` says where the old ones are."""
    if as_json:
        problems = [problem.as_dict() for problem in done.problems]
        output.write_json({"documents": done.documents, "backup": done.backup, "problems": problems})
    elif done.backup is None and not done.documents:
        output.write("Nothing to do.\n")
    else:
        output.write(f"{summary}\n")
        output.note(old)
    exit_with_problems(done.problems)


def undo_and_print_result(root: str, *, as_json: bool) -> None:
    """Restore the documents of the newest backup, and print the result."""
    from localstore.maintenance.upgrade import undo

    from .progress import progress

    with progress("documents") as report:
        done = undo(root, progress=report)
    print_undone(done, f"of backup {done.backup}", as_json=as_json)


def print_undone(done: Undone, source: str, *, as_json: bool) -> None:
    """Print how many documents were restored. `source` says from what."""
    if as_json:
        problems = [problem.as_dict() for problem in done.problems]
        counts = {"backup": done.backup, "restored": done.restored, "changed": done.changed}
        output.write_json({**counts, "problems": problems})
    else:
        output.write(f"Restored {counted(done.restored + done.changed, 'document')} {source}.\n")
        if done.changed:
            output.note(f"{counted(done.changed, 'document')} of them had changed since; the changes were kept.")
    exit_with_problems(done.problems)
