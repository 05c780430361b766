"""Which messages of earlier runs a model is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from localstore.agents.prompts.prompt import completed_of, estimated_tokens, flat
from localstore.agents.prompts.summary import Summaries
from localstore.models.session import Message, Run

_FURTHER_BACK = 32
"""How many more runs to read, once, if some of the newest ones failed or were never finished."""


@dataclass(frozen=True, slots=True)
class HistoryWindow:
    """The last `count` completed runs; with summaries, the completed runs that the summary does not cover.

    Runs are taken whole, the newest first, as long as they fit into `max_tokens` (an estimate).
    """

    count: int
    max_tokens: int | None = None
    summaries: Summaries | None = None

    @property
    def runs_needed(self) -> int:
        """How many of the session's last runs `messages` needs."""
        return self.count if self.summaries is None else self.summaries.window

    def messages(self, runs: Sequence[Run], summary: Any, read_runs: Callable[[int], Sequence[Run]]) -> list[Message]:
        """Return the messages of the runs in the window, oldest first.

        Args:
            runs: The last `runs_needed` runs of the session, oldest first.
            summary: The session's summary.
            read_runs: Returns the session's last runs. Called at most once, if too few of `runs` were completed.
        """
        if self.summaries is not None:
            return flat(fitting(self.summaries.uncovered(runs, summary), self.max_tokens))
        completed = completed_of(runs)
        if len(completed) < self.count <= len(runs):
            completed = completed_of(read_runs(self.count + _FURTHER_BACK) or runs)
        return flat(fitting(completed[-self.count :] if self.count else [], self.max_tokens))


def fitting(runs: Sequence[Run], max_tokens: int | None) -> Sequence[Run]:
    """Return the newest of the runs that take at most `max_tokens` together. A run is taken whole or not at all."""
    if max_tokens is None:
        return runs
    left = max_tokens
    for at in range(len(runs) - 1, -1, -1):
        left -= estimated_tokens(runs[at].messages)
        if left < 0:
            return runs[at + 1 :]
    return runs
