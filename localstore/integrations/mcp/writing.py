"""The tools that change sessions. A server has them only if a person allows it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from localstore.integrations.mcp.naming import no_session, session_named
from localstore.integrations.mcp.reading import SessionName
from localstore.models.session import Entry
from localstore.models.times import now
from localstore.storage.contract import SessionStorage

SOURCE = "mcp"
"""Where a note came from, as it stands in the document."""
Tag = Annotated[str, Field(min_length=1, max_length=100)]


class WritingTools:
    """The tools that rate, tag, and add notes. Each one's docstring is its description for the model."""

    def __init__(self, storage: SessionStorage) -> None:
        self._storage = storage

    def rate_run(
        self,
        session: SessionName,
        run_id: Annotated[
            str, Field(description="The whole id of the run, as read_session and search_sessions have it.")
        ],
        rating: Annotated[Literal["good", "bad", "none"], Field(description="none removes the rating and its note.")],
        note: Annotated[str | None, Field(description="The reason. An older note is replaced, or removed.")] = None,
    ) -> dict[str, Any]:
        """Rate a run good or bad, or remove its rating. Do this only if the person asked for it."""
        session_id = session_named(self._storage, session).session_id
        self._storage.rate(session_id, run_id, None if rating == "none" else rating, note)
        return {"session_id": session_id, "run_id": run_id, "rating": rating}

    def tag_session(
        self,
        session: SessionName,
        add: Annotated[list[Tag] | None, Field(description="Tags to add.")] = None,
        remove: Annotated[list[str] | None, Field(description="Tags to remove.")] = None,
    ) -> dict[str, Any]:
        """Add tags to a session, or remove some. The tag "archived" hides it from listings."""
        if not add and not remove:
            raise ValueError("There is no tag to add or to remove. Give `add` or `remove`.")
        session_id = session_named(self._storage, session).session_id
        self._storage.update(session_id, add_tags=add or (), remove_tags=remove or ())
        return {"session_id": session_id, "tags": list(session_named(self._storage, session_id).tags)}

    def add_note(
        self,
        session: SessionName,
        text: Annotated[str, Field(min_length=1, max_length=20_000, description="The note.")],
    ) -> dict[str, Any]:
        """Add a note at the end of a session. It is found by search_sessions, and agents do not get it as a message."""
        session_id = session_named(self._storage, session).session_id
        stored = self._storage.read(session_id, last_runs=0)
        if stored is None:
            raise no_session(session)
        note = Entry.model_validate({"type": "note", "created_at": now(), "source": SOURCE, "text": text})
        stored.history.append(note)
        self._storage.upsert(stored)
        return {"session_id": session_id, "added": "note"}
