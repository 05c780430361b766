"""Store a person's rating of a run, with an optional note."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from localstore.errors import RunNotFound
from localstore.format.run_entry import with_rating
from localstore.format.values import json_equal, to_json_value
from localstore.models.nearest import not_one_of
from localstore.models.schema import RATINGS, Rating
from localstore.storage.arguments import check_text

if TYPE_CHECKING:
    from localstore.engine.transaction import Transaction


def check_rating(rating: object) -> None:
    """Raise ValueError unless `rating` is "good" or "bad"."""
    if not isinstance(rating, str) or rating not in RATINGS:
        raise ValueError(f"rating {not_one_of(rating, RATINGS)}")


@dataclass(frozen=True, slots=True)
class RatingChange:
    """The new rating and note of a run.

    If `rating` is None, the rating and the note are removed. If only `note` is None, the note is removed.
    """

    run_id: str
    rating: Rating | None
    note: str | None

    @classmethod
    def of(cls, run_id: str, rating: Rating | None, note: str | None) -> Self:
        """Check the arguments of `Storage.rate` and return the change. An empty note counts as None.

        Raises ValueError if `rating` is not "good", "bad" or None, or if there is a note without a rating; TypeError if
        `run_id` or `note` is not text; and UnstorableValue if the note cannot be stored.
        """
        if rating is not None:
            check_rating(rating)
        if not isinstance(run_id, str):
            raise TypeError(f"run_id must be text, not {type(run_id).__name__}")
        check_text("note", note)
        note = to_json_value(note, "note") or None
        if rating is None and note is not None:
            raise ValueError("a note belongs to a rating: give one of good and bad, too")
        return cls(run_id, rating, note)

    def apply(self, document: Transaction) -> None:
        """Write the rating to the newest run with this id. Nothing else in the document changes.

        If the run has this rating and note already, the document is only synced. Raises RunNotFound.
        """
        parsed = document.whole()
        for number in reversed(range(len(parsed.entries))):
            entry = parsed.entries[number]
            if entry["type"] == "run" and entry["run_id"] == self.run_id:
                break
        else:
            session_id = document.row["session_id"]
            raise RunNotFound(
                f"Session {session_id!r} has no run {self.run_id!r}. Nothing was written. 'localstore show' has the "
                "ids.",
                path=document.file.path,
                session_id=session_id,
                run_id=self.run_id,
            )
        new = with_rating(entry, self.rating, self.note)
        if json_equal(new, entry):
            document.sync()
        else:
            document.change(parsed.header, {parsed.starts[number]: new}, [])
