"""Small JSON files beside the sessions: user memories of agno 2.x and 3.x, and the versions of agno's tables.

`memories/<user>.json` holds the memories of one user, `agno.json` the schema versions. Each change takes a lock and
replaces the whole file.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from localstore.disk import durable_files, file_names, filesystem
from localstore.engine.engine import Engine
from localstore.errors import DocumentBroken
from localstore.format.values import to_json_value

NOBODY = "_nobody"
"""The file name for memories without a user. No user id has this file name."""


class SideFiles:
    """Reads and changes these files. Methods raise DocumentBroken, LockTimeout, UnstorableValue and OSError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._folder = Path(engine.root, "memories")

    def users(self) -> list[str | None]:
        """Return the users that have memories; None stands for memories without a user."""
        return [record.get("user_id") for record in map(self._read, self._paths())]

    def memories(self, user_id: str | None = None) -> list[dict[str, Any]]:
        """Return the memories of one user, or of all users."""
        paths = self._paths() if user_id is None else [self._path(user_id)]
        return [memory for path in paths for memory in self._read(path)["memories"]]

    def change(self, user_id: str | None, work: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
        """Replace the memories of a user by what `work` returns for them. None: the memories without a user."""
        path = self._path(user_id)
        with self._engine.locked(f"memories/{path.name}"):
            before = self._read(path)
            after = to_json_value(work(list(before["memories"])), "memory")
            if after != before["memories"]:
                filesystem.make_folders(self._folder)
                head = {"schema_version": 1} | ({} if user_id is None else {"user_id": user_id})
                self._write(path, {**head, **before, "memories": after})

    def clear(self) -> None:
        """Delete all memories of all users."""
        for path in self._paths():
            with self._engine.locked(f"memories/{path.name}"):
                self._read(path)  # raises for a broken file, which stays
                durable_files.remove_file(path)

    def schema_version(self, table: str) -> str | None:
        """Return the version of one of agno's tables, or None if none is stored."""
        versions = self._load(Path(self._engine.root, "agno.json"), "schema_versions", dict)
        version = versions["schema_versions"].get(table)
        return version if isinstance(version, str) else None

    def set_schema_version(self, table: str, version: str) -> None:
        """Store the version of one of agno's tables."""
        path = Path(self._engine.root, "agno.json")
        with self._engine.locked("agno.json"):
            record = self._load(path, "schema_versions", dict)
            record["schema_versions"] = record["schema_versions"] | {table: version}
            self._write(path, to_json_value(record))

    def _paths(self) -> list[Path]:
        try:
            with os.scandir(self._folder) as entries:
                names = [
                    e.name for e in entries if e.name.endswith(".json") and e.name[0] != "." and not e.is_symlink()
                ]
        except FileNotFoundError:
            return []
        return [self._folder / name for name in sorted(names)]

    def _path(self, user_id: str | None) -> Path:
        return self._folder / f"{NOBODY if user_id is None else file_names.stem(user_id)}.json"

    def _read(self, path: Path) -> dict[str, Any]:
        record = self._load(path, "memories", list)
        if not all(isinstance(memory, dict) for memory in record["memories"]):
            raise _broken(path, "memories contains something that is not a mapping")
        return record

    @staticmethod
    def _load(path: Path, key: str, kind: type) -> dict[str, Any]:
        """Return the content of a file; that of an empty one if it is missing. Raises DocumentBroken."""
        try:
            raw = filesystem.read_file(str(path))
        except FileNotFoundError:
            return {key: kind()}
        try:
            record = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise _broken(path, str(error)) from None
        if not isinstance(record, dict) or not isinstance(record.get(key), kind):
            raise _broken(path, f'expected "{key}" with a {"list" if kind is list else "mapping"}')
        return record

    @staticmethod
    def _write(path: Path, record: dict[str, Any]) -> None:
        durable_files.write_file(path, [orjson.dumps(record, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)])


def _broken(path: Path, problem: str) -> DocumentBroken:
    return DocumentBroken(
        f"{path}: {problem}. Nothing was changed. Fix the file in an editor.", path=str(path), problem=problem
    )
