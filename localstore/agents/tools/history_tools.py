"""Tools with which a model looks things up: older messages of the session, and the user's other sessions."""

from __future__ import annotations

from typing import Any, Protocol

from localstore.agents.tools.tool import RunContext, Tool
from localstore.models.session import Run, Session
from localstore.models.session_info import SessionInfo

_LONGEST = 2000
"""Characters of one question or answer."""
_RUNS_OF_A_SESSION = 20
"""So many of the last runs of another session are looked at."""


class Readable(Protocol):
    """What the tools need of a storage."""

    def read(self, session_id: str, *, user_id: str | None = None, last_runs: int | None = None) -> Session | None: ...

    def list_sessions(
        self,
        user_id: str | None = None,
        entity_id: str | None = None,
        kind: str | None = None,
        limit: int | None = None,
    ) -> list[SessionInfo]: ...


def read_chat_history(storage: Readable) -> Tool:
    """A tool that gives a model older questions and answers of its session. It costs the runs that it looks at."""

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
        return [_said(run) for run in earlier[max(0, end - runs) : max(0, end)]]

    return Tool(read_chat_history)


def search_previous_sessions(storage: Readable) -> Tool:
    """A tool over the other sessions of the user. It costs the index, and the last runs of the sessions looked at."""

    def search_previous_sessions(context: RunContext, words: str = "", sessions: int = 5) -> list[dict[str, Any]]:
        """Search the user's earlier conversations, newest first, for questions and answers with all of these words.

        Args:
            words: What to look for; empty for the last questions and answers of each conversation.
            sessions: How many conversations to look at, at most 50.
        """
        wanted = words.casefold().split()
        found = []
        for session_id, name in _others(storage, context, min(max(sessions, 0), 50)):
            session = storage.read(session_id, user_id=context.user_id, last_runs=_RUNS_OF_A_SESSION)
            runs = session.runs if session is not None else []
            fitting = [run for run in runs if _has(run, wanted)]
            if fitting:
                said = [_said(run) for run in fitting[-3:]]
                found.append({"session_id": session_id, **({"name": name} if name else {}), "runs": said})
        return found

    return Tool(search_previous_sessions)


def _others(storage: Readable, context: RunContext, limit: int) -> list[tuple[str, str | None]]:
    """The newest other sessions of just this user; one without a user has those that are nobody's."""
    if context.user_id is not None:
        infos = storage.list_sessions(user_id=context.user_id, limit=limit + 1)
    else:
        infos = [info for info in storage.list_sessions() if info.user_id is None]
    return [(info.session_id, info.name) for info in infos if info.session_id != context.session_id][:limit]


def _has(run: Run, words: list[str]) -> bool:
    text = f"{run.question}\n{run.answer}".casefold()
    return run.status == "completed" and all(word in text for word in words)


def _said(run: Run) -> dict[str, Any]:
    return {"time": run.created_at, "question": run.question[:_LONGEST], "answer": run.answer[:_LONGEST]}
