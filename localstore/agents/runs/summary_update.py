"""Bringing a session's summary up to date after a run."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial

from localstore.agents.models.model import Model, Options
from localstore.agents.prompts.summary import Summaries
from localstore.agents.runs.driver import Ask, Blocking, Steps
from localstore.agents.runs.run_store import Sessions


@dataclass(frozen=True, slots=True)
class SummaryUpdate:
    """Asks the model for a new summary of a session when enough runs have fallen out of the history."""

    summaries: Summaries
    model: Model
    sessions: Sessions
    session_id: str
    user_id: str | None

    def steps(self) -> Steps:
        """Update the summary. The run is stored by now, so a failure is only a warning."""
        try:
            session = yield Blocking(partial(self.sessions.read, self.session_id, self.user_id, self.summaries.window))
            task = None if session is None else self.summaries.task(session)
            if task is None:
                return
            summary = task.summary_from((yield Ask(self.model, task.messages, Options())))
            if summary is not None:
                update = self.sessions.storage.update
                yield Blocking(partial(update, self.session_id, user_id=self.user_id, session_summary=summary))
        except Exception as error:  # noqa: BLE001
            warnings.warn(f"The session's summary could not be made: {type(error).__name__}: {error}", stacklevel=2)
