"""A storage of Strands Agents, which keeps snapshots and other values by their keys."""

from __future__ import annotations

import base64
import builtins
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from strands.storage import Storage
from strands.types.exceptions import StorageError

from localstore.errors import LocalstoreError, SessionNotFound, UnstorableValue
from localstore.format.values import to_json_value
from localstore.models.joined_names import escaped_name
from localstore.storage.items import Item
from localstore.storage.threads import run_in_thread

if TYPE_CHECKING:
    from localstore.storage.contract import SessionStorage

SOURCE = "strands"
"""The `source` of the items."""
Result = TypeVar("Result")


class LocalStorage(Storage):  # type: ignore[misc] # Strands may be absent
    """A storage for Strands Agents, such as for `SnapshotSessionManager`, in any storage of localstore.

        agent = Agent(storage=LocalStorage(JsonStorage("tmp/sessions")), session_manager=SnapshotSessionManager("trip"))

    Each key is a sub-session of the session `session_id`, with its value: as JSON or text where it is some, so that it
    can be read and searched, otherwise in base64. The bytes come back unchanged. A value replaces the one before in one
    write, which is finished even if its task is cancelled. Keys may be any text but "".

    Raises StorageError, whose cause is the error of localstore or the operating system.
    """

    def __init__(
        self, storage: SessionStorage, session_id: str = "strands-storage", *, user_id: str | None = None
    ) -> None:
        """Keep the values in `storage`, as parts of the session `session_id`, which belongs to `user_id`."""
        self.storage = storage
        self.session_id = session_id
        self._prefix = f"{escaped_name(session_id)}/"
        self._user_id = user_id

    def __repr__(self) -> str:
        return f"LocalStorage({self.storage!r}, {self.session_id!r})"

    async def write(self, key: str, data: bytes) -> None:
        """Store a value under a key, in the place of the one that it has."""
        await self._call(self._write, key, data)

    async def read(self, key: str) -> bytes | None:
        """Return the value of a key, or None if it has none."""
        return await self._call(self._read, key, reads=True)

    async def delete(self, key: str) -> None:
        """Delete a key permanently, if it exists."""
        await self._call(lambda: self.storage.delete_session(self._name(key), user_id=self._user_id))

    async def list(self, query: str = "") -> builtins.list[str]:
        """Return the keys that begin with a text, sorted."""
        return await self._call(self._list, query, reads=True)

    def _name(self, key: str) -> str:
        if not key:
            raise StorageError("Storage key must not be empty")
        return f"{self._prefix}{key}"

    def _write(self, key: str, data: bytes) -> None:
        name, item = self._name(key), Item({"key": key, **_readable(bytes(memoryview(data)))}, SOURCE)
        try:
            self.storage.replace_items(name, [item], user_id=self._user_id, source=SOURCE)
        except SessionNotFound:
            whole = Item({"storage": self.session_id}, SOURCE, "storage")
            self.storage.append_items(self.session_id, [whole], user_id=self._user_id)
            self.storage.append_items(name, [item], user_id=self._user_id, part_of=self.session_id)

    def _read(self, key: str) -> bytes | None:
        items = self.storage.items(self._name(key), 1, user_id=self._user_id, source=SOURCE)
        return _bytes(items[-1].data) if items and items[-1].data.get("key") == key else None

    def _list(self, beginning: str) -> builtins.list[str]:
        names = (info.session_id for info in self.storage.sub_sessions(self.session_id, user_id=self._user_id))
        return sorted(name[len(self._prefix) :] for name in names if name.startswith(self._prefix + beginning))

    async def _call(self, function: Callable[..., Result], *args: Any, reads: bool = False) -> Result:
        try:
            return await run_in_thread(function, *args, abandon=reads)
        except (LocalstoreError, OSError) as error:
            raise StorageError(str(error)) from error


def _readable(data: bytes) -> dict[str, Any]:
    """Return a value as JSON if it is written as Python writes JSON, else as text, else in base64."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}
    try:
        value = json.loads(text)
        if _written(to_json_value(value, "value")) == text:
            return {"json": value}
    except (ValueError, UnstorableValue, RecursionError):
        pass
    return {"text": text}


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _bytes(data: dict[str, Any]) -> bytes:
    if "base64" in data:
        return base64.b64decode(data["base64"])
    text: str = _written(data["json"]) if "json" in data else data["text"]
    return text.encode()
