"""Finds the session whose document is at a path, as a person gives it."""

from __future__ import annotations

import os

from localstore.engine.engine import Engine
from localstore.errors import DocumentBroken, SessionNotFound
from localstore.index.row import IndexRow


def row_at(engine: Engine, path: str) -> IndexRow:
    """Return the row of the session whose document is at this path, with what is counted over its runs.

    Raises the errors of `Storage.session_at`.
    """
    below = path_below(engine.root, path)
    row = None if below is None else engine.row_at(below)
    if row is not None:
        return engine.index.with_overview(row)
    if not os.path.exists(path):
        raise SessionNotFound(f"There is no file {path}.", path=path)
    if below is None:
        raise SessionNotFound(f"{path} is not in the store {engine.root}. Use the store that it is in.", path=path)
    if (problem := engine.index.problem_of(below)) is not None:
        raise DocumentBroken(problem, path=path)
    session_id = engine.index.duplicate_files().get(below)
    first = None if session_id is None else engine.locate(session_id)
    if first is not None:
        raise SessionNotFound(
            f"{path} is a copy of session {session_id!r}, whose document is {engine.root}/{first['path']}. Unite them "
            "with: localstore merge",
            path=path,
            session_id=session_id,
        )
    reason = engine.index.ignored_files().get(below)
    why = "is not the document of a session." if reason is None else f"{reason.problem}. {reason.advice}"
    raise SessionNotFound(f"{path} {why}", path=path)


def path_below(root: str, path: str) -> str | None:
    """Return the path below the root as rows have it, with slashes, or None if it is elsewhere. Links are followed."""
    try:
        relative = os.path.relpath(os.path.realpath(path), root)
    except ValueError:  # on another drive of Windows, or with a NUL character
        return None
    return None if relative.split(os.sep)[0] == os.pardir else relative.replace(os.sep, "/")
