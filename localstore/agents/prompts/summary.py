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
"""How much of each message goes into the request for a summary."""


@dataclass(frozen=True, slots=True)
class Task:
    """A request for a summary of the session up to the run `up_to`."""

    messages: list[Message]
    up_to: str

    def summary_from(self, reply: Reply) -> dict[str, Any] | None:
        """Return the new `session_summary`, or None if the model's reply is empty."""
        text = reply.message.text.strip()
        return {"text": text, "up_to": self.up_to} if text else None


class Summaries:
    """Decides when a session needs a new summary, and which runs it covers.

    The summary is `{text, up_to}`, with the id of the last run that it covers; covered runs are left out of the
    history. A new one is made after a run, once as many runs are left out of the history as it holds (at least one):
    one more request to the model per batch of runs.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._batch = max(1, kept)

    @property
    def window(self) -> int:
        """How many of the session's last runs are needed to find those that the summary does not cover."""
        return self._kept + 2 * self._batch

    def uncovered(self, runs: Sequence[Run], summary: Any) -> list[Run]:
        """Return those of the runs that are completed and not in the session's summary."""
        completed = completed_of(runs)
        up_to = summary.get("up_to") if isinstance(summary, dict) else None
        for at in range(len(completed) - 1, -1, -1):
            if completed[at].run_id == up_to:
                return completed[at + 1 :]
        return completed

    def task(self, session: Session) -> Task | None:
        """Return what to ask the model for a new summary, or None while too few runs are left out of the history.

        `session` needs its last `window` runs.
        """
        runs = self.uncovered(session.runs, session.session_summary)
        old = runs[: max(0, len(runs) - self._kept)]
        if len(old) < self._batch:
            return None
        before = summary_text(session.session_summary)
        earlier = f"Summary of what came before:\n{before}\n\n" if before else ""
        text = f"{_INSTRUCTIONS}\n\n{earlier}{_transcript(old)}"
        return Task([Message(role="user", content=text)], old[-1].run_id)


def _transcript(runs: Sequence[Run]) -> str:
    lines = [
        f"{message.role}: {message.text[:_MAX_CHARACTERS]}"
        for run in runs
        for message in run.messages
        if message.role in ("user", "assistant") and message.text
    ]
    return "\n".join(lines)
