"""Summaries of a session, which replace old history in the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from localstore.agents.models.model import Reply
from localstore.agents.prompts.prompt import completed_of, summary_text
from localstore.models.session import Message, Run, Session

_INSTRUCTIONS = (
    "Summarise the conversation below in a few sentences, for an assistant that has to go on with it: who the user is, "
    "what was asked and decided, names, numbers and open questions. Write nothing but the summary."
)
_MAX_CHARACTERS = 4000
"""How many characters of each message go into the request for a summary."""


@dataclass(frozen=True, slots=True)
class SummaryRequest:
    """The request to a model for a new summary.

    `messages` are sent to the model; `up_to` is the id of the last run that the new summary covers.
    """

    messages: list[Message]
    up_to: str

    def summary_from(self, reply: Reply) -> dict[str, Any] | None:
        """Return the value to store as `session_summary`, or None if the model's reply has no text."""
        text = reply.message.text.strip()
        return {"text": text, "up_to": self.up_to} if text else None


class Summaries:
    """Decides when a session needs a new summary, and which runs it covers.

    A summary is stored as `{text, up_to}`: its text, and the id of the last run that it covers. Covered runs are left
    out of the history, which holds at least the last `kept` runs. Once `kept` further runs (at least one) have
    accumulated, a new summary covers them too: one additional request to the model per batch of runs.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._batch = max(1, kept)

    @property
    def window(self) -> int:
        """How many of the session's last runs `uncovered` and `request` need."""
        return self._kept + 2 * self._batch

    def uncovered(self, runs: Sequence[Run], summary: Any) -> list[Run]:
        """Return the completed runs that the session's summary does not cover, in the order of `runs` (oldest first).

        Returns all completed runs if the last covered run is not among `runs`.
        """
        completed = completed_of(runs)
        up_to = summary.get("up_to") if isinstance(summary, dict) else None
        for at in range(len(completed) - 1, -1, -1):
            if completed[at].run_id == up_to:
                return completed[at + 1 :]
        return completed

    def request(self, session: Session) -> SummaryRequest | None:
        """Return the request for a new summary of `session`, or None if no new summary is due.

        `session` must have been read with at least its last `window` runs. It is not changed.
        """
        runs = self.uncovered(session.runs, session.session_summary)
        old = runs[: max(0, len(runs) - self._kept)]
        if len(old) < self._batch:
            return None
        before = summary_text(session.session_summary)
        earlier = f"Summary of what came before:\n{before}\n\n" if before else ""
        text = f"{_INSTRUCTIONS}\n\n{earlier}{_transcript(old)}"
        return SummaryRequest([Message(role="user", content=text)], old[-1].run_id)


def _transcript(runs: Sequence[Run]) -> str:
    lines = [
        f"{message.role}: {message.text[:_MAX_CHARACTERS]}"
        for run in runs
        for message in run.messages
        if message.role in ("user", "assistant") and message.text
    ]
    return "\n".join(lines)
