"""Whose session it is, and of which kind."""

from localstore.errors import KindMismatch, OwnerMismatch
from localstore.index.row import IndexRow


def check_access(row: IndexRow, user_id: str | None, kind: str | None, path: str | None = None) -> None:
    """Raise OwnerMismatch or KindMismatch if the session has another owner or kind. None matches any.

    `path` is for the error.
    """
    session_id = row["session_id"]
    if user_id is not None and row.get("user_id") != user_id:
        advice = "the user_id that it was created with" if "user_id" in row else "no user_id: it has no owner"
        raise OwnerMismatch(
            f"Session {session_id!r} does not belong to user {user_id!r}. Nothing was written. "
            f"Use another session_id, or {advice}.",
            path=path,
            session_id=session_id,
        )
    if kind is not None and row["kind"] != kind:
        raise KindMismatch(
            f"Session {session_id!r} is of kind {row['kind']}, not {kind}. Nothing was written. "
            "Use another session_id.",
            path=path,
            session_id=session_id,
        )
