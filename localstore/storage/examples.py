"""Collect examples for a prompt: pairs of a question and its answer, taken from rated runs."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from localstore.errors import DocumentBroken, NewerFormat
from localstore.models.schema import Rating
from localstore.models.session import Message, Run, Session
from localstore.models.session_info import SessionInfo
from localstore.storage.rating import check_rating

_A_FEW_RUNS = 32
"""The number of newest runs to read from a session before reading its whole document."""


_LONG_AGO = datetime.min.replace(tzinfo=UTC)
"""The place in the order of a run whose time cannot be read."""


class Sessions(Protocol):
    """The storage methods that collecting examples needs."""

    def list_sessions(self, user_id: str | None = None, entity_id: str | None = None) -> list[SessionInfo]: ...

    def read(self, session_id: str, *, user_id: str | None = None, last_runs: int | None = None) -> Session | None: ...


class _Pair(NamedTuple):
    created_at: datetime
    order: int
    question: str
    answer: str


def newest_examples(
    storage: Sessions, rating: Rating, limit: int, *, user_id: str | None = None, entity_id: str | None = None
) -> list[Message]:
    """Return the messages of at most `limit` pairs from the newest completed runs with this rating, oldest pair first.

    Each pair is a user message and an assistant message. Runs whose answer is not complete (`finish_reason`), and
    documents that are broken or in a newer format, are skipped.
    `user_id` and `entity_id` select sessions; None selects all.

    Raises ValueError if `rating` is not "good" or "bad", or if `limit` is not an integer of at least 0.
    """
    check_rating(rating)
    if type(limit) is not int or limit < 0:
        raise ValueError(f"limit must be a whole number from 0 on, not {limit!r}")
    best: list[_Pair] = []
    for info in storage.list_sessions(user_id, entity_id) if limit else ():
        if len(best) == limit and info.updated_at is not None and info.updated_at < best[0].created_at:
            break  # sessions come newest first, so none of the rest has a newer run
        for pair in _pairs(storage, info.session_id, user_id, rating, limit):
            (heapq.heappush if len(best) < limit else heapq.heappushpop)(best, pair)
    return [
        message
        for pair in sorted(best)
        for message in (Message(role="user", content=pair.question), Message(role="assistant", content=pair.answer))
    ]


def _pairs(storage: Sessions, session_id: str, user_id: str | None, rating: Rating, limit: int) -> list[_Pair]:
    """Return the newest pairs of a session, at most `limit`, oldest first; an empty list if it cannot be read."""
    pairs: list[_Pair] = []
    for last_runs in (_A_FEW_RUNS, None):
        try:
            session = storage.read(session_id, user_id=user_id, last_runs=last_runs)
        except (DocumentBroken, NewerFormat):
            return []
        if session is None:
            return []
        pairs = list(_rated(session, rating))[-limit:]
        if len(pairs) == limit or len(session.runs) < _A_FEW_RUNS:
            break
    return pairs


def _rated(session: Session, rating: Rating) -> Iterator[_Pair]:
    for number, run in enumerate(session.runs):
        if run.rating == rating and run.status == "completed" and run.finish_reason is None:
            question, answer = _question(run), _answer(run)
            if question and answer:
                yield _Pair(run.created_at or _LONG_AGO, number, question, answer)


def _question(run: Run) -> str:
    """Return the text of the question of a run, or "" if the question has parts that are not text."""
    for message in run.messages:
        if message.role == "user" and isinstance(message.content, list):
            return message.text if all(part.type == "text" for part in message.content) else ""
        if message.role == "user":
            break
    return run.question


def _answer(run: Run) -> str:
    """Return the text of the last assistant message without tool calls, or "" if there is none."""
    answers = [message for message in run.messages if message.role == "assistant" and not message.tool_calls]
    return answers[-1].text if answers else ""
