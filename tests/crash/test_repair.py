"""A repair that fails or is killed at any point: nothing is lost, and running it again finishes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from localstore import JsonStorage, LocalstoreError, Message, Run, YamlStorage
from localstore.disk import filesystem
from localstore.maintenance.git_merge import merge_for_git
from localstore.maintenance.repair import repair
from localstore.maintenance.rescue import rescued, restore
from tests import oracle
from tests.crash.faults import FaultySystem, UnsyncedSystem, installed
from tests.crashes import leave_mark
from tests.effort import IS_LONG, ci_only, sampled

pytestmark = ci_only

Storage = JsonStorage | YamlStorage
FORMATS = (JsonStorage, YamlStorage)


def run(number: int, text: str = "question") -> Run:
    moment = f"2026-11-22T07:01:{number:02d}.000Z"
    return Run(run_id=f"r{number}", created_at=moment, messages=[Message(role="user", content=f"{text} {number}")])


# What is to be mended


def _torn(storage: Storage) -> None:
    """A writer was killed inside an append."""
    path = storage.path("s")
    raw = path.read_bytes()
    storage.append("s", run(9, "long " * 2000))
    new = path.read_bytes()
    path.write_bytes(raw + new[len(raw) : len(raw) + (len(new) - len(raw)) // 2])
    leave_mark(storage.root, "s", raw, new)
    manifest = storage.root / ".localstore/manifest.jsonl"
    manifest.write_bytes(b"".join(manifest.read_bytes().splitlines(keepends=True)[:-1]))


def _copied(storage: Storage) -> None:
    """A copy with an entry of its own."""
    path = storage.path("s")
    copy = path.with_name(f"a copy{path.suffix}")
    shutil.copy2(path, copy)
    copy.write_bytes(copy.read_bytes().replace(b"question 3", b"an answer of its own"))


def _conflicting(storage: Storage) -> None:
    """Git merged two branches that had both added a run and changed the last common one."""
    path = storage.path("s")
    versions = [path.read_bytes()]
    for number, text in ((4, b"ours"), (5, b"theirs")):
        path.write_bytes(versions[0].replace(b"question 3", b"question of " + text))
        storage.append("s", run(number))
        versions.append(path.read_bytes())
    merged = merge_for_git(versions[0], versions[1], versions[2], path.name)
    assert merged.is_conflict
    path.write_bytes(merged.raw)


def _left(storage: Storage) -> None:
    """Writers were killed before they renamed what they had written."""
    path = storage.path("s")
    places = (
        (path.parent, path.name),
        (storage.root / ".localstore", "manifest.jsonl"),
        (storage.root, "manifest.jsonl"),
    )
    for folder, name in places:
        temporary = folder / f".{name}.0123456789ab.tmp"
        temporary.write_bytes(path.read_bytes()[:-30])
        temporary.chmod(0o600)
        os.utime(temporary, (1, 1))


def _open_to_others(storage: Storage) -> None:
    storage.path("s").chmod(0o644)
    storage.path("s").parent.chmod(0o755)


def _without_manifest(storage: Storage) -> None:
    (storage.root / ".localstore/manifest.jsonl").unlink()


def _broken_manifest(storage: Storage) -> None:
    manifest = storage.root / ".localstore/manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes().replace(b'"user_id":"alice"', b'"user_id":"mallory"') + b"garbage")


def _rescued(storage: Storage) -> None:
    """Runs that could not be written while a person had left the document broken, and one that is there by now."""
    path = storage.path("s")
    whole = path.read_bytes()
    path.write_bytes(b"{")
    for number in (4, 5):
        with pytest.raises(LocalstoreError):
            storage.append("s", run(number))
    path.write_bytes(whole)
    storage.append("s", run(5))


DAMAGES = [_torn, _copied, _conflicting, _left, _open_to_others, _without_manifest, _broken_manifest, _rescued]


def _repair(root: Path) -> None:
    left = [finding for finding in repair(root, lock_timeout=1) if finding.severity == "error"]
    if left:
        raise OSError(f"not all is mended: {left}")


def _restore_all(root: Path) -> None:
    for one in reversed(rescued(root)):
        restore(root, one.name, lock_timeout=1)


_FAULTS: tuple[tuple[str, ...], ...] = (
    (("EIO",), ("EACCES",), ("torn write",), ("synced not",), ("killed",))
    if IS_LONG
    else (("EIO", "EACCES", "killed"), ("torn write",), ("synced not",))
)
"""In turn, one at each place (see `ROTATIONS` in `faults.py`)."""


class Killed(BaseException):
    """The process is gone."""


class DyingSystem(FaultySystem):
    """From the operation with number `fail_at` on, nothing is done any more: as if the process had been killed."""

    def _is_due(self, name: str, about: str) -> bool:
        super()._is_due(name, about)
        if self.happened:
            raise Killed
        return False

    def close(self, fd: int) -> None:
        """The system closes what a killed process has open. Otherwise a document would seem to be written to."""
        filesystem.System.close(self, fd)
        self._is_due("close", str(fd))


@pytest.fixture(autouse=True)
def no_other_writers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repairs do not wait for the writers of temporary files: those are dead."""
    monkeypatch.setattr("localstore.maintenance.check._PATIENCE", 0.01)


@pytest.fixture(params=sampled(FORMATS, 2), ids=lambda chosen: chosen.__name__)
def kind(request: pytest.FixtureRequest) -> type[Storage]:
    chosen: type[Storage] = request.param
    return chosen


def _scene(kind: type[Storage], root: Path, damage: Callable[[Storage], None]) -> None:
    storage = kind(root, lock_timeout=1)
    storage.append("other", run(1), user_id="bob")
    for number in (1, 2, 3):
        storage.append("s", run(number), user_id="alice")
    damage(storage)


def _work_for(damage: Callable[[Storage], None]) -> Callable[[Path], None]:
    return _restore_all if damage is _rescued else _repair


@pytest.mark.parametrize("faults", _FAULTS, ids="/".join)
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__[1:])
def test_a_repair_that_fails_anywhere_is_finished_by_the_next_one(
    kind: type[Storage], damage: Callable[[Storage], None], faults: tuple[str, ...], tmp_path: Path
) -> None:
    """At the level `ci` the formats share the places: JSON takes every second one, YAML the others."""
    fail_at, happened = 1 + FORMATS.index(kind), True
    with installed(UnsyncedSystem()):
        while happened:
            root = tmp_path / str(fail_at)
            fault = faults[fail_at % len(faults)]
            _scene(kind, root, damage)
            happened = _try(root, fault, fail_at, _work_for(damage))
            _assert_finished(root, damage, f"{fault} at {fail_at}")
            fail_at += 1 if IS_LONG else 2
    assert fail_at < 300, "the repair does ever more"


def _try(root: Path, fault: str, fail_at: int, work: Callable[[Path], None]) -> bool:
    """One attempt with one failure, then one without; False when the repair did not get that far."""
    system = DyingSystem("EIO", fail_at) if fault == "killed" else FaultySystem(fault, fail_at)  # type: ignore[arg-type]
    with installed(system):
        try:
            work(root)
        except (OSError, LocalstoreError, Killed):
            assert system.happened, "failed without a fault"
    oracle.assert_locks_free(root)
    for temporary in root.rglob("*.tmp"):
        os.utime(temporary, (1, 1))
    work(root)
    if work is not _repair:
        _repair(root)  # a killed one left a temporary file
    return system.happened


def _assert_finished(root: Path, damage: Callable[[Storage], None], where: str) -> None:
    found = oracle.sessions(root)
    oracle.assert_sound(root)
    oracle.assert_private(root)
    expected = ["r1", "r2", "r3"]
    runs = found["s"].run_ids
    assert runs[:3] == expected, where
    kept = json.dumps(oracle.rescued(root)) + "".join(
        path.read_text() for ending in ("part", "copy") for path in root.glob(f".localstore/rescue/*.{ending}")
    )
    if damage is _torn:
        assert "long long" in kept, where
    elif damage is _copied:
        there = found["s"].raw.decode() + kept
        assert "an answer of its own" in there, where
        assert "question 3" in there, where
        assert runs == expected, where
        assert set(found) == {"s", "other"}, where
    elif damage is _left:
        assert "question 2" in kept, where
    elif damage is _rescued:
        assert sorted(runs) == ["r1", "r2", "r3", "r4", "r5"], where
        assert all("entry" not in record for record in oracle.rescued(root)), where
    assert oracle.manifest(root).keys() == found.keys(), where
    assert [finding for finding in repair(root) if finding.kind is not None] == [], where
    JsonStorage(root, lock_timeout=1).append("s", run(20))
    assert oracle.sessions(root)["s"].run_ids == [*runs, "r20"], where
