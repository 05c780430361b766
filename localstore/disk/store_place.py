"""The id of a store, and the place where its folder was made. A copy of a whole folder can tell that it is one."""

import contextlib
import json
import os
import secrets
from dataclasses import dataclass
from typing import Any

from localstore.disk import durable_files, filesystem
from localstore.disk.store_identity import MARKER

_FOLDER = ".localstore"
PLACE = f"{_FOLDER}/place.json"
"""The file that says where the store was when its machine-local folder was made."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the folder of a store was copied from."""

    path: str
    """The path of the store that was copied."""
    is_there: bool
    """Whether that store is still there. Otherwise it may have been moved here, from another disk or machine."""


def new_id() -> dict[str, str]:
    """Return the key of a new store's marker that has its id: 32 random hexadecimal digits."""
    return {"store_id": secrets.token_hex(16)}


def recorded_id(root: str) -> dict[str, str]:
    """Return this key as it was when the place of a store was recorded, or nothing if that is not known."""
    value = _read(f"{root}/{PLACE}").get("store_id")
    return {"store_id": value} if isinstance(value, str) else {}


def id_of(root: str) -> str | None:
    """Return the id of the store at `root`, or None if it has none, as a store of an earlier release."""
    value = _read(f"{root}/{MARKER}").get("store_id")
    return value if isinstance(value, str) else None


def record(root: str) -> None:
    """Record that the store is at `root`, durably. A store without an id records nothing. Raises OSError."""
    folder, store_id = filesystem.status_or_none(f"{root}/{_FOLDER}"), id_of(root)
    if folder is not None and store_id is not None:
        place = {"store_id": store_id, "path": root, "folder": [folder.st_dev, folder.st_ino]}
        durable_files.write_file(f"{root}/{PLACE}", [json.dumps(place).encode(), b"\n"], sync_name=False)


def record_first(root: str) -> None:
    """Record that the store is at `root` if no place is recorded yet and the disk allows it."""
    with contextlib.suppress(OSError):
        if not filesystem.exists(f"{root}/{PLACE}"):
            record(root)


def origin_of(root: str) -> Origin | None:
    """Return where the store at `root` was copied from. Return None if it was not copied, or if that is not known.

    A store that was renamed is no copy. Nor is one that was put back in its place from a backup. A copy without
    `.localstore/`, such as a clone by git, does not know where it comes from.
    """
    place, store_id = _read(f"{root}/{PLACE}"), id_of(root)
    path = place.get("path")
    if store_id is None or place.get("store_id") != store_id or not isinstance(path, str) or path == root:
        return None
    folder = filesystem.status_or_none(f"{root}/{_FOLDER}")
    if folder is None or place.get("folder") == [folder.st_dev, folder.st_ino]:
        return None
    return Origin(path, id_of(path) == store_id and not _is_same(path, root))


def _is_same(first: str, second: str) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samefile(first, second)
    return False


def _read(path: str) -> dict[str, Any]:
    """Return the JSON object in a file, or an empty one if there is none that can be read."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        value = json.loads(filesystem.read_file(path))
        if isinstance(value, dict):
            return value
    return {}
