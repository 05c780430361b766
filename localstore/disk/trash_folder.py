"""The folder `.localstore/trash/`: deleted documents, kept unchanged until the trash is emptied.

Each document has a folder of its own, `<time>.<random>`, and below it the path that it had in the store. Documents are
moved in and out by renaming. Folders that became links are not followed.
"""

import contextlib
import os
import re
import stat
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from localstore.disk import durable_files, filesystem, store_tree
from localstore.disk.document_file import fingerprint
from localstore.disk.folder_watch import FolderWatch
from localstore.disk.id_of_file import id_in_head, id_in_whole
from localstore.disk.store_identity import make_folders
from localstore.errors import DocumentBroken, LocalstoreError
from localstore.models.times import utc_time_of_ns

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


def listing_of(root: str, times: Collection[str]) -> list[Trashed]:
    """Return the documents that were moved to the trash at one of these times. Raises DocumentBroken, OSError."""
    names = sorted(name for name in _names(root) if _time_in(name) in times)
    return [one for name in names if (one := _described(root, name)) is not None]


def describe(root: str, name: str) -> Trashed | None:
    """Return the document in the trash with this name, or None if there is none. Raises DocumentBroken, OSError."""
    _refuse_links(root)
    if not _NAME.match(name):
        return None
    status = filesystem.status_or_none(store_tree.full_path(root, f"{FOLDER}/{name}"))
    return _described(root, name) if status is not None and stat.S_ISDIR(status.st_mode) else None


def _described(root: str, name: str) -> Trashed | None:
    document = _document(root, name) if _NAME.match(name) else None
    if document is None:
        return None
    path = store_tree.full_path(root, f"{FOLDER}/{name}/{document}")
    try:
        status = filesystem.system.status(path)
        if not stat.S_ISREG(status.st_mode):
            return None
        session_id = _session_id(path)
    except FileNotFoundError:  # another process has just restored it
        return None
    return Trashed(name, session_id, document, _time_in(name), status.st_size, path)


def _time_in(name: str) -> str:
    """Return the time in the name of a folder in the trash, in the form used in documents."""
    return _NAME.sub(r"\1\2:\3:\4", name)


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
        return id_in_head(path, path) or id_in_whole(path, path)
    return None


class TrashBatch:
    """Moves documents into the trash, in a `with` statement, with few syncs for all of them together.

    The caller holds the locks of their sessions until the `with` statement has ended: only then are they durably in the
    trash. If this is interrupted, each document is in its old place or in the trash. Raises DocumentBroken, OSError.
    """

    def __init__(self, root: str, at: int) -> None:
        """`at` is the time of the deletion, in ns since 1970."""
        self._root = root
        self._at = at
        self._names: dict[str, str] = {}
        """The name of the folder in the trash of each document that was not moved yet."""
        self._moved: list[Trashed] = []

    def __enter__(self) -> Self:
        _refuse_links(self._root)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for one in self._moved:
                filesystem.sync_folder(os.path.dirname(one.path))
            for folder in sorted({one.document.rpartition("/")[0] for one in self._moved}):
                filesystem.sync_folder(store_tree.full_path(self._root, folder))
        finally:
            for document, name in self._names.items():
                _remove_folders(self._root, name, document)  # a folder that holds the document stays

    def prepare(self, documents: Iterable[str]) -> None:
        """Make a folder for each of these documents, durably. Their paths are relative to the root."""
        trash = store_tree.full_path(self._root, FOLDER)
        make_folders(self._root, Path(trash))
        stamp = utc_time_of_ns(self._at).replace(":", "")
        new: list[str] = []
        for document in documents:
            name = self._names[document] = f"{stamp}.{os.urandom(6).hex()}"
            folder = f"{trash}/{name}"
            for part in ("", *document.split("/")[:-1]):
                folder = f"{folder}/{part}" if part else folder
                filesystem.system.make_folder(folder)
                new.append(folder)
        for folder in dict.fromkeys(os.path.dirname(folder) for folder in reversed(new)):
            filesystem.sync_folder(folder)
        for folder in (store_tree.full_path(self._root, ".localstore"), self._root):
            filesystem.sync_folder(folder)  # if another process made it, its name may not be durable yet

    def move(
        self,
        document: str,
        session_id: str,
        watch: FolderWatch | None = None,
        *,
        synced: list[int] | None = None,
    ) -> Trashed:
        """Move a document into the trash. `watch` is a watch of the document's folder.

        A document with the fingerprint `synced` has durable bytes.
        """
        source = store_tree.full_path(self._root, document)
        status = filesystem.system.status(source)
        if not stat.S_ISREG(status.st_mode):
            raise DocumentBroken(f"{source} is not a regular file. Move it out of the store.", path=source)
        if document not in self._names:
            self.prepare([document])
        name = self._names[document]
        target = store_tree.full_path(self._root, f"{FOLDER}/{name}/{document}")
        durable_files.move_file(source, target, watch, sync_name=False, sync_bytes=fingerprint(status) != synced)
        del self._names[document]
        one = Trashed(name, session_id, document, _time_in(name), status.st_size, target)
        self._moved.append(one)
        return one


class RestoreBatch:
    """Moves documents back to their former paths, in a `with` statement, with few syncs for all of them together.

    The caller holds the locks that guard these paths until the `with` statement has ended: only then are the documents
    durably in their places. If this is interrupted, each one is in the trash, in its place, or in both.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._folders: set[str] = set()
        self._moved: list[Trashed] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._moved:
            return
        for folder in sorted({one.document.rpartition("/")[0] for one in self._moved}):
            filesystem.sync_folder(store_tree.full_path(self._root, folder))
        for one in self._moved:
            if not _remove_folders(self._root, one.name, one.document):
                filesystem.sync_folder(os.path.dirname(one.path))
        filesystem.sync_folder(store_tree.full_path(self._root, FOLDER))  # the folders of the documents are gone

    def move(self, one: Trashed) -> None:
        """Move a document back.

        Raises FileExistsError if the path is taken, FileNotFoundError if the document is no longer in the trash,
        DocumentBroken, OSError.
        """
        folder = one.document.rpartition("/")[0]
        if folder not in self._folders:
            store_tree.make_durable(self._root, folder)
            self._folders.add(folder)
        if not store_tree.has_folder(self._root, folder):
            where = store_tree.full_path(self._root, folder)
            raise DocumentBroken(
                f"{where} is a symbolic link, and links are not followed. Put the folder itself there.", path=where
            )
        durable_files.move_file(one.path, store_tree.full_path(self._root, one.document), sync_name=False)
        self._moved.append(one)


def remove(root: str, one: Trashed) -> bool:
    """Delete a document in the trash permanently. Return False if it is no longer there. Raises OSError."""
    try:
        durable_files.remove_file(one.path)
    except FileNotFoundError:
        return False
    _remove_folders(root, one.name, one.document)
    return True


def _remove_folders(root: str, name: str, document: str) -> bool:
    """Remove the folders of a document in the trash that are empty. Return whether that is all of them."""
    folder = f"{FOLDER}/{name}/{document}".rpartition("/")[0]
    while folder != FOLDER:
        filesystem.remove_folder_if_empty(store_tree.full_path(root, folder), sync_name=False)
        folder = folder.rpartition("/")[0]
    return not filesystem.exists(store_tree.full_path(root, f"{FOLDER}/{name}"))


def _refuse_links(root: str) -> None:
    """Raise DocumentBroken if the path of the trash is a link or a file."""
    for folder in (".localstore", FOLDER):
        path = store_tree.full_path(root, folder)
        status = filesystem.status_or_none(path)
        if status is not None and not stat.S_ISDIR(status.st_mode):
            what = "a symbolic link, and links are not followed" if stat.S_ISLNK(status.st_mode) else "not a folder"
            raise DocumentBroken(f"{path} is {what}. Put the folder itself there.", path=path)
