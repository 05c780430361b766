"""Restores items of one kind, and prints what was done."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

import click

from localstore.errors import Conflict, LocalstoreError

from . import output
from .errors import message
from .output import one_line

if TYPE_CHECKING:
    from localstore.disk.backup_folder import BackupInfo
    from localstore.disk.rescue_folder import Rescued
    from localstore.disk.trash_folder import Trashed
    from localstore.storage.contract import SessionStorage

    from .restore_items import Restorable


def restore_documents(storage: SessionStorage, items: list[Restorable], *, new_id: str | None, as_json: bool) -> None:
    """Move documents from the trash back into the store, the newest one first, and print the result on one line.

    If some cannot be restored, the others are. The errors are printed, and the last one is raised.
    """
    done: list[dict[str, Any]] = []
    errors: list[LocalstoreError | OSError] = []
    for item, place in zip(items, _places(storage, items, new_id), strict=True):
        if isinstance(place, FileNotFoundError) and len(items) > 1:
            continue  # another process has just restored it
        if isinstance(place, (LocalstoreError, OSError)):
            errors.append(place)
            continue
        done.append({"name": item.name, "session_id": new_id or item.session_id})
        if isinstance(place, os.PathLike):
            done[-1]["path"] = str(place)
    if as_json:
        output.write_json(done)
    elif len(done) == 1:
        (one,) = done
        line = f"{one['session_id'] or one['name']} is back" + (f": {one['path']}" if "path" in one else "")
        output.write(f"{one_line(line)}\n")
    elif done:
        output.write(f"{len(done):,} sessions are back\n")
    for other in errors[:-1]:
        output.note(message(other))
    if errors:
        raise errors[-1]


def _places(storage: SessionStorage, items: list[Restorable], new_id: str | None) -> list[object]:
    """Restore documents, and return for each its path, another object in a database, or the error."""
    from localstore.storage.storage import Storage

    if new_id is None and isinstance(storage, Storage):
        found = storage.restore_all(item.name for item in items)
        return [found.problems.get(item.name) or found.restored[item.name] for item in items]
    places: list[object] = []
    for item in items:
        try:
            places.append(storage.restore(item.name, new_id=new_id))
        except (LocalstoreError, FileNotFoundError) as error:
            places.append(error)
    return places


def copy_document(item: Restorable, target: str, *, as_json: bool) -> None:
    """Copy a document from the trash, or a rescue file, to a new file, and print its path. It stays where it is."""
    from localstore.disk import durable_files, filesystem

    if os.path.lexists(target):
        raise click.UsageError(f"{target} exists. Choose another name", click.get_current_context())
    raw = filesystem.read_file(cast("Trashed | Rescued", item.source).path)
    path = os.path.abspath(target)
    durable_files.create_file(path, [raw])
    if as_json:
        output.write_json([{"name": item.name, "session_id": item.session_id, "path": path}])
    else:
        output.write(f"{one_line(f'A copy of {item.session_id or item.name} is in {path}')}\n")


def restore_rescued(root: str, items: list[Restorable], *, new_id: str | None, as_json: bool) -> None:
    """Put the runs of rescue files back into their sessions, the oldest file first, and print the results.

    With `new_id`, they become a session with this id.
    """
    from .rescue_files import put_back

    files = [cast("Rescued", item.source) for item in items]
    put_back(root, files[::-1], create=False, dry_run=False, as_json=as_json, new_id=new_id)


def undo_backup(root: str, item: Restorable, newest: str, *, sure: bool, as_json: bool) -> None:
    """Undo the upgrade or conversion that made the newest backup, if a person confirms it or `sure` is true.

    Raises Conflict if the backup is not the newest one, and UsageError if there is no terminal to ask on.
    """
    from .rewrite_result import undo_and_print_result

    if item.name != newest:
        raise Conflict(
            f"Backup {item.name} is not the newest one. Nothing was changed. Put back {newest} first, or take the "
            f"documents that you want from {cast('BackupInfo', item.source).path}.",
            path=root,
        )
    if not sure and not output.is_confirmed(f"Undo this: {item.why}?", yes_would=f"undo: {item.why}"):
        output.note("Nothing was changed.")
        return
    undo_and_print_result(root, as_json=as_json)
