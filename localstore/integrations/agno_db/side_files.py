"""Read the small JSON files in which earlier releases kept user memories of agno, and its schema versions, in a folder.

`memories/<user>.json` holds the memories of one user, and `agno.json` the versions of agno's tables. Nothing is written
to them any more, and each one is removed once its content is stored in a session.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from localstore.disk import durable_files, file_names, filesystem
from localstore.disk.durable_files import FileChanged
from localstore.errors import DocumentBroken
from localstore.format.json_layout import LAYOUT as JSON
from localstore.format.parse_error import ParseError
from localstore.storage.storage import Storage

_KEYS = ("schema_version", "user_id")
"""The keys of a file beside the one with its content."""
NOBODY = "_nobody"
"""The file name, without suffix, for memories without a user. No user id is converted to this name."""


class SideFiles:
    """Reads the files, and removes those that are no longer needed.

    Methods may raise DocumentBroken if a file cannot be parsed, LockTimeout, and OSError.
    """

    def __init__(self, storage: Storage) -> None:
        """Use the files in the folder of a storage."""
        self.storage = storage if storage._engine.durable else type(storage)(storage.root)
        """The storage, with durable writes: what the files hold must be safe before they are removed."""
        self._engine = self.storage._engine
        self._folder = Path(self._engine.root, "memories")

    def users(self) -> list[str | None]:
        """Return the ids of the users that have a memory file. None represents the memories without a user."""
        return [self._load_memories(path)[0].get("user_id") for path in self._paths()]

    def memories(self, user_id: str | None) -> list[dict[str, Any]]:
        """Return the memories of a user, or for None those without a user; an empty list if there are none."""
        return self._load_memories(self._path(user_id))[0]["memories"]  # type: ignore[no-any-return]

    def versions(self) -> dict[str, Any]:
        """Return the versions of agno's tables."""
        return self._load_versions()[0]["schema_versions"]  # type: ignore[no-any-return]

    def take_memories(self, user_id: str | None, keep: Callable[[list[dict[str, Any]]], None]) -> None:
        """Remove the file of a user, if there is one, once `keep` has stored its memories durably.

        `keep` may get them again, if somebody saves the file meanwhile, or if this was interrupted.
        """
        path = self._path(user_id)
        while (found := self._load_memories(path, to_change=True))[1] is not None:
            keep(found[0]["memories"])
            self._remove(path, found[1], f"memories/{path.name}")

    def take_versions(self, keep: Callable[[dict[str, Any]], None]) -> None:
        """Remove the file with the versions, if there is one, once `keep` has stored them; see `take_memories`."""
        while (found := self._load_versions(to_change=True))[1] is not None:
            keep(found[0]["schema_versions"])
            self._remove(Path(self._engine.root, "agno.json"), found[1], "agno.json")

    def clear(self) -> None:
        """Remove the memories of all users."""
        for path in self._paths():
            while (status := self._load_memories(path)[1]) is not None:  # raises for a broken file, which stays
                self._remove(path, status, f"memories/{path.name}")

    def _remove(self, path: Path, status: os.stat_result, lock: str) -> None:
        """Remove a file, unless somebody saved it meanwhile. The lock is that of earlier releases."""
        with self._engine.locked(lock), contextlib.suppress(FileChanged):
            durable_files.remove_unchanged(str(path), status)

    def _paths(self) -> list[Path]:
        try:
            with os.scandir(self._folder) as entries:
                names = [
                    e.name for e in entries if e.name.endswith(".json") and e.name[0] != "." and not e.is_symlink()
                ]
        except FileNotFoundError:
            self._engine.locks.check_store()
            return []
        return [self._folder / name for name in sorted(names)]

    def _path(self, user_id: str | None) -> Path:
        return self._folder / f"{NOBODY if user_id is None else file_names.stem(user_id)}.json"

    def _load_memories(self, path: Path, *, to_change: bool = False) -> tuple[dict[str, Any], os.stat_result | None]:
        record, status = self._load(path, "memories", list, to_change=to_change)
        if not all(isinstance(memory, dict) for memory in record["memories"]):
            raise _broken(path, "memories contains something that is not a mapping")
        return record, status

    def _load_versions(self, *, to_change: bool = False) -> tuple[dict[str, Any], os.stat_result | None]:
        return self._load(Path(self._engine.root, "agno.json"), "schema_versions", dict, to_change=to_change)

    def _load(
        self, path: Path, key: str, kind: type, *, to_change: bool = False
    ) -> tuple[dict[str, Any], os.stat_result | None]:
        """Return the content and the status of a file.

        If the file is missing, return a mapping with an empty `kind` under `key`, and None.
        Raises DocumentBroken if it cannot be parsed or has no value of type `kind` under `key`; with `to_change`, also
        if something in it would be lost elsewhere: a repeated key, digits of a number, or a key of another program.
        """
        try:
            with filesystem.open_file(str(path)) as fd:
                status = filesystem.system.status_of(fd)
                raw = filesystem.read_at(fd, status.st_size, 0)
        except FileNotFoundError:
            self._engine.locks.check_store()
            return {key: kind()}, None
        try:
            record = orjson.loads(raw)
            if to_change:
                JSON.parse_strict(raw)
        except orjson.JSONDecodeError as error:
            raise _broken(path, str(error)) from None
        except ParseError as error:
            place = "" if error.line is None else f"line {error.line}, column {error.column}: "
            raise _broken(path, f"{place}{error.problem}") from None
        if not isinstance(record, dict) or not isinstance(record.get(key), kind):
            raise _broken(path, f'expected "{key}" with a {"list" if kind is list else "mapping"}')
        if to_change and (others := record.keys() - {key, *_KEYS}):
            raise _broken(path, f"it has the key {min(others)!r}, which would be lost")
        return record, status


def _broken(path: Path, problem: str) -> DocumentBroken:
    """Return the error to raise for a side file that cannot be read."""
    return DocumentBroken(
        f"{path}: {problem}. Nothing was changed. Fix the file in an editor.", path=str(path), problem=problem
    )
