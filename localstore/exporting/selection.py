"""Select the runs of a session to export."""

from localstore.models.session import Run, Session


def only_rated(session: Session, rating: str) -> Session | None:
    """Return a copy of the session with only the runs that have this rating, or None if there are none.

    Entries other than runs are kept. The session itself does not change. `upsert` treats the copy as a session that was
    not read from a storage, so it removes no runs.
    """
    kept = [entry for entry in session.history if not isinstance(entry, Run) or entry.rating == rating]
    if not any(isinstance(entry, Run) for entry in kept):
        return None
    copy = session.model_copy()
    copy.history = kept
    copy._base = None
    return copy
