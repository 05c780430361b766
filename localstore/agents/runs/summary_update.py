"""Updates a session's summary after a run."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial

from localstore.agents.models.model import PLAIN, Model
from localstore.agents.prompts.summary import Summaries
from localstore.agents.runs.driver import Driver
from localstore.agents.runs.run_store import Sessions


@dataclass(frozen=True, slots=True)
class SummaryUpdate:
    """Asks the model for a new summary of a session when enough runs have fallen out of the history."""

    summaries: Summaries
    model: Model
    sessions: Sessions
    session_id: str
    user_id: str | None

    async def execute(self, driver: Driver) -> None:
        """Update the summary if necessary. The run is already stored, so a failure only causes a warning."""
        sessions = self.sessions
        try:
            session = await driver.write(partial(sessions.read, self.session_id, self.user_id, self.summaries.window))
            request = None if session is None else self.summaries.request(session)
            if request is None:
                return
            reply = await driver.ask(self.model, request.messages, PLAIN)
            if reply.finish_reason is not None:  # storing it would replace the runs that it does not cover
                raise RuntimeError(f"it is not complete (finish_reason: {reply.finish_reason})")
            summary = request.summary_from(reply)
            if summary is not None:
                update = partial(sessions.storage.update, self.session_id, user_id=self.user_id)
                await driver.write(partial(update, session_summary=summary))
        except Exception as error:  # noqa: BLE001
            warnings.warn(f"The session's summary could not be made: {type(error).__name__}: {error}", stacklevel=2)
