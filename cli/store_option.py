"""Finds and opens the store that a command works on."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import click

from localstore.databases.opening import is_url, open_storage, without_password
from localstore.errors import NoFile, StoreNotFound

from .nearby_store import is_store, nearby_store
from .output import note
from .progress import Reading

if TYPE_CHECKING:
    from localstore.databases.database_storage import DatabaseStorage
    from localstore.storage.contract import SessionStorage
    from localstore.storage.storage import JsonStorage, YamlStorage


def store_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option `--store` to a command. The group has it too; the command's own option wins."""
    text = (
        "Use the store in the folder DIR or in the database at URL. Default: LOCALSTORE_DIR, else the store at, above "
        "or below the working directory."
    )
    return click.option("--store", metavar="DIR|URL", help=text)(command)


def open_store(option: str | None) -> SessionStorage:
    """Return the store, in a folder or a database. New documents are JSON; existing ones may have either format.

    Raises StoreNotFound or Ambiguous if no single store is found, OlderFormat or NewerFormat if this version of the
    package cannot use it, and StoreUnavailable if the database cannot be reached.
    """
    url = url_of(option)
    return open_folder(option) if url is None else _open_database(url, create=False)


def open_folder(option: str | None) -> JsonStorage:
    """Return the store, which must be in a folder. Raises the errors of `open_store`, and NoFile for a database."""
    root = find_store(option)
    from localstore.storage.storage import JsonStorage

    return JsonStorage(root, create=False, progress=_reading())


def open_or_make_store(option: str | None) -> SessionStorage:
    """Return the store. Create it if it does not exist and `--store` or LOCALSTORE_DIR names it.

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


def open_named(named: str, by: str) -> SessionStorage:
    """Return the store that `by`, an option or argument, names. Raises the errors of `open_store`."""
    if is_url(named):
        return _open_database(named, create=False)
    from localstore.storage.storage import JsonStorage

    return JsonStorage(_named(named, by), create=False, progress=_reading())


def open_or_make_named(named: str) -> SessionStorage:
    """Return the store with this path or URL. Create it if it does not exist. Raises as `open_or_make_store`."""
    if is_url(named):
        return _open_database(named, create=True)
    if not named or named.startswith("~"):
        raise click.UsageError(f"'{named}' is not a folder name", click.get_current_context())
    from localstore.storage.storage import JsonStorage

    is_new = not is_store(named)
    storage = JsonStorage(os.path.abspath(named), progress=_reading())
    if is_new:
        note(f"Created a store in {named}")
    return storage


def _open_database(url: str, *, create: bool) -> SessionStorage:
    """Return the store in a database, which is closed when the command ends."""
    storage = open_storage(url, create=create)
    click.get_current_context().call_on_close(storage.close)
    return storage


def folder_of(storage: SessionStorage, option: str = "") -> JsonStorage | YamlStorage:
    """Return a store that must be in a folder, with this option. Raises NoFile if it is in a database."""
    from localstore.storage.storage import JsonStorage, YamlStorage

    if isinstance(storage, (JsonStorage, YamlStorage)):
        return storage
    raise needs_folder(store_name(storage), option)


def store_name(storage: SessionStorage) -> str:
    """Return the folder of a store, or its URL without the password."""
    return storage._copy_side().name


def _reading() -> Reading:
    """Return what shows how many documents were read, until the command ends."""
    reading = Reading()
    click.get_current_context().call_on_close(reading.close)
    return reading


def needs_folder(name: str, option: str = "") -> NoFile:
    """Return the error of a command that works on the files of a store, for a store in a database.

    `option` is the one that needs files, if the command does not always.
    """
    command = f"{click.get_current_context().command_path} {option}".rstrip()
    return NoFile(
        f"'{command}' works on a folder, and {name} is a database. Use a folder, and copy sessions with: "
        "localstore copy FROM TO"
    )


def _by_option(option: str | None) -> str | None:
    if option is not None:
        return option
    by_group: str | None = click.get_current_context().find_root().params.get("store")
    return by_group


def url_of(option: str | None) -> str | None:
    """Return the URL of the store if the option or the environment names a database, else None."""
    named = _by_option(option)
    if named is None:
        named = os.environ.get("LOCALSTORE_DIR", "")
    return named if is_url(named) else None


def database_of(option: str | None) -> DatabaseStorage | None:
    """Return the store if it is in a database, else None: a command has another way for folders."""
    if (url := url_of(option)) is None:
        return None
    return cast("DatabaseStorage", _open_database(url, create=False))


def find_store(option: str | None, needed_by: str = "") -> str:
    """Return the folder of the store. `needed_by` is the option that needs a folder, if the command does not always.

    It is the one that the option or the environment names; otherwise that of a document that SESSION names by its path;
    otherwise that of a store near the working directory.

    Raises StoreNotFound if there is none, Ambiguous if several stores could be meant, and NoFile if it is a database.
    """
    if (url := url_of(option)) is not None:
        raise needs_folder(without_password(url), needed_by)
    option = _by_option(option)
    if option is not None:
        return _named(option, "--store")
    if named := os.environ.get("LOCALSTORE_DIR"):
        return _named(named, "LOCALSTORE_DIR")
    if (folder := _of_document()) is not None:
        return folder
    return nearby_store()


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
            if is_store(store):
                return store
    return None


def _named(folder: str, by: str) -> str:
    if not os.path.isdir(folder):
        problem = "is not a folder" if os.path.lexists(folder) else "does not exist"
        raise StoreNotFound(f"{by} names '{folder}', which {problem}. Correct the path.", path=folder)
    if by == "LOCALSTORE_DIR" and not is_store(folder):
        note(f"{by} names {folder}")  # the error that follows comes from the library, which does not know the variable
    return os.path.abspath(folder)
