"""A new document, and what is said of one that may not be written to."""

import os
import shlex
from pathlib import Path
from typing import Any

from localstore.disk import filesystem
from localstore.errors import DocumentBroken, OlderFormat
from localstore.format.document import LAYOUTS, Parsed, parse_document
from localstore.index.row import IndexRow, row_of
from localstore.models.schema import SCHEMA_VERSION


def older(parsed: Parsed, path: str, root: str) -> OlderFormat:
    """The error for writing to a document of an older version."""
    return OlderFormat(
        f"{path} has schema version {parsed.version}, and this localstore writes version {SCHEMA_VERSION}. Nothing was "
        f"changed. Upgrade the store with: localstore upgrade {shlex.quote(root)}",
        path=path,
        session_id=parsed.header["session_id"],
    )


def create_document(root: str, path: str, header: dict[str, Any], entries: list[dict[str, Any]]) -> IndexRow:
    """Write a new document, durably, and return its row. Raises DocumentBroken when the path is taken, OSError."""
    target = Path(root, path)
    if filesystem.exists(str(target)):
        raise DocumentBroken(
            f"{target} is in the way of a new session and holds none of that id. Rename or remove it.",
            path=str(target),
            session_id=header["session_id"],
        )
    if os.path.islink(target.parent):
        raise DocumentBroken(
            f"{target.parent} is a symbolic link, and links are not followed. Put the folder itself there.",
            path=str(target),
            session_id=header["session_id"],
        )
    layout = LAYOUTS[target.suffix]
    raw = layout.assemble(layout.head(header), [layout.entry(entry) for entry in entries])
    parsed = parse_document(raw, layout, target)
    filesystem.make_folders(target.parent)
    filesystem.write_file(target, [raw])
    return row_of(parsed, path, filesystem.system.status(str(target)), None)
