"""What could not stay in a document or could not get into it: kept in `.localstore/rescue/`, durably, never dropped."""

import base64
import contextlib
import os
import time
from collections.abc import Container
from pathlib import Path
from typing import Any

import orjson

from localstore.files import atomic

FOLDER = Path(".localstore") / "rescue"
_YOUNG = 60
"""Seconds for which a temporary file may belong to a writer at work."""


def is_old(status: os.stat_result) -> bool:
    """Whether a temporary file is surely not one that somebody is writing."""
    return time.time() - status.st_mtime > _YOUNG


def set_aside(root: str, document: str, session_id: str, reason: str, content: dict[str, Any]) -> Path:
    """Write one rescue file and return its path. Raises OSError.

    The file is a JSON object: `session_id`, `document` (path in the store), `reason`, `set_aside_at`, and the content.
    """
    moment = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment * 1000) % 1000:03d}Z"
    record = {"session_id": session_id, "document": document, "reason": reason, "set_aside_at": stamp, **content}
    folder = Path(root) / FOLDER
    atomic.make_folders(folder)
    name = f"{Path(document).stem}.{stamp.replace(':', '')}.{os.urandom(3).hex()}.json"
    atomic.write_file(folder / name, [orjson.dumps(record, option=orjson.OPT_INDENT_2), b"\n"])
    return folder / name


def forget(root: str, session_ids: Container[str]) -> None:
    """Remove what was set aside of sessions that are deleted for good. Raises OSError."""
    try:
        with os.scandir(Path(root) / FOLDER) as entries:
            paths = [entry.path for entry in entries if entry.is_file(follow_symlinks=False)]
    except FileNotFoundError:
        return
    for path in paths:
        try:
            record = orjson.loads(Path(path).read_bytes())
        except (FileNotFoundError, orjson.JSONDecodeError):
            continue  # not one of ours
        if isinstance(record, dict) and record.get("session_id") in session_ids and "set_aside_at" in record:
            with contextlib.suppress(FileNotFoundError):
                atomic.system.unlink(path)


def piece(offset: int, data: bytes) -> dict[str, Any]:
    """The content of a rescue file for bytes that stood at `offset` in a document: `text`, or `base64`."""
    try:
        return {"offset": offset, "text": data.decode()}
    except UnicodeDecodeError:
        return {"offset": offset, "base64": base64.b64encode(data).decode()}
