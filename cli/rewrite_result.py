"""Prints the results of commands that rewrite many documents."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from . import output
from .errors import FINDINGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localstore.maintenance.upgrade import Problem, Upgraded


def sizes(documents: int) -> str:
    """Return the number of documents with the word in the singular or plural, such as `2 documents`."""
    return f"{documents:,} document" if documents == 1 else f"{documents:,} documents"


def name_problems(problems: Sequence[Problem]) -> None:
    """Print the documents that were left unchanged to standard error, one per line."""
    for problem in problems:
        output.note(str(problem))


def exit_with_problems(problems: Sequence[Problem]) -> None:
    """Print the documents that were left unchanged to standard error. If there are any, exit with code 1."""
    name_problems(problems)
    if problems:
        click.get_current_context().exit(FINDINGS)


def print_result(done: Upgraded, summary: str, root: str, *, as_json: bool) -> None:
    """Print how many documents were rewritten, where the old ones are, and which were left unchanged."""
    if as_json:
        problems = [problem.as_dict() for problem in done.problems]
        output.write_json({"documents": done.documents, "backup": done.backup, "problems": problems})
    elif done.backup is None and not done.documents:
        output.write("Nothing to do.\n")
    else:
        output.write(f"{summary}\n")
        undo = f"localstore upgrade --undo {shlex.quote(root)}"
        output.note(f"The old documents are in backup {done.backup}. Undo with: {undo}")
    exit_with_problems(done.problems)


def undo_and_print_result(root: str, *, as_json: bool) -> None:
    """Restore the documents of the newest backup, and print the result."""
    from localstore.maintenance.upgrade import undo

    from .progress import progress

    with progress("documents") as report:
        done = undo(root, progress=report)
    if as_json:
        problems = [problem.as_dict() for problem in done.problems]
        counts = {"backup": done.backup, "restored": done.restored, "changed": done.changed}
        output.write_json({**counts, "problems": problems})
    else:
        output.write(f"Restored {sizes(done.restored + done.changed)} of backup {done.backup}.\n")
        if done.changed:
            output.note(f"{sizes(done.changed)} of them had changed since; the changes were kept.")
    exit_with_problems(done.problems)
