"""What a search returns: an entry of a session that has the words."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from localstore.models.excerpt import bare, excerpt
from localstore.models.times import time_text


@dataclass(frozen=True, slots=True, repr=False)
class SearchHit:
    """An entry of the history that a search found, or the header of a session.

    >>> hit = SearchHit("trip", "Linz", "alice", "r1", 1, 0, 1, "assistant", "content", "At 7:58.", ((3, 4),), None)
    >>> start, end = hit.places[0]
    >>> hit.snippet[start:end]
    '7'
    """

    session_id: str
    title: str
    """The name of the session, otherwise its first question, on one line; "" if it has neither."""
    user_id: str | None
    run_id: str | None
    """The run that was found; None if it is no run."""
    run_number: int | None
    """Its number in the session, from 1 on; None if it is no run, or if updates or items may come before it."""
    entry: int | None
    """The position of the entry in `session.history`, from 0 on; None for the header."""
    message: int | None
    """The position of the message in `run.messages`, from 0 on; None if the text is not in one of them."""
    role: str | None
    """The role of the message, also of one in a step or in the run of a member."""
    field: str
    """What has the text: `content` or `tool call` of a message; `input`, `output`, `member run`, `step`, `error`,
    `rating note` or `summary` of a run; `item`, for an entry of another type; `name` or `tags` of the session."""
    snippet: str
    """A part of the text, on one line, with the first of the words. `…` at an end means that text was cut off."""
    places: tuple[tuple[int, int], ...]
    """Where the words are in `snippet`: start and end of each."""
    created_at: datetime | None
    """When the entry was made, or the session for its header, in UTC; None if the document has no readable time."""

    def __repr__(self) -> str:
        return f"SearchHit({self.session_id!r}, {bare(self.role or self.field)}, {excerpt(self.snippet)})"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dict of JSON values, without those that are None."""
        values = {name: getattr(self, name) for name in self.__slots__}
        values["places"] = [list(place) for place in self.places]
        if self.created_at is not None:
            values["created_at"] = time_text(self.created_at)
        return {name: value for name, value in values.items() if value is not None}
