"""A summary of what happened earlier in a session, kept as its `session_summary`, in the place of old history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from localstore.agents.models.model import Reply
from localstore.agents.prompts.prompt import completed_of, summary_text
from localstore.models.session import Message, Run, Session

_ASKED = (
    "Summarise the conversation below in a few sentences, for an assistant that has to go on with it: who the user is, "
    "what was asked and decided, names, numbers and open questions. Write nothing but the summary."
)
_LONGEST = 4000
"""Characters of one message that a summary is made of."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a model is asked, to make a summary of the session up to the run `up_to`."""

    messages: list[Message]
    up_to: str

    def summary_from(self, reply: Reply) -> dict[str, Any] | None:
        """Return the new `session_summary`, or None if the model's reply is empty."""
        text = reply.message.text.strip()
        return {"text": text, "up_to": self.up_to} if text else None


class Summaries:
    """`session_summary` is `{text, up_to}`: the runs up to this run are in it, and are not given to a model as well.

    It is made after a run, when `batch` runs have fallen out of the history that a model is given, and so costs one
    more question to the model in `batch` runs.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._batch = max(1, kept)

    @property
    def window(self) -> int:
        """So many runs are read to find those that are in no summary."""
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
        text = f"{_ASKED}\n\n{earlier}{_transcript(old)}"
        return Task([Message(role="user", content=text)], old[-1].run_id)


def _transcript(runs: Sequence[Run]) -> str:
    lines = [
        f"{message.role}: {message.text[:_LONGEST]}"
        for run in runs
        for message in run.messages
        if message.role in ("user", "assistant") and message.text
    ]
    return "\n".join(lines)
