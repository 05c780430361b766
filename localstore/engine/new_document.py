"""Write the document of a new session."""

import os
from pathlib import Path
from typing import Any

from localstore.disk import durable_files, filesystem
from localstore.disk.boot import boot_id
from localstore.disk.folder_watch import FolderWatch
from localstore.disk.store_identity import make_folders
from localstore.errors import DocumentBroken
from localstore.format.document import LAYOUTS, parse_document
from localstore.index.row import IndexRow, row_of


def create_document(
    root: str,
    path: str,
    header: dict[str, Any],
    entries: list[dict[str, Any]],
    raw: bytes | None,
    *,
    sync_name: bool,
    sync_bytes: bool,
    watch: FolderWatch,
) -> IndexRow:
    """Write a new document and return its row. `path` is relative to `root`. `watch` is a watch of its folder.

    `raw` has the bytes of the document; without it, they are made of `header` and `entries`.

    With `sync_bytes`, its bytes are durable before it gets its name. With `sync_name`, its name is durable on return.

    Raises DocumentBroken if a file already has this path or if its folder is a symbolic link. Raises OSError if the
    write fails.
    """
    target = Path(root, path)
    if filesystem.exists(str(target)):
        raise _in_the_way(target, header["session_id"])
    if os.path.islink(target.parent):
        raise DocumentBroken(
            f"{target.parent} is a symbolic link, and links are not followed. Put the folder itself there.",
            path=str(target),
            session_id=header["session_id"],
        )
    layout = LAYOUTS[target.suffix]
    if raw is None:
        raw = layout.document(header, entries)
    parsed = parse_document(raw, layout, target)
    make_folders(root, target.parent)
    try:
        written = durable_files.create_file(target, [raw], sync_name=sync_name, sync_bytes=sync_bytes, watch=watch)
    except FileExistsError:
        raise _in_the_way(target, header["session_id"]) from None
    status = filesystem.system.status(str(target))
    if not durable_files.is_same(written, status):
        status = written  # somebody saved the file in the meantime: with this row, it is read again
    return row_of(parsed, path, status, None if sync_name else boot_id())


def _in_the_way(path: Path, session_id: str) -> DocumentBroken:
    return DocumentBroken(
        f"{path} is in the way: the document of the new session {session_id!r} needs this name. Rename or remove it.",
        path=str(path),
        session_id=session_id,
    )
