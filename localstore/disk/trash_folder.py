"""The folder `.localstore/trash/`: deleted documents, kept unchanged until the trash is emptied.

Each document has a folder of its own, `<time>.<random>`, and below it the path that it had in the store. Documents are
moved in and out by renaming. Folders that became links are not followed.
"""

import contextlib
import os
import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localstore.disk import durable_files, filesystem, rescue_folder, store_tree
from localstore.disk.document_file import DocumentFile
from localstore.disk.folder_watch import FolderWatch
from localstore.disk.store_identity import make_folders
from localstore.errors import DocumentBroken, LocalstoreError

FOLDER = ".localstore/trash"
_NAME = re.compile(r"(\d{4}-\d\d-\d\dT)(\d\d)(\d\d)(\d\d\.\d{3}Z)\.[0-9a-f]{12}\Z")


@dataclass(frozen=True, slots=True)
class Trashed:
    """A document in the trash, at `path`. `document` is its former path in the store, relative and with slashes.

    `name` is the name of its folder in the trash. `session_id` is None if it cannot be read. `trashed_at` is UTC, ISO
    8601, milliseconds. `size` is in bytes.
    """

    name: str
    session_id: str | None
    document: str
    trashed_at: str
    size: int
    path: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


def listing(root: str) -> list[Trashed]:
    """Return all documents in the trash, newest first. Other files are left out. Raises DocumentBroken, OSError."""
    return [one for name in sorted(_names(root), reverse=True) if (one := _described(root, name)) is not None]


def describe(root: str, name: str) -> Trashed | None:
    """Return the document in the trash with this name, or None if there is none. Raises DocumentBroken, OSError."""
    return _described(root, name) if name in _names(root) else None


def _described(root: str, name: str) -> Trashed | None:
    match = _NAME.match(name)
    document = _document(root, name) if match else None
    if match is None or document is None:
        return None
    path = store_tree.full_path(root, f"{FOLDER}/{name}/{document}")
    try:
        status = filesystem.system.status(path)
        if not stat.S_ISREG(status.st_mode):
            return None
        session_id = _session_id(path)
    except FileNotFoundError:  # another process has just restored it
        return None
    day, hours, minutes, seconds = match.groups()
    return Trashed(name, session_id, document, f"{day}{hours}:{minutes}:{seconds}", status.st_size, path)


def _names(root: str) -> list[str]:
    _refuse_links(root)
    try:
        entries = filesystem.system.entries(store_tree.full_path(root, FOLDER))
    except FileNotFoundError:
        return []
    return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


def _document(root: str, name: str) -> str | None:
    """Return the path of the only document in a folder of the trash, or None. The folder has the layout of a store."""
    item = store_tree.full_path(root, f"{FOLDER}/{name}")
    try:
        found = [path for folder in store_tree.folders(item) for path in store_tree.documents(item, folder)]
    except LocalstoreError:  # a link is in the way
        return None
    return found[0] if len(found) == 1 else None


def _session_id(path: str) -> str | None:
    with contextlib.suppress(LocalstoreError):
        return rescue_folder.id_in_head(path, path) or _id_in_whole(path)
    return None


def _id_in_whole(path: str) -> str | None:
    """Return the id in a document of any layout."""
    with DocumentFile(path) as file:
        session_id = file.parse().header["session_id"]
        return session_id if isinstance(session_id, str) else None


def move_in(root: str, document: str, session_id: str, watch: FolderWatch | None = None) -> Trashed:
    """Move a document into the trash, durably. The caller holds the lock of its session.

    `watch` is a watch of the document's folder.

    If this is interrupted, the document is in its old place or in the trash. Raises DocumentBroken, OSError.
    """
    source = store_tree.full_path(root, document)
    status = filesystem.system.status(source)
    if not stat.S_ISREG(status.st_mode):
        raise DocumentBroken(f"{source} is not a regular file. Move it out of the store.", path=source)
    _refuse_links(root)
    stamp = rescue_folder.timestamp(time.time())
    name = f"{stamp.replace(':', '')}.{os.urandom(6).hex()}"
    target = store_tree.full_path(root, f"{FOLDER}/{name}/{document}")
    try:
        make_folders(root, Path(target).parent)
        for above in (store_tree.full_path(root, FOLDER), store_tree.full_path(root, ".localstore"), root):
            filesystem.sync_folder(above)  # if another process made it, its name may not be durable yet
        durable_files.move_file(source, target, watch)
    except BaseException:
        _remove_folders(root, name, document)  # a folder that holds the document stays
        raise
    return Trashed(name, session_id, document, stamp, status.st_size, target)


def move_out(root: str, one: Trashed) -> None:
    """Move a document back to its former path, durably. The caller holds the locks that guard that path.

    Raises FileExistsError if the path is taken, FileNotFoundError if the document is no longer in the trash, OSError.
    """
    folder = one.document.rpartition("/")[0]
    store_tree.make_durable(root, folder)
    if not store_tree.has_folder(root, folder):
        where = store_tree.full_path(root, folder)
        raise DocumentBroken(
            f"{where} is a symbolic link, and links are not followed. Put the folder itself there.", path=where
        )
    durable_files.move_file(one.path, store_tree.full_path(root, one.document))
    _remove_folders(root, one.name, one.document)


def remove(root: str, one: Trashed) -> bool:
    """Delete a document in the trash permanently. Return False if it is no longer there. Raises OSError."""
    try:
        durable_files.remove_file(one.path)
    except FileNotFoundError:
        return False
    _remove_folders(root, one.name, one.document)
    return True


def _remove_folders(root: str, name: str, document: str) -> None:
    """Remove the folders of a document in the trash that are empty."""
    folder = f"{FOLDER}/{name}/{document}".rpartition("/")[0]
    while folder != FOLDER:
        filesystem.remove_folder_if_empty(store_tree.full_path(root, folder))
        folder = folder.rpartition("/")[0]


def _refuse_links(root: str) -> None:
    """Raise DocumentBroken if the path of the trash is a link or a file."""
    for folder in (".localstore", FOLDER):
        path = store_tree.full_path(root, folder)
        status = filesystem.status_or_none(path)
        if status is not None and not stat.S_ISDIR(status.st_mode):
            what = "a symbolic link, and links are not followed" if stat.S_ISLNK(status.st_mode) else "not a folder"
            raise DocumentBroken(f"{path} is {what}. Put the folder itself there.", path=path)
