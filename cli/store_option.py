"""Finds and opens the store that a command works on."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from localstore.errors import StoreNotFound

from .errors import Ambiguous
from .output import note
from .progress import Reading

if TYPE_CHECKING:
    from localstore.storage.storage import JsonStorage

MARKER = "localstore.json"
DEPTH = 4
"""How many levels of folders below the working directory are searched for a store."""
MOST_FOLDERS = 2000
"""How many folders are searched at most."""
SKIPPED = frozenset({"node_modules", "__pycache__", "site-packages", "venv"})


def store_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option `--store` to a command. The group has it too; the command's own option wins."""
    text = "Use the store in DIR. Default: LOCALSTORE_DIR, else the store at, above or below the working directory."
    return click.option("--store", metavar="DIR", help=text)(command)


def open_store(option: str | None) -> JsonStorage:
    """Return the store. New documents are JSON; existing ones may have either format.

    Raises StoreNotFound or Ambiguous if no single store is found, and OlderFormat or NewerFormat if this version of the
    package cannot use it.
    """
    root = find_store(option)
    from localstore.storage.storage import JsonStorage

    return JsonStorage(root, create=False, progress=_reading())


def open_or_make_store(option: str | None) -> JsonStorage:
    """Return the store. Create it if it does not exist and `--store` or LOCALSTORE_DIR names its folder.

    Raises the errors of `open_store`, and UsageError if the name is empty or begins with `~`.
    """
    named = _by_option(option)
    if named is None:
        named = os.environ.get("LOCALSTORE_DIR") or None
    if named is None:
        try:
            return open_store(None)
        except StoreNotFound as error:
            command = click.get_current_context().command_path
            raise StoreNotFound(f"{error} '{command} --store DIR' creates one in DIR.", path=error.path) from None
    return open_or_make_named(named)


def open_named(named: str, by: str) -> JsonStorage:
    """Return the store in the folder that `by`, an option or argument, names. Raises the errors of `open_store`."""
    from localstore.storage.storage import JsonStorage

    return JsonStorage(_named(named, by), create=False, progress=_reading())


def open_or_make_named(named: str) -> JsonStorage:
    """Return the store in a folder. Create it if it does not exist. Raises the errors of `open_or_make_store`."""
    if not named or named.startswith("~"):
        raise click.UsageError(f"'{named}' is not a folder name", click.get_current_context())
    from localstore.storage.storage import JsonStorage

    is_new = not _is_store(named)
    storage = JsonStorage(os.path.abspath(named), progress=_reading())
    if is_new:
        note(f"Created a store in {named}")
    return storage


def _reading() -> Reading:
    """Return what shows how many documents were read, until the command ends."""
    reading = Reading()
    click.get_current_context().call_on_close(reading.close)
    return reading


def _by_option(option: str | None) -> str | None:
    if option is not None:
        return option
    by_group: str | None = click.get_current_context().find_root().params.get("store")
    return by_group


def find_store(option: str | None) -> str:
    """Return the folder of the store.

    It is the one that the option or the environment names; otherwise that of a document that SESSION names by its path;
    otherwise that of a store near the working directory.

    Raises StoreNotFound if there is none, and Ambiguous if several stores could be meant.
    """
    option = _by_option(option)
    if option is not None:
        return _named(option, "--store")
    if named := os.environ.get("LOCALSTORE_DIR"):
        return _named(named, "LOCALSTORE_DIR")
    if (folder := _of_document()) is not None:
        return folder
    here = _working_directory()
    return _nearest(here) or _only_one_below(here)


def is_path(text: str) -> bool:
    """Return whether a text is the path of an existing file. A bare word is not, unless it has a document's ending."""
    return (os.path.basename(text) != text or text.endswith((".json", ".yaml"))) and os.path.isfile(text)


def _of_document() -> str | None:
    """Return the store of the first document that the command line names as SESSION, or None."""
    given = click.get_current_context().params
    texts: list[str | None] = [given.get("session"), *(given.get("sessions") or ())]
    for text in texts:
        if text and is_path(text):
            store = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(text))))
            if _is_store(store):
                return store
    return None


def _named(folder: str, by: str) -> str:
    if not os.path.isdir(folder):
        problem = "is not a folder" if os.path.lexists(folder) else "does not exist"
        raise StoreNotFound(f"{by} names '{folder}', which {problem}. Correct the path.", path=folder)
    if by == "LOCALSTORE_DIR" and not _is_store(folder):
        note(f"{by} names {folder}")  # the error that follows comes from the library, which does not know the variable
    return os.path.abspath(folder)


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
    if not _is_store(folder):
        return False
    from pathlib import Path

    from localstore.disk.store_tree import is_foreign

    if not is_foreign(Path(folder)):
        return True
    note(f"{os.path.join(folder, MARKER)} is not of localstore, and was ignored")
    return False


def _is_store(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, MARKER))
