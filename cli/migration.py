"""What the commands that rewrite many documents have in common: how they tell what came of it."""

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
    """A number of documents in words."""
    return f"{documents:,} document" if documents == 1 else f"{documents:,} documents"


def say_problems(problems: Sequence[Problem]) -> None:
    """Name the documents that stay as they are, one line each, on the standard error."""
    for problem in problems:
        output.note(str(problem))


def end(problems: Sequence[Problem]) -> None:
    """Name what was left alone; with anything of that, the exit code is 1."""
    say_problems(problems)
    if problems:
        click.get_current_context().exit(FINDINGS)


def say_what_was_done(done: Upgraded, summary: str, root: str, *, as_json: bool) -> None:
    """Say how many documents were rewritten, where their old selves are, and which ones were left alone."""
    if as_json:
        problems = [problem.as_dict() for problem in done.problems]
        output.write_json({"documents": done.documents, "backup": done.backup, "problems": problems})
    elif done.backup is None and not done.documents:
        output.write("Nothing to do.\n")
    else:
        output.write(f"{summary}\n")
        undo = f"localstore upgrade --undo {shlex.quote(root)}"
        output.note(f"The old ones are in backup {done.backup}. Take it back with: {undo}")
    end(done.problems)


def say_undone(root: str, *, as_json: bool) -> None:
    """Undo the newest backup and say what came of it."""
    from localstore.maintenance.upgrade import undo

    from .progress import progress

    with progress("documents") as report:
        done = undo(root, progress=report)
    if as_json:
        problems = [problem.as_dict() for problem in done.problems]
        counts = {"backup": done.backup, "restored": done.restored, "changed": done.changed}
        output.write_json({**counts, "problems": problems})
    else:
        output.write(f"Brought back {sizes(done.restored + done.changed)} of backup {done.backup}.\n")
        if done.changed:
            output.note(f"{sizes(done.changed)} of them had been changed since, and kept that.")
    end(done.problems)
