"""Finds the store at, above or below the working directory."""

from __future__ import annotations

import os
from collections import deque

from localstore.errors import StoreNotFound

from .errors import Ambiguous
from .output import note

MARKER = "localstore.json"
DEPTH = 4
"""How many levels of folders below the working directory are searched for a store."""
MOST_FOLDERS = 2000
"""How many folders are searched at most."""
SKIPPED = frozenset({"node_modules", "__pycache__", "site-packages", "venv"})


def nearby_store() -> str:
    """Return the folder of the store at, above or below the working directory.

    Raises StoreNotFound if there is none, and Ambiguous if several are below it.
    """
    here = _working_directory()
    return _nearest(here) or _only_one_below(here)


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError as error:
        problem = "The working directory no longer exists. Change into another one, or pass --store DIR."
        raise StoreNotFound(problem) from error


def _nearest(folder: str) -> str | None:
    while not _is_nearby_store(folder):
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent
    return folder


def _only_one_below(here: str) -> str:
    stores, complete = _below(here)
    if len(stores) == 1 and complete:
        note(f"Using the store in {os.path.relpath(stores[0], here)}")
        return stores[0]
    if stores:
        many = f"{len(stores)} stores" if complete else "very many folders, and not all were searched for stores,"
        raise Ambiguous(
            f"There are {many} below {here}. Choose one with --store DIR or LOCALSTORE_DIR:",
            [f"  {os.path.relpath(store, here)}" for store in stores],
        )
    where = f"at, above or below {here}"
    if not complete:
        where = f"at or above {here}, nor in the first {MOST_FOLDERS:,} folders below it"
    raise StoreNotFound(f"No store {where}. Name one with --store DIR or LOCALSTORE_DIR.", path=here)


def _below(here: str) -> tuple[list[str], bool]:
    """Return the stores below a folder, nearest first, and whether all folders were searched.

    It skips hidden folders, links, folders of installed packages, and everything inside a store.
    """
    stores: list[str] = []
    waiting = deque([(here, 0)])
    searched = 0
    while waiting:
        folder, depth = waiting.popleft()
        if depth and _is_nearby_store(folder):
            stores.append(folder)
            continue
        if depth == DEPTH:
            continue
        if searched == MOST_FOLDERS:
            return stores, False
        searched += 1
        waiting.extend((child, depth + 1) for child in _folders(folder))
    return stores, True


def _folders(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.path
                for entry in entries
                if not entry.name.startswith(".") and entry.name not in SKIPPED and entry.is_dir(follow_symlinks=False)
            )
    except OSError:
        return []  # no permission to read it, or it was deleted


def _is_nearby_store(folder: str) -> bool:
    """Return whether a folder that nobody named is a store. If it has the marker of another program, print a note."""
    if not is_store(folder):
        return False
    from pathlib import Path

    from localstore.disk.store_tree import is_foreign

    if not is_foreign(Path(folder)):
        return True
    note(f"{os.path.join(folder, MARKER)} is not of localstore, and was ignored")
    return False


def is_store(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, MARKER))
