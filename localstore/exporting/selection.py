"""What of a session is exported."""

from localstore.models.session import Run, Session


def only_rated(session: Session, rating: str) -> Session | None:
    """A copy of the session without the runs that have another rating or none; None when no run is left.

    Entries that are no runs stay, so that the state is what it was. The copy is not known as one that was read: to
    upsert it removes no run.
    """
    kept = [entry for entry in session.history if not isinstance(entry, Run) or entry.rating == rating]
    if not any(isinstance(entry, Run) for entry in kept):
        return None
    copy = session.model_copy()
    copy.history = kept
    copy._base = None
    return copy
