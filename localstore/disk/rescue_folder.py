"""The folder `.localstore/rescue/`: bytes that had to leave a document, and runs that could not be written to one."""

import base64
import contextlib
import os
import re
import stat
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from localstore.disk import durable_files, file_names, filesystem, store_tree, temporary_files
from localstore.disk.id_of_file import id_in_head, id_in_whole
from localstore.disk.store_identity import make_folders
from localstore.models.times import utc_time_of_ns

FOLDER = Path(".localstore") / "rescue"
_MOVED = re.compile(r"(.+)\.(\d{4}-\d\d-\d\dT)(\d\d)(\d\d)(\d\d\.\d{3}Z)\.[0-9a-f]{12}\.(part|copy)\Z", re.DOTALL)
"""The name of a file that was moved here: the name it was to get, or that it had, the time, and 12 digits."""
_REASONS = {"part": "left from a write that was cut off", "copy": "united with the document of its session"}
_WITHIN_MILLISECOND = re.compile(r"\.([0-9a-f]{5})[0-9a-f]{7}\.(?:json|part|copy)\Z")
"""The end of the name of a rescue file: nanoseconds within the millisecond of its time, and random digits. In files of
earlier releases, these digits are random or missing."""
_LONGEST_NAME = 150
"""How many bytes of the name of a document go into the name of a rescue file."""

COMMENTS = "comments that a rewrite cannot keep"
"""The reason for keeping a whole document although all of its entries stay in place."""


def set_aside(root: str, document: str, session_id: str, reason: str, content: dict[str, Any]) -> Path:
    """Write one rescue file and return its path. Raises OSError.

    The file is a JSON object: `session_id`, `document` (path in the store), `reason`, `set_aside_at`, and the content.
    """
    stamp, digits = _next_moment()
    record = {"session_id": session_id, "document": document, "reason": reason, "set_aside_at": stamp, **content}
    folder = Path(root) / FOLDER
    make_folders(root, folder)
    stem = file_names.fit(Path(document).stem, _LONGEST_NAME)
    name = f"{stem}.{stamp.replace(':', '')}.{digits}.json"
    durable_files.write_file(folder / name, [orjson.dumps(record, option=orjson.OPT_INDENT_2), b"\n"])
    return folder / name


def move_aside(root: str, path: str, final_name: str) -> Path:
    """Move a temporary file, which would have been renamed to `final_name`, to the rescue folder. Raises OSError.

    The new name contains `final_name` and the time of the move. The file is renamed, never copied.
    """
    source, target = store_tree.full_path(root, path), _place_for(root, final_name, "part")
    if os.name == "posix" and stat.S_IMODE(filesystem.system.status(source).st_mode) != filesystem.FILE_MODE:
        filesystem.system.set_mode(source, filesystem.FILE_MODE)
    durable_files.move_file(source, str(target))
    return target


def keep_copy(root: str, path: str, status: os.stat_result) -> Path:
    """Move a further document of a session, which has this status, to the rescue folder, unchanged.

    If this is interrupted, the file is in its old place or in the rescue folder. Call `sync_moves` afterwards.

    Raises FileChanged if another program saved or removed it in the meantime, OSError.
    """
    target = _place_for(root, os.path.basename(path), "copy")
    durable_files.move_unchanged(store_tree.full_path(root, path), str(target), status)
    return target


def sync_moves(root: str, folders: Collection[str]) -> None:
    """Make it durable that files were moved from these folders, relative to the root, to the rescue folder."""
    for folder in (FOLDER.as_posix(), *sorted(folders)):
        with contextlib.suppress(FileNotFoundError):  # nothing was moved, or somebody has removed the folder since
            filesystem.sync_folder(store_tree.full_path(root, folder))


def _place_for(root: str, name: str, ending: str) -> Path:
    """Return a new path in the rescue folder, which exists then, for a file of this name."""
    folder = Path(root) / FOLDER
    make_folders(root, folder)
    stamp, digits = _next_moment()
    return folder / f"{file_names.fit(name, _LONGEST_NAME)}.{stamp.replace(':', '')}.{digits}.{ending}"


_last_moment = 0
"""The time of the newest rescue file of this process, in nanoseconds since 1970."""


def _next_moment() -> tuple[str, str]:
    """Return the time for a new rescue file and the 12 digits for its name, which put files of one moment in order.

    The moment is later than that of each rescue file that this process wrote before, even if the clock was set back.
    """
    global _last_moment
    _last_moment = max(time.time_ns(), _last_moment + 1)
    digits = f"{_last_moment % 1_000_000:05x}{int.from_bytes(os.urandom(4)) >> 4:07x}"
    return utc_time_of_ns(_last_moment), digits


@dataclass(frozen=True, slots=True)
class Rescued:
    """Something that was set aside: a file in `.localstore/rescue/`.

    `session_id` is None if it is unknown. `document` is a path in the store or a file name. `set_aside_at` is UTC, ISO
    8601, milliseconds. `path` is the file in the rescue folder, `size` its size in bytes.
    """

    name: str
    session_id: str | None
    document: str
    reason: str
    set_aside_at: str
    size: int
    path: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


def listing(root: str) -> list[Rescued]:
    """Return everything that was set aside, newest first. Raises OSError."""
    found = [one for path in _files(root) if (one := describe(path)) is not None]
    return sorted(found, key=_order, reverse=True)


def _order(one: Rescued) -> tuple[str, str, str]:
    """Return a key by which rescue files are sorted in the order in which they were made."""
    match = _WITHIN_MILLISECOND.search(one.name)
    return one.set_aside_at, match[1] if match else "", one.name


def describe(path: str) -> Rescued | None:
    """Return what is known of a file in the rescue folder, or None if it is gone or not a file. Raises OSError."""
    try:
        status = filesystem.system.status(path)
        if not stat.S_ISREG(status.st_mode):
            return None
        record = read_record(path)
        if record is None:
            return _described_by_name(path, status)
    except FileNotFoundError:
        return None
    texts = {key: str(record.get(key, "")) for key in ("document", "reason", "set_aside_at")}
    return Rescued(os.path.basename(path), str(record["session_id"]), **texts, size=status.st_size, path=path)


def read_record(path: str) -> dict[str, Any] | None:
    """Return the content of a rescue file that is a JSON object, or None for any other file. Raises OSError."""
    if not path.endswith(".json"):
        return None
    try:
        record = orjson.loads(filesystem.read_file(path))
    except orjson.JSONDecodeError:
        return None
    is_ours = isinstance(record, dict) and {"session_id", "set_aside_at"} <= record.keys()
    return record if is_ours else None


def _described_by_name(path: str, status: os.stat_result) -> Rescued:
    name = os.path.basename(path)
    match = _MOVED.match(name)
    if match is None:
        return Rescued(
            name, None, "", "not set aside by localstore", utc_time_of_ns(status.st_mtime_ns), status.st_size, path
        )
    document, day, hours, minutes, seconds, ending = match.groups()
    session_id = id_in_head(path, document) or (id_in_whole(path, document) if ending == "copy" else None)
    stamp = f"{day}{hours}:{minutes}:{seconds}"
    return Rescued(name, session_id, document, _REASONS[ending], stamp, status.st_size, path)


def forget(root: str, session_ids: Collection[str]) -> None:
    """Remove the rescue files of sessions that are deleted for good. Raises OSError."""
    stems = {file_names.stem(session_id) for session_id in session_ids}
    for path in _files(root):
        one = describe(path)
        if one is None or not one.document:
            continue  # of unknown origin
        is_named = one.session_id is None and os.path.splitext(one.document)[0] in stems
        if one.session_id in session_ids or is_named:
            with contextlib.suppress(FileNotFoundError):
                filesystem.system.unlink(path)


def _files(root: str) -> Iterator[str]:
    """Yield the paths of all files in the folder, except temporary ones, which a process may be writing."""
    try:
        for entry in filesystem.system.entries(str(Path(root) / FOLDER)):
            if entry.is_file(follow_symlinks=False) and not temporary_files.final_name(entry.name):
                yield entry.path
    except FileNotFoundError:
        return


def piece(offset: int, data: bytes) -> dict[str, Any]:
    """Return the content of a rescue file for bytes that were at `offset` in a document, as `text` or `base64`."""
    try:
        return {"offset": offset, "text": data.decode()}
    except UnicodeDecodeError:
        return {"offset": offset, "base64": base64.b64encode(data).decode()}
