"""The storages that the contract holds for. A new one joins by one line in `STORAGES`."""

from collections.abc import Callable
from pathlib import Path

from localstore import JsonStorage, SessionStorage, YamlStorage

Factory = Callable[[Path], SessionStorage]
"""Opens the storage in a folder that belongs to one test. Opened again, it is another handle on the same sessions."""

STORAGES: dict[str, Factory] = {
    "json": JsonStorage,
    "yaml": YamlStorage,
}
