"""Finds the session that a client names, and turns what goes wrong into text that the model can act on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from mcp.server.mcpserver.exceptions import ToolError

from localstore.errors import LocalstoreError, SessionNotFound, reason
from localstore.models.excerpt import one_line
from localstore.models.session_info import SessionInfo
from localstore.storage.contract import SessionStorage

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_MOST_CANDIDATES = 10


def session_named(storage: SessionStorage, text: str) -> SessionInfo:
    """Return the only session that a text names: by its id, its name, or a beginning of either.

    Raises ToolError with the candidates if there are several, and SessionNotFound if there is none.
    """
    found = storage.find_sessions(text, limit=_MOST_CANDIDATES + 1)
    if len(found) == 1:
        return found[0]
    if not found:
        raise no_session(text)
    ids = ", ".join(f"{info.session_id} ({one_line(info.title or '')})" for info in found[:_MOST_CANDIDATES])
    more = ", and more" if len(found) > _MOST_CANDIDATES else ""
    raise ToolError(f"Several sessions are named like {text!r}. Give the whole id of one: {ids}{more}.")


def no_session(text: str) -> SessionNotFound:
    """Return the error for a session that does not exist."""
    return SessionNotFound(
        f"There is no session {text!r}. list_sessions lists them, and search_sessions finds words in them.",
        session_id=text,
    )


def reporting(tool: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Return a tool that raises ToolError, whose text the client gets, for everything that goes wrong in it."""

    @functools.wraps(tool)
    def reported(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return tool(*args, **kwargs)
        except ToolError:
            raise
        except (LocalstoreError, ValueError, TypeError, OSError) as error:
            raise ToolError(reason(error)) from error
        except Exception as error:
            kind = type(error).__name__
            raise ToolError(f"A bug in localstore ({kind}: {error}). Please report this line.") from error

    return reported
