"""Reads the sessions of an export, and writes the export to a file or to standard output."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import click

from localstore.errors import DocumentBroken, NewerFormat, OlderFormat

from . import output
from .arguments import find_session
from .errors import message

if TYPE_CHECKING:
    from localstore.models.session import Session
    from localstore.models.session_info import SessionInfo
    from localstore.storage.storage import JsonStorage


def select_sessions(
    storage: JsonStorage, named: Iterable[str], user: str | None, tags: Iterable[str], since: datetime | None
) -> list[SessionInfo]:
    """Return the named sessions (all sessions if none is named) that match all filters, each only once.

    Raises Ambiguous or SessionNotFound if a name does not identify one session.
    """
    by_id = {info.session_id: info for info in (find_session(storage, text) for text in named)}
    infos = list(by_id.values()) if by_id else storage.list_sessions(user_id=user)
    required_tags = set(tags)
    return [
        info
        for info in infos
        if (user is None or info.user_id == user)
        and required_tags <= set(info.tags)
        and (since is None or info.updated_at is None or info.updated_at >= since)
    ]


class SessionReader:
    """Yields sessions one at a time. Unreadable documents are skipped, counted, and reported to standard error."""

    def __init__(self, storage: JsonStorage, infos: list[SessionInfo], rating: str | None) -> None:
        self._storage = storage
        self._infos = infos
        self._rating = rating
        self.read = 0
        self.problems = 0

    def __iter__(self) -> Iterator[Session]:
        from localstore.exporting import only_rated

        for info in self._infos:
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
