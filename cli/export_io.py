"""Reads the sessions of an export, and writes the export to a file or to standard output."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from localstore.errors import DocumentBroken, NewerFormat, OlderFormat

from . import output
from .arguments import find_sessions
from .errors import message

if TYPE_CHECKING:
    from localstore.models.filter import Filter
    from localstore.models.session import Session
    from localstore.models.session_info import SessionInfo
    from localstore.storage.storage import JsonStorage


def select_sessions(
    storage: JsonStorage, named: Iterable[str], where: Filter, *, limited: bool
) -> Iterable[SessionInfo]:
    """Return the named sessions (all sessions if none is named) that match the filter, each only once.

    If `limited` is true, they are listed as they are needed. Raises Ambiguous or SessionNotFound if a name does not
    identify one session.
    """
    infos = find_sessions(storage, named)
    if not infos:
        return storage.sessions(where) if limited else storage.list_sessions(where=where)
    return [info for info in infos if info.matches(where)]


class SessionReader:
    """Yields sessions one at a time. Unreadable documents are skipped, counted, and reported to standard error."""

    def __init__(
        self, storage: JsonStorage, infos: Iterable[SessionInfo], rating: str | None, limit: int | None
    ) -> None:
        """Read at most `limit` sessions (all if None), with only the runs that have the rating, if there is one."""
        self._storage = storage
        self._infos = infos
        self._rating = rating
        self._limit = limit
        self.read = 0
        self.problems = 0

    def __iter__(self) -> Iterator[Session]:
        from localstore.exporting import only_rated

        for info in self._infos:
            if self.read == self._limit:
                return
            try:
                session = self._storage.read(info.session_id)
            except (DocumentBroken, NewerFormat, OlderFormat, PermissionError) as error:
                self.problem(message(error))
                continue
            if session is not None and self._rating is not None:
                session = only_rated(session, self._rating)
            if session is not None:
                self.read += 1
                yield session

    def problem(self, text: str) -> None:
        """Count and report a document that is not exported."""
        self.problems += 1
        output.note(f"Not exported: {text}")


def refuse_existing(file: str, force: bool) -> None:
    """Raise UsageError if the file exists and must not be replaced. Pipes and devices are allowed."""
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
