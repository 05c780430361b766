"""The files that keep machine-local files out of git and Syncthing."""

import contextlib
import os
from pathlib import Path

from localstore.disk import durable_files, filesystem

GIT_IGNORE = ".gitignore"
GIT_RULES = b"# Machine-local files of localstore, made again as needed\n/.localstore/\n/manifest.jsonl\n.*.tmp\n"
SYNCTHING_IGNORE = ".stignore"
"""It does not travel, so each machine has its own."""
_SYNCTHING_RULES = b"// Machine-local files of localstore, made again as needed\n/.localstore\n.*.tmp\n"
_SYNCTHING_FOLDER = ".stfolder"
"""What Syncthing puts into the top of each folder that it synchronises."""


def restore(root: Path) -> None:
    """Make the `.gitignore` of a store again if it is missing, and in a folder of Syncthing its `.stignore`.

    A file that is there is left alone. Nothing happens if the store cannot be written: no session depends on it.
    """
    with contextlib.suppress(OSError):
        if not filesystem.exists(f"{root}/{GIT_IGNORE}"):
            durable_files.create_file(root / GIT_IGNORE, [GIT_RULES])
        if filesystem.exists(f"{root}/{_SYNCTHING_FOLDER}") and not filesystem.exists(f"{root}/{SYNCTHING_IGNORE}"):
            durable_files.create_file(root / SYNCTHING_IGNORE, [_SYNCTHING_RULES])


def lacking_rule(root: str) -> str | None:
    """Return the ignore file of Syncthing that should name `.localstore` and does not, or None.

    It belongs into the folder that Syncthing synchronises: the store or one above it.
    """
    folder = root
    while not filesystem.exists(f"{folder}/{_SYNCTHING_FOLDER}"):
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above
    path = os.path.join(folder, SYNCTHING_IGNORE)
    with contextlib.suppress(FileNotFoundError):
        if b".localstore" in filesystem.read_file(path):
            return None
    return path
