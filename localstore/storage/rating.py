"""Rating a run: what people think of it, beside what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from localstore.errors import RunNotFound
from localstore.format.run_entry import with_rating
from localstore.format.values import json_equal, to_json_value
from localstore.storage.arguments import check_text

if TYPE_CHECKING:
    from localstore.engine.transaction import Transaction

Rating = Literal["good", "bad"]
RATINGS: tuple[Rating, ...] = ("good", "bad")


def check_rating(rating: object) -> None:
    """Raises ValueError."""
    if not isinstance(rating, str) or rating not in RATINGS:
        given = repr(rating) if isinstance(rating, str) else type(rating).__name__
        raise ValueError(f'rating must be "good" or "bad", not {given}')


def rating_of(run_id: str, rating: Rating | None, note: str | None) -> Callable[[Transaction], None]:
    """What gives a run of a session this rating and this note, instead of what it had; None takes both away.

    Nothing else of the document changes. Of several runs with the id, it is the newest. Raises ValueError for another
    word, and for a note without a rating; TypeError, UnstorableValue for what is no text. The function that is
    returned raises RunNotFound.
    """
    if rating is not None:
        check_rating(rating)
    if not isinstance(run_id, str):
        raise TypeError(f"run_id must be text, not {type(run_id).__name__}")
    check_text("note", note)
    note = to_json_value(note, "note") or None
    if rating is None and note is not None:
        raise ValueError("a note belongs to a rating: give one of good and bad, too")

    def rate(transaction: Transaction) -> None:
        parsed = transaction.whole()
        for at in reversed(range(len(parsed.entries))):
            entry = parsed.entries[at]
            if entry["type"] == "run" and entry["run_id"] == run_id:
                break
        else:
            session_id = transaction.row["session_id"]
            raise RunNotFound(
                f"Session {session_id!r} has no run {run_id!r}. Nothing was written. 'localstore show' has the ids.",
                path=transaction.file.path,
                session_id=session_id,
                run_id=run_id,
            )
        new = with_rating(entry, rating, note)
        if json_equal(new, entry):
            transaction.sync()
        else:
            transaction.change(parsed.header, {parsed.starts[at]: new}, [])

    return rate
