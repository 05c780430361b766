"""What a listing says of one session."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localstore.models.session_info import SessionInfo
    from localstore.storage.contract import SessionStorage


def info_of(storage: "SessionStorage", session_id: str) -> "SessionInfo | None":
    """Return what a listing says of the session with this id, or None if it does not exist.

    Raises the errors of `storage.find_sessions`.

    >>> info_of(storage, "trip").session_id, info_of(storage, "tri")
    ('trip', None)
    """
    found = storage.find_sessions(session_id, limit=1)
    return next((info for info in found if info.session_id == session_id), None)
