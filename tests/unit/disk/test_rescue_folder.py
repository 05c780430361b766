"""Rescue files are complete, durable and private."""

import base64
import json
import os
import stat
from pathlib import Path

from localstore.disk import rescue_folder
from tests.unit.watched_disk import WatchedDisk


def test_a_rescue_file_says_what_it_is(tmp_path: Path, disk: WatchedDisk) -> None:
    path = rescue_folder.set_aside(
        str(tmp_path), "sessions/2026-11/s1.json", "s1", "torn", rescue_folder.piece(7, b"half a r\xc3\xbcn")
    )
    assert path.parent == tmp_path / ".localstore" / "rescue"
    assert path.name.startswith("s1.20")
    record = json.loads(path.read_bytes())
    stamp = record.pop("set_aside_at")
    assert record == {
        "session_id": "s1",
        "document": "sessions/2026-11/s1.json",
        "reason": "torn",
        "offset": 7,
        "text": "half a rün",
    }
    assert len(stamp) == len("2026-11-22T07:01:20.123Z")
    assert [call.operation for call in disk.calls][-4:] == ["write", "sync", "replace", "sync_folder"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_bytes_that_are_no_text_are_kept_as_well(tmp_path: Path) -> None:
    path = rescue_folder.set_aside(str(tmp_path), "a.json", "s1", "torn", rescue_folder.piece(0, b"\xff\0"))
    assert base64.b64decode(json.loads(path.read_bytes())["base64"]) == b"\xff\0"


def test_nothing_that_was_set_aside_is_overwritten(tmp_path: Path) -> None:
    paths = {rescue_folder.set_aside(str(tmp_path), "a.json", "s1", "torn", {}) for _ in range(20)}
    assert len(paths) == len(os.listdir(tmp_path / ".localstore" / "rescue")) == 20
