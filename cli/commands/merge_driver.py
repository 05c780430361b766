"""`localstore merge-driver`: merge the versions of a document for git."""

from __future__ import annotations

import subprocess
from pathlib import Path

import click

from .. import output
from ..errors import FINDINGS

_MOST_CONFLICTS = 127
"""The highest exit code by which `git merge-file` reports conflicts. Beyond it, it could not merge."""


@click.command()
@click.argument("base")
@click.argument("ours")
@click.argument("theirs")
@click.argument("path")
def command(base: str, ours: str, theirs: str, path: str) -> None:
    """Merge three versions of a document. Git calls this.

    The document is PATH, and the result is written to OURS. BASE is the version that OURS and THEIRS come from; it is
    empty if there is none. New runs of both sides come together, ordered by time. A run that both sides changed is
    written in both forms, with conflict markers around it, and the exit code is 1. If a version cannot be read, git
    merges the lines, with its own exit code.

    'localstore git init' registers this command in a clone. It opens no store.
    """
    from localstore.errors import LocalstoreError
    from localstore.maintenance.git_merge import merge_for_git

    versions = [Path(name).read_bytes() for name in (base, ours, theirs)]
    try:
        merged = merge_for_git(versions[0], versions[1], versions[2], path)
    except LocalstoreError as error:
        output.note(f"{error.message.partition(' Nothing was changed. ')[0]} So git merges {path} line by line.")
        click.get_current_context().exit(_merge_lines(base, ours, theirs))
    Path(ours).write_bytes(merged.raw)
    for note in merged.notes:
        output.note(note)
    if merged.is_conflict:
        click.get_current_context().exit(FINDINGS)


def _merge_lines(base: str, ours: str, theirs: str) -> int:
    """Let git merge the lines of the files into `ours`. Return the exit code for a merge driver."""
    words = ["git", "merge-file", "-L", "ours", "-L", "base", "-L", "theirs", ours, base, theirs]
    done = subprocess.run(words, check=False)  # noqa: S603 (git, which called this command)
    return done.returncode if 0 <= done.returncode <= _MOST_CONFLICTS else FINDINGS
