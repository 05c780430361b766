"""Selects the messages of earlier runs that a model receives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from localstore.agents.prompts.prompt import completed_of, estimated_tokens, messages_of_runs
from localstore.agents.prompts.summary import Summaries
from localstore.models.session import Message, Run

_FURTHER_BACK = 32
"""How many additional runs to read, once, if some of the newest ones failed or were never finished."""


@dataclass(frozen=True, slots=True)
class HistoryWindow:
    """Selects the runs that form the history of a prompt.

    These are the last `count` completed runs; with `summaries`, the completed runs that the session's summary does not
    cover. If `max_tokens` is not None, only the newest of them are used, as many as fit into that estimated number of
    tokens. A run is used as a whole or not at all.
    """

    count: int
    max_tokens: int | None = None
    summaries: Summaries | None = None

    @property
    def runs_needed(self) -> int:
        """How many of the session's last runs to pass to `messages`."""
        return self.count if self.summaries is None else self.summaries.window

    def messages(self, runs: Sequence[Run], summary: Any, read_runs: Callable[[int], Sequence[Run]]) -> list[Message]:
        """Return the messages of the selected runs, oldest first.

        Args:
            runs: The last `runs_needed` runs of the session, oldest first.
            summary: The session's summary; None if it has none.
            read_runs: Returns that many of the session's last runs, oldest first. Called at most once, if fewer than
                `count` of `runs` were completed and the session may have more.
        """
        if self.summaries is not None:
            return messages_of_runs(newest_within(self.summaries.uncovered(runs, summary), self.max_tokens))
        completed = completed_of(runs)
        if len(completed) < self.count <= len(runs):
            completed = completed_of(read_runs(self.count + _FURTHER_BACK) or runs)
        return messages_of_runs(newest_within(completed[-self.count :] if self.count else [], self.max_tokens))


def newest_within(runs: Sequence[Run], max_tokens: int | None) -> Sequence[Run]:
    """Return the newest of `runs` (oldest first) whose messages have at most `max_tokens` estimated tokens together.

    Returns all of them if `max_tokens` is None. A run is included as a whole or not at all.
    """
    if max_tokens is None:
        return runs
    left = max_tokens
    for at in range(len(runs) - 1, -1, -1):
        left -= estimated_tokens(runs[at].messages)
        if left < 0:
            return runs[at + 1 :]
    return runs
