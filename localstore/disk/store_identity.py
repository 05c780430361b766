"""Recognise the store that was opened. Its folder may be moved, removed or replaced while a process uses it."""

import os
from dataclasses import dataclass
from pathlib import Path

from localstore.disk import filesystem
from localstore.errors import StoreNotFound

MARKER = "localstore.json"
"""The file that makes a folder a store."""


@dataclass(frozen=True, slots=True)
class StoreIdentity:
    """The folder at the path `root` and the marker in it, as they were when the store was opened.

    `folder` is the device and inode of the folder, or None if there was none. `marker` is the device, inode and
    modification time in ns of the marker; None for a folder that was not a store yet.
    """

    root: str
    folder: tuple[int, int] | None
    marker: tuple[int, int, int] | None

    @classmethod
    def of(cls, root: str) -> "StoreIdentity":
        """Return the identity of what is at the path `root` now. Raises OSError."""
        folder, marker = filesystem.status_or_none(root), filesystem.status_or_none(f"{root}/{MARKER}")
        return cls(
            root,
            None if folder is None else (folder.st_dev, folder.st_ino),
            None if marker is None else (marker.st_dev, marker.st_ino, marker.st_mtime_ns),
        )

    def check(self) -> None:
        """Raise StoreNotFound if the store is no longer at its path, or another one is there. Raises OSError."""
        now = StoreIdentity.of(self.root)
        if now.folder == self.folder and (self.marker is None or now.marker == self.marker):
            return
        if now.folder is None:
            what = "was moved or removed"
        elif now.marker is None:
            what = f"was moved or removed, and the folder there has no {MARKER}"
        else:
            what = "was replaced by another one"
        raise StoreNotFound(
            f"The store at {self.root} {what} while it was open here. Open the storage again, at the path where the "
            "store is now.",
            path=self.root,
        )


def make_folders(root: str | Path, folder: str | Path) -> None:
    """Create a folder below the root of a store, with the folders between them. The root itself is never created.

    Raises StoreNotFound if the root is missing, because the store was moved or removed. Raises OSError.
    """
    try:
        filesystem.make_folders(Path(folder), top=Path(root))
    except FileNotFoundError as error:
        if os.path.isdir(root):
            raise
        raise StoreNotFound(
            f"The store at {root} was moved or removed while it was open here. Open the storage again, at the path "
            "where the store is now.",
            path=str(root),
        ) from error
