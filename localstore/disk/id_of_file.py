"""Read the session id of a file in the rescue folder or the trash, whose document may be damaged."""

import contextlib
import os

from localstore.disk.document_file import DocumentFile
from localstore.errors import LocalstoreError
from localstore.format.document import LAYOUTS, LayoutMismatch


def id_in_head(path: str, document: str) -> str | None:
    """Return the `session_id` in the header of a file that was to become `document`, or None if it has none."""
    layout = LAYOUTS.get(os.path.splitext(document)[1])
    if layout is None:
        return None
    with DocumentFile(path, layout=layout) as file, contextlib.suppress(LayoutMismatch):
        session_id = file.header().get("session_id")
        return session_id if isinstance(session_id, str) else None
    return None


def id_in_whole(path: str, document: str) -> str | None:
    """Return the `session_id` in a document of any layout that is named `document`, or None if it cannot be read."""
    layout = LAYOUTS.get(os.path.splitext(document)[1])
    if layout is None:
        return None
    with contextlib.suppress(LocalstoreError), DocumentFile(path, layout=layout) as file:
        session_id = file.parse().header["session_id"]
        return session_id if isinstance(session_id, str) else None
    return None
