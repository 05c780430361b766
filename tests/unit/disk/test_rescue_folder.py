"""Rescue files are complete, durable and private."""

import base64
import json
import os
import stat
from pathlib import Path

import pytest

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


def test_what_was_set_aside_in_one_moment_is_listed_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of one millisecond were listed, and their runs put back, in a random order."""
    moment = 1_795_331_432_123_999_990
    monkeypatch.setattr("localstore.disk.rescue_folder.time.time_ns", lambda: moment)
    monkeypatch.setattr(rescue_folder, "_last_moment", 0)
    names = []
    for number in range(40):
        if number % 4:
            document = f"sessions/2026-11/s{number * 7 % 5}.json"
            names.append(rescue_folder.set_aside(str(tmp_path), document, "s1", "a test", {"number": number}).name)
        else:
            (tmp_path / "left").write_bytes(b"x")
            names.append(rescue_folder.move_aside(str(tmp_path), "left", f"s{number * 7 % 5}.json").name)
        if number == 20:
            moment -= 10**9  # the clock was set back
    listed = rescue_folder.listing(str(tmp_path))
    assert [one.name for one in reversed(listed)] == names
    assert {one.set_aside_at for one in listed} == {"2026-11-22T07:10:32.123Z", "2026-11-22T07:10:32.124Z"}


def test_files_of_earlier_releases_are_listed(tmp_path: Path) -> None:
    """Their names have six random digits, or twelve."""
    path = rescue_folder.set_aside(str(tmp_path), "sessions/2026-11/s1.json", "s1", "a test", {})
    (old := path.with_name("s1.2026-11-22T070120.123Z.0a1b2c.json")).write_bytes(
        path.read_bytes().replace(json.loads(path.read_bytes())["set_aside_at"].encode(), b"2026-11-22T07:01:20.123Z")
    )
    (part := path.with_name("s1.json.2026-11-22T070120.124Z.0a1b2c3d4e5f.part")).write_bytes(b"x")
    listed = {one.name: one.set_aside_at for one in rescue_folder.listing(str(tmp_path))}
    assert listed.pop(path.name)
    assert listed == {old.name: "2026-11-22T07:01:20.123Z", part.name: "2026-11-22T07:01:20.124Z"}
