"""Tools that let a model read older messages of the session, and search the user's other sessions."""

from __future__ import annotations

from typing import Any, Protocol

from localstore.agents.tools.tool import RunContext, Tool
from localstore.models.session import Run, Session
from localstore.models.session_info import SessionInfo
from localstore.models.times import time_text

_MAX_CHARACTERS = 2000
"""How many characters of each question and answer the model receives."""
_RUNS_PER_SESSION = 20
"""How many of the last runs of another session are searched."""


class ReadableStorage(Protocol):
    """The part of a storage that the history tools use."""

    def read(self, session_id: str, *, user_id: str | None = None, last_runs: int | None = None) -> Session | None: ...

    def list_sessions(
        self,
        user_id: str | None = None,
        entity_id: str | None = None,
        kind: str | None = None,
        limit: int | None = None,
    ) -> list[SessionInfo]: ...


def read_chat_history(storage: ReadableStorage) -> Tool:
    """Return a tool that reads older questions and answers of the session. A call reads only the runs it needs."""

    def read_chat_history(context: RunContext, runs: int = 10, skip: int = 0) -> list[dict[str, Any]]:
        """Read earlier questions and answers of this conversation, oldest first.

        Args:
            runs: How many questions to read, at most 50.
            skip: How many of the newest ones to leave out.
        """
        runs, skip = min(max(runs, 0), 50), max(skip, 0)
        session = storage.read(context.session_id, user_id=context.user_id, last_runs=runs + skip + 1)
        earlier = [run for run in session.runs if run.run_id != context.run_id] if session is not None else []
        end = len(earlier) - skip
        return [_excerpt(run) for run in earlier[max(0, end - runs) : max(0, end)]]

    return Tool(read_chat_history)


def search_previous_sessions(storage: ReadableStorage) -> Tool:
    """Return a tool that searches the user's other sessions. A call reads the last 20 runs of each of them."""

    def search_previous_sessions(context: RunContext, words: str = "", sessions: int = 5) -> list[dict[str, Any]]:
        """Search the user's earlier conversations, newest first, for questions and answers with all of these words.

        Args:
            words: What to look for; empty for the last questions and answers of each conversation.
            sessions: How many conversations to look at, at most 50.
        """
        terms = words.casefold().split()
        results = []
        for session_id, name in _other_sessions(storage, context, min(max(sessions, 0), 50)):
            session = storage.read(session_id, user_id=context.user_id, last_runs=_RUNS_PER_SESSION)
            runs = session.runs if session is not None else []
            matches = [run for run in runs if _matches(run, terms)]
            if matches:
                excerpts = [_excerpt(run) for run in matches[-3:]]
                results.append({"session_id": session_id, **({"name": name} if name else {}), "runs": excerpts})
        return results

    return Tool(search_previous_sessions)


def _other_sessions(storage: ReadableStorage, context: RunContext, limit: int) -> list[tuple[str, str | None]]:
    """Return the ids and names of at most `limit` other sessions of this user, newest activity first.

    Without a user, only sessions that have no user are returned.
    """
    if context.user_id is not None:
        infos = storage.list_sessions(user_id=context.user_id, limit=limit + 1)
    else:
        infos = [info for info in storage.list_sessions() if info.user_id is None]
    return [(info.session_id, info.name) for info in infos if info.session_id != context.session_id][:limit]


def _matches(run: Run, words: list[str]) -> bool:
    text = f"{run.question}\n{run.answer}".casefold()
    return run.status == "completed" and all(word in text for word in words)


def _excerpt(run: Run) -> dict[str, Any]:
    time = None if run.created_at is None else time_text(run.created_at)
    return {"time": time, "question": run.question[:_MAX_CHARACTERS], "answer": run.answer[:_MAX_CHARACTERS]}
