"""The public classes `Storage`, `JsonStorage` and `YamlStorage`: an open store in a folder."""

from typing import Any, Literal

from localstore.storage.housekeeping import StorageHousekeeping


class Storage(StorageHousekeeping):
    """A store that keeps each session as a document in a directory tree. Use `JsonStorage` or `YamlStorage`.

    Many threads and processes on one machine may use a store at the same time, also after a fork. With
    `durability="full"`, a method that writes returns once the change is on the disk. With "relaxed", the change
    survives a crash of the process, but not of the machine: a power cut may lose what was written since the last sync,
    a new session included.

    Methods may raise LockTimeout if another thread or process holds a lock for longer than `lock_timeout` seconds;
    DocumentBroken, NewerFormat or OlderFormat if a document cannot be read or must not be written; and OSError if the
    operating system refuses. In each case but OSError, nothing is written. An OSError may also come after the change
    took effect, if the last sync fails. Repeat the call to make sure: no run is stored twice, and a state that is
    updated again is recorded again with the same values.

    Each method has a twin for async code, with an "a" before its name: `await storage.aread("trip")`. In a `with`
    statement, a storage closes its files at the end.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path and the options, so that another process can open the same store."""
        return _open, (type(self), str(self.root), self._engine.durable, self._engine.timeout, self._engine.upgrades)


class JsonStorage(Storage):
    """A store that creates new sessions as JSON documents. Existing documents, JSON or YAML, keep their format."""

    _suffix = ".json"


class YamlStorage(Storage):
    """A store that creates new sessions as YAML documents. Existing documents, JSON or YAML, keep their format."""

    _suffix = ".yaml"


def _open(kind: type[Storage], root: str, durable: bool, timeout: float, upgrades: bool) -> Storage:
    durability: Literal["full", "relaxed"] = "full" if durable else "relaxed"
    return kind(root, durability=durability, lock_timeout=timeout, create=False, auto_upgrade_schema=upgrades)
