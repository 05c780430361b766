"""The sessions of an agent: read their messages, fork one, and undo its last run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localstore.agents.session_owner import SessionOwner
from localstore.models.session import Message, Run

if TYPE_CHECKING:
    from localstore.storage.run_removal import Undone


class AgentSessions(SessionOwner):
    """Reads and forks the sessions of an agent or a team, and undoes their runs. The base class of Agent."""

    _undoing: tuple[str, str] | None = None
    """The session and the run of an `undo` that raised an error, so that the next one repeats it."""

    def get_messages_for_session(self, session_id: str | None = None) -> list[Message]:
        """Return all messages of one of this user's sessions, oldest first. The default is the current session.

        Return an empty list if there is no such session.

        >>> from localstore import Agent, FunctionModel
        >>> agent = Agent(model=FunctionModel(lambda messages: "hi"))
        >>> _ = agent.run("hello")
        >>> [message.text for message in agent.get_messages_for_session()]
        ['hello', 'hi']
        """
        session = self.storage.read(session_id or self.session_id, user_id=self.user_id)
        return [] if session is None else session.messages()

    def fork(self, run_id: str | None = None, *, session_id: str | None = None) -> str:
        """Copy this session up to one of its runs, switch to the copy, and return its id.

        The header of the copy records the run at which it was forked. The original session is not changed. After an
        OSError, the copy may exist; it is then complete. A call with the same `run_id` and `session_id` uses it.

        Args:
            run_id: The last run to copy. The default is the session's last run.
            session_id: The id of the new session. The default is a random id.

        Raises SessionNotFound if this session is not stored, LookupError if the run does not exist, and Conflict if
        session `session_id` already exists.
        """
        storage = self.sessions("fork")
        forked = storage.fork(self.session_id, run_id, new_id=session_id, user_id=self.user_id)
        self.follow(forked, self.read(forked, self.user_id, 0))
        return forked

    def undo(self, run_id: str | None = None) -> Run | None:
        """Remove and return the session's last run, or return None if the session has no runs.

        The session gets the state from before the run again. The run is kept in the store: `localstore rescue` lists
        and restores it.

        An OSError may be raised after the run was removed; its attribute `run` is that run. Calling `undo()` again
        repeats the removal of this run: it does nothing if the run is gone, and never removes another one.

        Args:
            run_id: The id of the run to remove, which must be the last one. If it is removed already, it is returned,
                and nothing is done. The default is whichever run is the last.

        Raises SessionNotFound if the session is not stored, OwnerMismatch if it is another user's, RunNotFound if there
        was never a run `run_id`, and Conflict if a later run follows it.
        """
        undone = self.remove_run(run_id)
        return None if undone is None else undone.run

    def remove_run(self, run_id: str | None = None) -> Undone | None:
        """Do the same as `undo`, and return the run together with the name of the rescue file that holds it."""
        session_id = self.session_id
        if run_id is None and self._undoing is not None and self._undoing[0] == session_id:
            run_id = self._undoing[1]
        run: Run | None = None
        try:
            undone = self.sessions("undo").undo(session_id, run_id, user_id=self.user_id)
            run = None if undone is None else undone.run
            self.follow(session_id, self.read(session_id, self.user_id, 0))
        except BaseException as error:
            if run is not None:
                error.run = run  # type: ignore[attr-defined]
            chosen = getattr(error, "run", None)
            self._undoing = None if chosen is None else (session_id, chosen.run_id)
            raise
        self._undoing = None
        return undone
