"""The manifest lies in every way that we could think of: the answers are those of a fresh rebuild all the same.

Another lie joins by one line in `LIES`.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localstore import JsonStorage, Message, Run, YamlStorage
from localstore.index import manifest_reader, manifest_writer
from tests import oracle
from tests.crash.answers import answers, fill, rebuilt, run_of
from tests.crash.faults import UnsyncedSystem, installed
from tests.crash.writer import STORAGES
from tests.effort import sampled
from tests.stateful import by_hand

Storage = JsonStorage | YamlStorage
each_format = pytest.mark.parametrize("suffix", sorted(STORAGES))


# The lies: each gets the manifest as it is and as it was, and gives other bytes, or None for no file


def _each_line(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes, bytes], bytes]:
    def lie(now: bytes, _: bytes) -> bytes:
        lines = []
        for line in now.splitlines():
            value = json.loads(line)
            change(value)
            lines.append(json.dumps(value).encode() + b"\n")
        return b"".join(lines)

    return lie


def _of_another_machine(line: dict[str, Any]) -> None:
    if "fingerprint" in line:
        line |= {"fingerprint": [1, 2, 3, 4], "boot": "elsewhere", "updated_at": "2020-01-01T00:00:00.000Z"}


def _with_other_places(line: dict[str, Any]) -> None:
    if "fingerprint" in line:
        line |= {
            "fingerprint": [1, 2, 3, 4],
            "offsets": {"session_state": 7},
            "unfinished_offsets": {"r1": 7},
            "entries": 99,
        }


def _of_other_users(line: dict[str, Any]) -> None:
    if "fingerprint" in line:
        line |= {"fingerprint": [1, 2, 3, 4], "user_id": "nobody", "kind": "workflow", "name": "nonsense"}


def _with_paths_exchanged(now: bytes, _: bytes) -> bytes:
    first, second = re.findall(rb'"path":"([^"]+)"', now)[:2]
    return now.replace(first, b"@").replace(second, first).replace(b"@", second)


def _says_all_are_deleted(now: bytes, _: bytes) -> bytes:
    return now + b"".join(b'{"session_id": "s%d", "deleted": true}\n' % number for number in range(12))


def _names_what_is_not_there(now: bytes, _: bytes) -> bytes:
    line = next(line for line in now.splitlines() if b'"s5"' in line)
    return now + line.replace(b"s5", b"ghost") + b"\n" + line.replace(b"2026-11", b"2020-01") + b"\n"


def _leads_out(now: bytes, _: bytes) -> bytes:
    line = next(line for line in now.splitlines() if b'"s5"' in line)
    outside = (b"../../etc/passwd.json", b"/etc/passwd.json", b"sessions/../../x.json", b"sessions/a/../../x.json")
    return now + b"".join(re.sub(rb'"path":"[^"]+"', b'"path":"%s"' % path, line) + b"\n" for path in outside)


def _garbage(size: int) -> bytes:
    return random.Random(7).randbytes(size)


LIES: dict[str, Callable[[bytes, bytes], bytes | None]] = {
    "deleted": lambda now, older: None,
    "empty": lambda now, older: b"",
    "cut in half": lambda now, older: now[: len(now) // 2],
    "cut in its last line": lambda now, older: now[:-9],
    "only its first line": lambda now, older: now[: now.index(b"\n") + 1],
    "without its first line": lambda now, older: now[now.index(b"\n") + 1 :],
    "garbage": lambda now, older: _garbage(5000),
    "garbage of the same size": lambda now, older: _garbage(len(now)),
    "garbage behind it": lambda now, older: now + _garbage(100),
    "lines of garbage in between": lambda now, older: now.replace(b"\n", b"\n\xff{}[]\n"),
    "zeros in the middle": lambda now, older: now[:900] + bytes(2000) + now[2900:],
    "zeros at the end": lambda now, older: now + bytes(4096),
    "other JSON": lambda now, older: b"[1, 2]\nnull\n{}\n" * 20,
    "lines backwards": lambda now, older: b"\n".join(now.splitlines()[::-1]) + b"\n",
    "an older copy": lambda now, older: older,
    "an older copy and what came later": lambda now, older: now + older,
    "of another machine": _each_line(_of_another_machine),
    "other places in the documents": _each_line(_with_other_places),
    "other users": _each_line(_of_other_users),
    "paths exchanged": _with_paths_exchanged,
    "everything deleted": _says_all_are_deleted,
    "sessions that are not there": _names_what_is_not_there,
    "paths out of the store": _leads_out,
}


@each_format
@pytest.mark.parametrize(
    ("lie", "saved"),
    [
        (lie, saved)
        for number, lie in enumerate(LIES)
        for saved in sampled(("in place", "by rename")[:: -1 if number % 2 else 1], 2, 2)
    ],
)
def test_whatever_the_manifest_says_the_answers_are_those_of_a_rebuild(
    lie: str, saved: str, suffix: str, tmp_path: Path
) -> None:
    root = tmp_path / "store"
    with installed(UnsyncedSystem()):
        writer, follower = STORAGES[suffix](root, durability="relaxed"), STORAGES[suffix](root)
        older = fill(writer)
        follower.list_sessions()
        expected = rebuilt(root, tmp_path / "copy")
        path = root / ".localstore/manifest.jsonl"
        told = LIES[lie](path.read_bytes(), older)
        if told is None:
            path.unlink()
        elif saved == "in place":
            path.write_bytes(told)
        else:
            by_hand.write_by_rename(path, told)
        documents = {one: one.read_bytes() for one in oracle.document_paths(root)}
        assert answers(STORAGES[suffix](root)) == expected, "a new process"
        assert answers(follower) == expected, "one that followed the manifest"
        assert answers(writer) == expected, "one that wrote it"
        assert {one: one.read_bytes() for one in oracle.document_paths(root)} == documents
        for number, storage in enumerate((follower, writer, STORAGES[suffix](root))):
            for session_id in ("s0", "s1", "s4", "s11"):
                storage.append(session_id, run_of(f"next{number}", 55 + number))
        storage.append("s1", run_of("asked", 49, error="too late", status="error"))
        assert answers(follower) == rebuilt(root, tmp_path / "second copy")
        assert oracle.sessions(root)["s1"].run_ids == ["r1", "asked", "after", "next0", "next1", "next2"]
        oracle.assert_sound(root)


@each_format
@pytest.mark.parametrize("how", ["compacted", "deleted and made anew", "dropped", "replaced twice"])
def test_a_follower_whose_manifest_is_replaced_under_it_goes_on_with_the_new_one(
    how: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "store"
    with installed(UnsyncedSystem()):
        writer, follower = STORAGES[suffix](root), STORAGES[suffix](root)
        fill(writer)
        before = answers(follower)
        monkeypatch.setattr(manifest_reader, "_LONG", 0)
        monkeypatch.setattr(manifest_writer, "_SPARE_LINES", -1000 if how in ("compacted", "replaced twice") else 1000)
        if how == "deleted and made anew":
            (root / ".localstore/manifest.jsonl").unlink()
        if how == "dropped":
            writer.drop()
        first = oracle.manifest_lines(root)[:1]
        writer.append("s5", run_of("next", 56))
        if how == "replaced twice":
            writer.append("s6", run_of("next", 57))
        assert oracle.manifest_lines(root)[:1] != first or how == "dropped"
        now = answers(follower)
        assert now != before
        assert now == rebuilt(root, tmp_path / "copy")


@each_format
def test_a_clock_that_was_set_back_hides_nothing(suffix: str, tmp_path: Path) -> None:
    """All that is there seems to be from tomorrow: folders, documents, and the newest entries."""
    root = tmp_path / "store"
    storage = STORAGES[suffix](root)
    fill(storage)
    answers(storage)
    tomorrow = time.time_ns() + 86_400 * 10**9
    for path in (*root.rglob("*"), root):
        os.utime(path, ns=(tomorrow, tomorrow))
    assert answers(storage) == answers(STORAGES[suffix](root))
    storage.append("s7", Run(created_at="1999-01-01T00:00:00.000Z", messages=[Message(role="user", content="x")]))
    storage.append("new", run_of("r", 1))
    source = storage.path("s8")
    by_hand.write_in_place(source, source.read_bytes().replace(b"r8", b"R8"))
    copy = source.with_name(f"by-hand{suffix}")
    copy.write_bytes(by_hand.rename_session(source.read_bytes(), suffix, "by-hand"))
    found = answers(storage)
    assert {"new", "by-hand"} <= {row["session_id"] for row in found["None None None None"]}
    assert found["s8 None"]["history"][0]["run_id"] == "R8"
    assert found == answers(STORAGES[suffix](root)) == rebuilt(root, tmp_path / "copy")


class _WholeSeconds(UnsyncedSystem):
    """A file system that keeps times in whole seconds, as FAT, HFS+ and some network drives do."""

    def status(self, path: str) -> os.stat_result:
        return self._coarse(super().status(path))

    def status_of(self, fd: int) -> os.stat_result:
        return self._coarse(super().status_of(fd))

    def _coarse(self, status: os.stat_result) -> os.stat_result:
        def second(moment: int) -> int:
            return moment // 10**9 * 10**9

        times = {"st_mtime_ns": second(status.st_mtime_ns), "st_ctime_ns": second(status.st_ctime_ns)}
        return os.stat_result(tuple(status), times)


def _edit_in_the_same_second(
    storage: Storage, session_id: str, old: bytes, new: bytes, write: Callable[[], None]
) -> None:
    """A write of ours and an edit in place that keeps the size, both in one second."""
    while True:
        while time.time() % 1 > 0.5:
            time.sleep(0.01)
        write()
        path = storage.path(session_id)
        ours = path.stat()
        raw = path.read_bytes()
        assert old in raw
        assert len(old) == len(new)
        path.write_bytes(raw.replace(old, new))
        theirs = path.stat()
        if int(theirs.st_mtime) == int(ours.st_mtime):
            assert theirs.st_size == ours.st_size
            assert theirs.st_ino == ours.st_ino
            return
        path.write_bytes(raw)


@each_format
@pytest.mark.parametrize("asked_by", ["the writer", "a follower", "a new process"])
@pytest.mark.parametrize(
    "question", sampled(["list", "list the user's", "read the last run", "list the newest", "read"], 2)
)
def test_an_edit_in_the_same_second_is_not_hidden_for_ever(
    question: str, asked_by: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size, times and inode stayed the same, so that the edit was never looked at."""
    with installed(_WholeSeconds()):
        storage, follower = STORAGES[suffix](tmp_path), STORAGES[suffix](tmp_path)
        storage.append("other", run_of("o", 30), user_id="bobby")
        storage.append("s", run_of("first", 10), user_id="alice")
        follower.list_sessions()
        _edit_in_the_same_second(
            storage, "s", b"alice", b"bobby", lambda: storage.append("s", run_of(os.urandom(4).hex(), 40))
        )
        follower.list_sessions()
        later = time.time_ns() + 10 * 10**9
        monkeypatch.setattr(time, "time_ns", lambda: later)
        asker = {"the writer": storage, "a follower": follower}.get(asked_by) or STORAGES[suffix](tmp_path)

        def answer() -> bool:
            if question == "list":
                return {info.user_id for info in asker.list_sessions()} == {"bobby"}
            if question == "list the user's":
                return len(asker.list_sessions(user_id="bobby")) == 2
            if question == "list the newest":
                return [info.session_id for info in asker.list_sessions(user_id="bobby", limit=1)] == ["s"]
            return (
                asker.read("s", user_id="bobby", last_runs=1 if question == "read the last run" else None) is not None
            )

        deadline = time.monotonic() + 60
        while not answer():
            assert time.monotonic() < deadline, "hidden for ever"
        assert answer()


@each_format
def test_whole_seconds_cost_no_whole_reading_while_they_last(suffix: str, tmp_path: Path) -> None:
    """A burst of appends on such a file system costs the entries, not the session each time."""

    class Counting(_WholeSeconds):
        wanted = 0

        def read(self, fd: int, size: int, offset: int) -> bytes:
            self.wanted += size
            return super().read(fd, size, offset)

    with installed(system := Counting()):
        storage = STORAGES[suffix](tmp_path)
        storage.append("s", Run(messages=[Message(role="user", content="x" * 500_000)]))
        second = None
        while second != int(time.time()):  # on a busy machine, a burst may take longer than the second lasts
            while time.time() % 1 > 0.5:
                time.sleep(0.01)
            second = int(time.time())
            storage.append("s", run_of(f"first in {second}", 1))
            system.wanted = 0
            for number in range(5):
                storage.append("s", run_of(f"r{number} in {second}", number))
        assert system.wanted < 250_000


@each_format
def test_an_edit_that_gives_a_session_to_another_user_is_listed_there(suffix: str, tmp_path: Path) -> None:
    """Listings by user looked at that user's rows alone, and the row stood under the user before: for ever."""
    storage = STORAGES[suffix](tmp_path)
    storage.append("s", run_of("r", 1), user_id="alice")
    assert storage.list_sessions(user_id="bob") == []
    by_hand.write_in_place(storage.path("s"), storage.path("s").read_bytes().replace(b"alice", b"bob"))
    assert [info.session_id for info in STORAGES[suffix](tmp_path).list_sessions(user_id="bob")] == ["s"]
    deadline = time.monotonic() + 60
    while not storage.list_sessions(user_id="bob"):
        assert time.monotonic() < deadline, "hidden for ever"


def test_listing_goes_on_opening_no_document_and_looks_at_few_files(tmp_path: Path) -> None:
    class Counting(UnsyncedSystem):
        looks = opened = 0

        def status(self, path: str) -> os.stat_result:
            self.looks += 1
            return super().status(path)

        def open(self, path: str, flags: int) -> int:
            self.opened += path.endswith((".json", ".yaml"))
            return super().open(path, flags)

    with installed(system := Counting()):
        storage = JsonStorage(tmp_path, durability="relaxed")
        for number in range(300):
            storage.append(f"s{number}", run_of("r", 1))
        storage = JsonStorage(tmp_path)
        storage.list_sessions(limit=5)
        storage.list_sessions(limit=5)
        system.looks = system.opened = 0
        for _ in range(10):
            storage.list_sessions(limit=5)
        assert (system.opened, system.looks < 300) == (0, True)
