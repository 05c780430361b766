"""A summary of what happened earlier in a session, kept as its `session_summary`, in the place of old history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localstore.agents.models.model import Reply
from localstore.agents.prompts.prompt import completed, summary_text
from localstore.models.session import Message, Run, Session

if TYPE_CHECKING:
    from localstore.agents.agent import Agent

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

    def uncovered(self, session: Session) -> list[Run]:
        """The completed runs, of those that were read, that are in no summary."""
        runs = completed(session)
        summary = session.session_summary
        up_to = summary.get("up_to") if isinstance(summary, dict) else None
        for at in range(len(runs) - 1, -1, -1):
            if runs[at].run_id == up_to:
                return runs[at + 1 :]
        return runs

    def task(self, agent: Agent, session_id: str, user_id: str | None) -> Task | None:
        """What to ask for a new summary; None when it is not time for one."""
        session = agent.read(session_id, user_id, self.window)
        if session is None:
            return None
        runs = self.uncovered(session)
        old = runs[: max(0, len(runs) - self._kept)]
        if len(old) < self._batch:
            return None
        before = summary_text(session.session_summary)
        said = f"Summary of what came before:\n{before}\n\n" if before else ""
        text = f"{_ASKED}\n\n{said}{_transcript(old)}"
        return Task([Message(role="user", content=text)], old[-1].run_id)

    def keep(self, agent: Agent, session_id: str, user_id: str | None, task: Task, reply: Reply) -> None:
        """Store the summary that the model gave."""
        text = reply.message.text.strip()
        if text:
            summary: dict[str, Any] = {"text": text, "up_to": task.up_to}
            agent.storage.update(session_id, user_id=user_id, session_summary=summary)


def _transcript(runs: Sequence[Run]) -> str:
    lines = [
        f"{message.role}: {message.text[:_LONGEST]}"
        for run in runs
        for message in run.messages
        if message.role in ("user", "assistant") and message.text
    ]
    return "\n".join(lines)
