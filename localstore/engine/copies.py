"""Warn that a session has other files beside its document, which are not read.

They come from sync tools that met two versions, from copies made by hand, and from a conversion that was killed.
Reading and writing leave them alone; `maintenance/merge_copies.py` unites them with the document.
"""

import warnings

from localstore.index.session_index import SessionIndex


class CopyWarnings:
    """Gives one warning for all copies of a session that the index has found."""

    def __init__(self, root: str, index: SessionIndex) -> None:
        self._root = root
        self._index = index
        self._given: dict[str, list[str]] = {}
        """The copies of each session that a warning has named."""

    def warn(self, session_id: str) -> None:
        """Warn that a session has copies, unless they are the same as before. Call it when no lock is held."""
        paths = self._index.duplicates_of(session_id)
        if not paths or self._given.get(session_id) == paths:
            return
        self._given[session_id] = paths
        names = ", ".join(f"{self._root}/{path}" for path in paths)
        which = "a copy, which is" if len(paths) == 1 else f"{len(paths)} copies, which are"
        warnings.warn(
            f"Session {session_id!r} has {which} not read: {names}. Unite them with 'localstore merge' or "
            "storage.merge_copies().",
            stacklevel=4,  # the caller of the storage's method
        )
