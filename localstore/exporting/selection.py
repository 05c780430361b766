"""Selects the runs of a session to export."""

from localstore.models.session import Run, Session


def only_rated(session: Session, rating: str) -> Session | None:
    """Return a copy of the session with only the runs of this rating; None if there are none.

    Other entries stay, so that the state stays as it was. The copy does not count as read from a storage, so `upsert`
    with it removes no runs.
    """
    kept = [entry for entry in session.history if not isinstance(entry, Run) or entry.rating == rating]
    if not any(isinstance(entry, Run) for entry in kept):
        return None
    copy = session.model_copy()
    copy.history = kept
    copy._base = None
    return copy
