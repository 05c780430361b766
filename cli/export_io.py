"""Writes an export to a file or to standard output, and names what is not in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from . import output
from .errors import message

if TYPE_CHECKING:
    from localstore.storage.export import NotExported


def report(one: NotExported) -> None:
    """Name what is not exported on standard error."""
    if one.run_id is not None:
        output.note(f"Left out: run {one.run_id} of {one.session_id}: {one.problem}.")
    elif one.error is not None:
        output.note(f"Not exported: {message(one.error)}")
    else:
        output.note(f"Not exported: {one.path}: {one.problem}")


def refuse_existing(file: str, force: bool) -> None:
    """Raise UsageError if the file has no folder, or exists and must not be replaced. Pipes and devices are allowed."""
    if os.path.isdir(file):
        raise click.UsageError(f"{file} is a folder. Name a file", click.get_current_context())
    folder = os.path.dirname(os.path.realpath(file))
    if not os.path.isdir(folder):
        raise click.UsageError(f"There is no folder {folder}. Make it first", click.get_current_context())
    if not force and os.path.lexists(file) and not _is_stream(file):
        problem = f"{file} exists. Choose another name, or replace it with --force"
        raise click.UsageError(problem, click.get_current_context())


def _is_stream(file: str) -> bool:
    try:
        mode = os.stat(file).st_mode
    except FileNotFoundError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def write_export(parts: Iterator[str], file: str | None, force: bool) -> None:
    """Write the export to a file, completely or not at all. If `file` is None, write to standard output.

    Raises UsageError if the file exists and `force` is false, OSError if it cannot be written.
    """
    if file is None:
        on_terminal = output.to_terminal()
        for part in parts:
            output.write(output.lines(part) if on_terminal else part)
        return
    from localstore.disk import durable_files

    refuse_existing(file, force)
    if _is_stream(file):
        with open(file, "w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(parts)
    else:  # a link is kept, and points to the new file
        durable_files.write_file(os.path.realpath(file), (part.encode() for part in parts))
