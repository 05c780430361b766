"""Backups in `.localstore/backups/<time>/`: documents as they were before a command rewrote them, until the command is
undone or the backup is pruned.

    .localstore/backups/2026-11-25T004012.345Z/
      backup.json                   which command made it, when, and whether that command has finished
      files/sessions/2026-11/x.json the old documents, at the same paths below `files` as below the root

A document in a backup is a hard link to the old file, which costs no space. Where the file system has no hard links, it
is a copy that was read back. The session id of an old document says which document replaced it.
"""

import contextlib
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from localstore.disk import durable_files, filesystem, store_tree, temporary_files
from localstore.disk.store_identity import make_folders
from localstore.errors import BackupNotFound
from localstore.format.document import LAYOUTS
from localstore.models.times import utc_time_of_ns

FOLDER = Path(".localstore") / "backups"
_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d{6}\.\d{3}Z(?:-\d+)?\Z")
_ABOUT = "backup.json"
_FILES = "files"


@dataclass(frozen=True, slots=True)
class BackupInfo:
    """One backup, in the folder `path`.

    `action` made it (`upgrade`, `convert`, `redact`, `write`) at `made_at` (UTC, ISO 8601, milliseconds). `finished` is
    False while the action is running, or if it was interrupted. `documents` is the number of documents, `size` their
    total size in bytes.
    """

    name: str
    action: str
    made_at: str
    finished: bool
    documents: int
    size: int
    path: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


class Backup:
    """A backup, to which documents can be added. Paths are relative to the root of the store, with slashes."""

    def __init__(self, root: str, name: str) -> None:
        self.root = root
        self.name = name
        self.folder = f"{root}/{FOLDER.as_posix()}/{name}"
        self._unsynced: set[str] = set()

    def place(self, path: str) -> str:
        """Return where the backup keeps the old document of a path."""
        return store_tree.full_path(self.folder, f"{_FILES}/{path}")

    def keep(self, path: str) -> None:
        """Add the file at `path` as it is now. It is durable after `sync`. Raises OSError."""
        place = self.place(path)
        folder = os.path.dirname(place)
        if folder not in self._unsynced:
            make_folders(self.root, folder)
        self._unsynced.add(folder)
        durable_files.link_or_copy(store_tree.full_path(self.root, path), place)

    def sync(self) -> None:
        """Make all added documents durable."""
        for folder in sorted(self._unsynced):
            filesystem.sync_folder(folder)
        self._unsynced.clear()

    def holds(self, path: str, status: os.stat_result, raw: bytes | None = None) -> bool:
        """Return whether the backup of `path` equals the current file, which has this status and these bytes. Without
        `raw` the file is read if necessary."""
        place = self.place(path)
        kept = filesystem.status_or_none(place)
        if kept is None or kept.st_size != status.st_size:
            return False
        if os.path.samestat(kept, status):
            return True
        return filesystem.read_file(place) == (
            filesystem.read_file(store_tree.full_path(self.root, path)) if raw is None else raw
        )

    def forget_unchanged(self, path: str) -> None:
        """Remove a file from the backup if the document in its place is unchanged."""
        there = filesystem.status_or_none(store_tree.full_path(self.root, path))
        if there is not None and self.holds(path, there):
            filesystem.system.unlink(self.place(path))

    def paths(self) -> list[str]:
        """Return the paths of all documents in the backup, sorted. Links are not followed."""
        top = f"{self.folder}/{_FILES}"
        return sorted(path.removeprefix(f"{top}/") for path, _ in _files(top))

    def has_documents(self) -> bool:
        """Return whether the backup has any document."""
        return next(_files(f"{self.folder}/{_FILES}"), None) is not None

    @property
    def made_store(self) -> bool:
        """Return whether the action turned a folder into a store. Raises OSError."""
        return _about(self.folder).get("made_store") is True

    @property
    def rules(self) -> list[list[str]] | None:
        """The rules of the redaction that made the backup; None if something else made it. Raises OSError."""
        rules = _about(self.folder).get("rules")
        return rules if isinstance(rules, list) else None

    def finish(self) -> str | None:
        """Mark the backup as finished and return its name. A backup without documents is removed; returns None."""
        if not self.has_documents():
            self.remove_if_empty()
            return None
        self._note(finished=True)
        return self.name

    def begin_undo(self) -> None:
        """Mark the backup as being undone: it stays until it is removed, even without documents. A full disk
        does not prevent the undo: then the mark is left out."""
        try:
            self._note(undoing=True)
        except OSError as error:
            if error.errno not in filesystem.FULL:
                raise

    def remove(self) -> None:
        """Delete the backup with all of its documents, durably."""
        for path, _ in list(_files(f"{self.folder}/{_FILES}")):
            filesystem.system.unlink(path)
        self.remove_if_empty()

    def remove_if_empty(self) -> None:
        """Remove empty folders, and the backup itself if it has no documents."""
        top = f"{self.folder}/{_FILES}"
        for folder, _, _ in os.walk(top, topdown=False):
            if not os.path.islink(folder):
                self._remove_folder_if_empty(folder)
        if not filesystem.exists(top) and os.path.isdir(self.folder):
            if filesystem.exists(f"{self.folder}/{_ABOUT}"):
                durable_files.remove_file(f"{self.folder}/{_ABOUT}")
            self._remove_folder_if_empty(self.folder)

    @staticmethod
    def _remove_folder_if_empty(folder: str) -> None:
        temporary_files.remove(folder)  # no other process writes here
        filesystem.remove_folder_if_empty(folder)

    def _note(self, **more: bool) -> None:
        self._write({**_about(self.folder), **more})

    def _write(self, about: dict[str, Any]) -> None:
        durable_files.write_file(f"{self.folder}/{_ABOUT}", [orjson.dumps(about, option=orjson.OPT_INDENT_2), b"\n"])


def begin(root: str, action: str, *, made_store: bool = False) -> Backup:
    """Return the interrupted backup of `action` to continue with, or else a new one."""
    tidy(root, old=True)
    for backup, about in _all(root):
        if _is_at_work(about, action):
            return backup
    return make(root, action, finished=False, made_store=made_store)


def make(
    root: str, action: str, *, finished: bool, made_store: bool = False, rules: list[list[str]] | None = None
) -> Backup:
    """Create a backup. `finished`: it can be undone at any time. `made_store`: the folder is not a store yet. `rules`
    are those of a redaction."""
    made_at = utc_time_of_ns(time.time_ns())
    folder = Path(root) / FOLDER
    make_folders(root, folder)
    number = 1
    while True:
        name = made_at.replace(":", "") + (f"-{number}" if number > 1 else "")
        backup = Backup(root, name)
        try:
            filesystem.system.make_folder(backup.folder)
            break
        except FileExistsError:
            number += 1
    try:
        filesystem.sync_folder(str(folder))
        about: dict[str, Any] = {"localstore": "backup", "action": action, "made_at": made_at, "finished": finished}
        if made_store:
            about["made_store"] = True
        if rules is not None:
            about["rules"] = rules
        backup._write(about)
    except BaseException:
        with contextlib.suppress(OSError):
            backup.remove_if_empty()
        raise
    return backup


def tidy(root: str, *, old: bool) -> None:
    """Remove backups without documents. With `old`, young ones stay: a writer that upgrades a document may be creating
    one now. The caller must hold the migration lock."""
    for backup, about in _all(root):
        if old and not temporary_files.is_old(filesystem.system.status(backup.folder)):
            continue
        if about.get("undoing") is not True and not backup.has_documents():
            backup.remove_if_empty()


def is_at_work(root: str, action: str) -> bool:
    """Return whether this action is running or was interrupted."""
    return any(_is_at_work(about, action) for _, about in _all(root))


def _is_at_work(about: dict[str, Any], action: str) -> bool:
    return about.get("action") == action and about.get("finished") is not True


def listing(root: str) -> list[BackupInfo]:
    """Return the backups of a store that have documents, newest first. Raises OSError."""
    return [info for backup, about in _all(root) if (info := _described(backup, about)).documents]


def newest(root: str) -> BackupInfo:
    """Return the backup that is being undone, or else the newest one. Raises BackupNotFound."""
    for backup, about in _all(root):
        if about.get("undoing") is True or backup.has_documents():
            return _described(backup, about)
    raise BackupNotFound(f"There is no backup in {root}. Nothing was changed.", path=root)


def _all(root: str) -> list[tuple[Backup, dict[str, Any]]]:
    """Return all backups with the content of `backup.json`, newest first, without looking at their documents."""
    top = f"{root}/{FOLDER.as_posix()}"
    status = filesystem.status_or_none(top)
    if status is None or not stat.S_ISDIR(status.st_mode):
        return []
    found = []
    for entry in filesystem.system.entries(top):
        if _NAME.match(entry.name) and entry.is_dir(follow_symlinks=False):
            about: dict[str, Any] = {}
            with contextlib.suppress(OSError):  # it is listed even so
                about = _about(entry.path)
            found.append((Backup(root, entry.name), about))
    return sorted(found, key=lambda one: (_made_at(*one), len(one[0].name), one[0].name), reverse=True)


def _described(backup: Backup, about: dict[str, Any]) -> BackupInfo:
    sizes = [status.st_size for _, status in _files(f"{backup.folder}/{_FILES}")]
    action = about.get("action")
    return BackupInfo(
        backup.name,
        action if isinstance(action, str) else "unknown",
        _made_at(backup, about),
        about.get("finished") is True,
        len(sizes),
        sum(sizes),
        backup.folder,
    )


def _made_at(backup: Backup, about: dict[str, Any]) -> str:
    made_at = about.get("made_at")
    return made_at if isinstance(made_at, str) else _time_in(backup.name)


def named(root: str, name: str) -> BackupInfo:
    """Return the backup with this name, or the only one whose name begins with it.

    Raises BackupNotFound if there is none, or several."""
    found = listing(root)
    chosen = [one for one in found if one.name == name] or [one for one in found if one.name.startswith(name)]
    if len(chosen) == 1:
        return chosen[0]
    how = f"{len(chosen)} backups match" if chosen else "No backup matches"
    raise BackupNotFound(f"{how} {name!r}. 'localstore backups' lists them.", path=root)


def _about(folder: str) -> dict[str, Any]:
    """Return the content of `backup.json`, or nothing if it is missing or damaged. Raises OSError."""
    try:
        value = orjson.loads(filesystem.read_file(f"{folder}/{_ABOUT}"))
    except (FileNotFoundError, orjson.JSONDecodeError):
        return {}
    return value if isinstance(value, dict) else {}


def _time_in(name: str) -> str:
    return f"{name[:13]}:{name[13:15]}:{name[15:22]}"


def _files(top: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the path and status of each document in a folder and below. Links are not followed."""
    try:
        entries = filesystem.system.entries(top)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        path = f"{top}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _files(path)
        elif (
            entry.is_file(follow_symlinks=False)
            and path.endswith(tuple(LAYOUTS))
            and temporary_files.final_name(entry.name) is None
        ):
            yield path, filesystem.system.status(path)
