"""Read and write small JSON files in the folder of a store: user memories of agno 2.x and 3.x, and schema versions.

`memories/<user>.json` holds the memories of one user, and `agno.json` the versions of agno's tables. Each change
acquires a lock and replaces the whole file.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from localstore.disk import durable_files, file_names, filesystem
from localstore.disk.durable_files import FileChanged
from localstore.disk.store_identity import make_folders
from localstore.engine.engine import Engine
from localstore.errors import DocumentBroken
from localstore.format.json_layout import LAYOUT as JSON
from localstore.format.parse_error import ParseError
from localstore.format.values import to_json_value

_ATTEMPTS = 5
"""The most attempts at one change. Each one that meets a save by another program is repeated."""

NOBODY = "_nobody"
"""The file name, without suffix, for memories without a user. No user id is converted to this name."""


class SideFiles:
    """Reads and updates the side files: the memories that agno's memory manager keeps, and the schema versions.

    Methods may raise DocumentBroken if a file cannot be parsed, and OSError. Methods that write may also raise
    LockTimeout, and UnstorableValue for a value that JSON cannot hold.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._folder = Path(engine.root, "memories")

    def users(self) -> list[str | None]:
        """Return the ids of the users that have a memory file. None represents the memories without a user."""
        return [record.get("user_id") for record in map(self._read, self._paths())]

    def memories(self, user_id: str | None = None) -> list[dict[str, Any]]:
        """Return the memories of one user, or of all users if `user_id` is None; an empty list if there are none."""
        paths = self._paths() if user_id is None else [self._path(user_id)]
        return [memory for path in paths for memory in self._read(path)["memories"]]

    def change(self, user_id: str | None, work: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
        """Replace the memories of a user with the result of `work`, which receives the present ones.

        None as `user_id` selects the memories without a user. `work` runs under the lock of the file, which is not
        written if the result is equal. It runs again, with what is there by then, if a person saves the file meanwhile.
        """
        path = self._path(user_id)
        head = {"schema_version": 1} | ({} if user_id is None else {"user_id": user_id})
        for attempt in self._attempts(path, f"memories/{path.name}"):
            with attempt:
                before, status = self._load_memories(path, to_change=True)
                after = to_json_value(work(list(before["memories"])), "memory")
                if after != before["memories"]:
                    make_folders(self._engine.root, self._folder)
                    self._write(path, {**head, **before, "memories": after}, status)

    def clear(self) -> None:
        """Delete all memories of all users."""
        for path in self._paths():
            for attempt in self._attempts(path, f"memories/{path.name}"):
                with attempt:
                    _, status = self._load_memories(path)  # raises for a broken file, so that it is not deleted
                    if status is not None:
                        durable_files.remove_unchanged(str(path), status)

    def schema_version(self, table: str) -> str | None:
        """Return the stored version of one of agno's tables, or None if no version is stored for it."""
        versions, _ = self._load(Path(self._engine.root, "agno.json"), "schema_versions", dict)
        version = versions["schema_versions"].get(table)
        return version if isinstance(version, str) else None

    def set_schema_version(self, table: str, version: str) -> None:
        """Store the version of one of agno's tables. Replaces an earlier version."""
        path = Path(self._engine.root, "agno.json")
        for attempt in self._attempts(path, "agno.json"):
            with attempt:
                record, status = self._load(path, "schema_versions", dict, to_change=True)
                record["schema_versions"] = record["schema_versions"] | {table: version}
                self._write(path, to_json_value(record), status)

    def _attempts(self, path: Path, lock: str) -> Iterator["_Attempt"]:
        """Yield attempts at a change of a file, until one ends without meeting another program's save.

        Raises DocumentBroken if none does.
        """
        for _ in range(_ATTEMPTS):
            attempt = _Attempt(self._engine, lock)
            yield attempt
            if attempt.is_done:
                return
        raise _broken(path, "keeps being changed by another program")

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

    def _read(self, path: Path) -> dict[str, Any]:
        return self._load_memories(path)[0]

    def _load_memories(self, path: Path, *, to_change: bool = False) -> tuple[dict[str, Any], os.stat_result | None]:
        record, status = self._load(path, "memories", list, to_change=to_change)
        if not all(isinstance(memory, dict) for memory in record["memories"]):
            raise _broken(path, "memories contains something that is not a mapping")
        return record, status

    def _load(
        self, path: Path, key: str, kind: type, *, to_change: bool = False
    ) -> tuple[dict[str, Any], os.stat_result | None]:
        """Return the content and the status of a file.

        If the file is missing, return a mapping with an empty `kind` under `key`, and None.
        Raises DocumentBroken if it cannot be parsed or has no value of type `kind` under `key`; with `to_change`, also
        if writing it again would drop a repeated key or round a number.
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
        return record, status

    @staticmethod
    def _write(path: Path, record: dict[str, Any], old: os.stat_result | None) -> None:
        """Write a file in place of the one with the status `old`, or a new one if that is None. Raises FileChanged."""
        parts = [orjson.dumps(record, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)]
        if old is not None:
            durable_files.replace_file(str(path), parts, old)
            return
        try:
            durable_files.create_file(path, parts)
        except FileExistsError:
            raise FileChanged(str(path)) from None


class _Attempt:
    """One attempt at a change, as a context manager: it holds the lock, and suppresses FileChanged."""

    def __init__(self, engine: Engine, lock: str) -> None:
        self._lock = engine.locked(lock)
        self.is_done = False

    def __enter__(self) -> None:
        self._lock.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        self._lock.__exit__(None, None, None)
        self.is_done = not isinstance(error, FileChanged)
        return not self.is_done


def _broken(path: Path, problem: str) -> DocumentBroken:
    """Return the error to raise for a side file that cannot be read."""
    return DocumentBroken(
        f"{path}: {problem}. Nothing was changed. Fix the file in an editor.", path=str(path), problem=problem
    )
