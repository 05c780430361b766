"""Tools that let a model read older messages of the session, and search the user's other sessions."""

from __future__ import annotations

from typing import Any, Protocol

from localstore.agents.tools.tool import RunContext, Tool
from localstore.models.search_hit import SearchHit
from localstore.models.session import Run, Session
from localstore.models.session_info import SessionInfo
from localstore.models.times import time_text

_MAX_CHARACTERS = 2000
"""How many characters of each question and answer the model receives."""
_LAST_RUNS = 20
"""How many of the last runs of another session are read first."""
_RUNS_PER_SESSION = 3
"""How many runs of another session the model receives."""
_FIRST_HITS, _MOST_HITS = 50, 5000
"""How many hits are asked for first, and at most: many may be in a few sessions, or in those of other users."""


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

    def search(self, text: str, *, user_id: str | None = None, limit: int | None = 20) -> list[SearchHit]: ...


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
    """Return a tool that searches the user's other sessions, with the storage's index of words."""

    def search_previous_sessions(context: RunContext, words: str = "", sessions: int = 5) -> list[dict[str, Any]]:
        """Search the user's earlier conversations, newest first, for questions and answers with all of these words.

        Args:
            words: What to look for; empty for the last questions and answers of each conversation.
            sessions: How many conversations to look at, at most 50.
        """
        limit = min(max(sessions, 0), 50)
        results = []
        if words.strip():
            for session_id, run_ids in _sessions_with(storage, context, words, limit).items():
                session, runs = _read_runs(storage, context, session_id, run_ids)
                results.append((session_id, session, runs))
        else:
            for session_id in _other_sessions(storage, context, limit):
                session = storage.read(session_id, user_id=context.user_id, last_runs=_LAST_RUNS)
                results.append((session_id, session, session.runs if session is not None else []))
        return [_result(*result) for result in results if any(run.status == "completed" for run in result[2])]

    return Tool(search_previous_sessions)


def _sessions_with(storage: ReadableStorage, context: RunContext, words: str, limit: int) -> dict[str, list[str]]:
    """Return the newest runs that have the words, by session: of at most `limit` other sessions of this user.

    Without a user, only sessions that have no user are searched. A word also stands for longer ones that begin with it.
    """
    query = words if any(char in words for char in '"*-') else " ".join(f"{word}*" for word in words.split())
    count = _FIRST_HITS
    while True:
        hits = storage.search(query, user_id=context.user_id, limit=count)
        runs: dict[str, list[str]] = {}
        for hit in hits:
            is_allowed = hit.user_id == context.user_id and hit.session_id != context.session_id
            if is_allowed and hit.run_id is not None and (hit.session_id in runs or len(runs) < limit):
                runs.setdefault(hit.session_id, []).append(hit.run_id)
        if len(runs) == limit or len(hits) < count or count >= _MOST_HITS:
            return runs
        count *= 10


def _read_runs(
    storage: ReadableStorage, context: RunContext, session_id: str, run_ids: list[str]
) -> tuple[Session | None, list[Run]]:
    """Return a session and those of its runs that have these ids. Read the whole session only if necessary."""
    session, runs = None, []
    for last_runs in (_LAST_RUNS, None):
        session = storage.read(session_id, user_id=context.user_id, last_runs=last_runs)
        runs = [run for run in session.runs if run.run_id in run_ids] if session is not None else []
        if len(runs) >= min(len(run_ids), _RUNS_PER_SESSION):
            break
    return session, runs


def _result(session_id: str, session: Session | None, runs: list[Run]) -> dict[str, Any]:
    """Return what the model receives of a session: the newest of these runs that are completed."""
    name = session.name if session is not None else None
    excerpts = [_excerpt(run) for run in runs if run.status == "completed"][-_RUNS_PER_SESSION:]
    return {"session_id": session_id, **({"name": name} if name else {}), "runs": excerpts}


def _other_sessions(storage: ReadableStorage, context: RunContext, limit: int) -> list[str]:
    """Return the ids of at most `limit` other sessions of this user, newest activity first.

    Without a user, only sessions that have no user are returned.
    """
    if context.user_id is not None:
        infos = storage.list_sessions(user_id=context.user_id, limit=limit + 1)
    else:
        infos = [info for info in storage.list_sessions() if info.user_id is None]
    return [info.session_id for info in infos if info.session_id != context.session_id][:limit]


def _excerpt(run: Run) -> dict[str, Any]:
    time = None if run.created_at is None else time_text(run.created_at)
    return {"time": time, "question": run.question[:_MAX_CHARACTERS], "answer": run.answer[:_MAX_CHARACTERS]}
