"""Examples for a prompt: pairs of question and answer from the runs that people rated."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from localstore.errors import DocumentBroken, NewerFormat
from localstore.models.session import Message, Run, Session
from localstore.models.session_info import SessionInfo
from localstore.storage.rating import Rating, check_rating

_A_FEW_RUNS = 32
"""So many runs of a session are looked at before its whole document is."""


class Sessions(Protocol):
    """What the search for examples needs of a storage."""

    def list_sessions(self, user_id: str | None = None, entity_id: str | None = None) -> list[SessionInfo]: ...

    def read(self, session_id: str, *, user_id: str | None = None, last_runs: int | None = None) -> Session | None: ...


class _Pair(NamedTuple):
    created_at: str
    order: int
    question: str
    answer: str


def newest_examples(
    storage: Sessions, rating: Rating, limit: int, *, user_id: str | None = None, entity_id: str | None = None
) -> list[Message]:
    """What `Storage.examples` returns. Raises ValueError for another rating, and for a limit that is no whole number
    from 0 on."""
    check_rating(rating)
    if type(limit) is not int or limit < 0:
        raise ValueError(f"limit must be a whole number from 0 on, not {limit!r}")
    best: list[_Pair] = []
    for info in storage.list_sessions(user_id, entity_id) if limit else ():
        if len(best) == limit and info.updated_at < best[0].created_at:
            break  # nor can any of the sessions that follow have a newer run
        for pair in _pairs(storage, info.session_id, user_id, rating, limit):
            (heapq.heappush if len(best) < limit else heapq.heappushpop)(best, pair)
    said = (((pair.question, "user"), (pair.answer, "assistant")) for pair in sorted(best))
    return [Message(role=role, content=text) for pair in said for text, role in pair]


def _pairs(storage: Sessions, session_id: str, user_id: str | None, rating: Rating, limit: int) -> list[_Pair]:
    """The newest pairs of a session, at most `limit`."""
    found: list[_Pair] = []
    for last_runs in (_A_FEW_RUNS, None):
        try:
            session = storage.read(session_id, user_id=user_id, last_runs=last_runs)
        except (DocumentBroken, NewerFormat):
            return []
        if session is None:
            return []
        found = list(_rated(session, rating))[-limit:]
        if len(found) == limit or len(session.runs) < _A_FEW_RUNS:
            break
    return found


def _rated(session: Session, rating: Rating) -> Iterator[_Pair]:
    for number, run in enumerate(session.runs):
        if run.rating == rating and run.status == "completed":
            question, answer = _question(run), _answer(run)
            if question and answer:
                yield _Pair(run.created_at, number, question, answer)


def _question(run: Run) -> str:
    """The text of what was asked, '' when there is more to it than text."""
    for message in run.messages:
        if message.role == "user" and isinstance(message.content, list):
            return message.text if all(part.type == "text" for part in message.content) else ""
        if message.role == "user":
            break
    return run.question


def _answer(run: Run) -> str:
    """The text of the last answer that calls no tool."""
    answers = [message for message in run.messages if message.role == "assistant" and not message.tool_calls]
    return answers[-1].text if answers else ""
