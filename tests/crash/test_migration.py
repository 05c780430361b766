"""Upgrade, convert and undo, stopped everywhere: each document is the old one or the new one, and the next one does the
rest.

Another one joins by one line in `MIGRATIONS`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from localstore import JsonStorage, LocalstoreError, Message, Run, YamlStorage
from localstore.errors import BackupNotFound
from localstore.maintenance.upgrade import convert, undo, upgrade
from tests import oracle
from tests.crash.faults import (
    FAULTS,
    Fault,
    FaultySystem,
    Stopped,
    StoppingSystem,
    UnsyncedSystem,
    installed,
)
from tests.crash.power import HOW, RecordingSystem, materialise, state
from tests.effort import ci_only, rounds

pytestmark = ci_only
_log = logging.getLogger(__name__)
STATES = rounds(1, 1, 100)
"""How many mixed states are tried at each moment of a power cut."""
_CORNERS = rounds(1, 1, len(HOW) - 1)
"""How many of the corners are tried at each moment: others at the next one."""
_STRIDE = rounds(16, 16, 1)
"""Each way to fail is tried with every so many-th operation: each operation fails in one way, or in all."""
_STOPS = rounds(4, 2, 1)
"""The process is stopped before, or after, every so many-th change: each change is stopped on one side, or on both."""


def old_session(session_id: str, runs: int = 2) -> dict[str, Any]:
    """A session as agno 1.x wrote it."""
    written = []
    history: list[dict[str, Any]] = []
    for number in range(runs):
        own = [
            {"role": "user", "content": f"question {number}", "created_at": 1795331430 + number},
            {"role": "assistant", "content": f"answer {number}\nof two lines", "created_at": 1795331431 + number},
        ]
        copies = [{**message, "from_history": True} for message in history]
        written.append({"run_id": f"o{number}", "status": "RUNNING", "messages": [*copies, *own]})
        history += own
    return {
        "session_id": session_id,
        "agent_id": "geographer",
        "memory": {"runs": written},
        "session_data": {"session_state": {"visited": ["Wien"]}},
        "created_at": 1795331429,
        "updated_at": 1795331440,
    }


def write_old(path: Path, session_id: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    session = old_session(session_id)
    dumped = json.dumps(session, indent=4) if path.suffix == ".json" else yaml.dump(session, default_flow_style=False)
    path.write_text(dumped)


def run(number: int) -> Run:
    messages = [Message(role="user", content=f"question {number}"), Message(role="assistant", content="two\nlines")]
    return Run(run_id=f"r{number}", created_at=f"2026-11-22T07:01:{number:02d}.000Z", messages=messages)


# How a folder looks before


def _flat(root: Path, suffix: str) -> None:
    for session_id in ("s", "t t", "u"):
        write_old(root / f"{session_id}{suffix}", session_id)


def _in_a_store(root: Path, suffix: str) -> None:
    storage = _storage(suffix)(root)
    for number in (1, 2):
        storage.append("new", run(number))
    for session_id in ("s", "u"):
        write_old(storage.path("new").with_name(f"{session_id}{suffix}"), session_id)


def _of_today(root: Path, suffix: str) -> None:
    storage = _storage(suffix)(root)
    for session_id in ("s", "new", "A b"):
        for number in (1, 2):
            storage.append(session_id, run(number))


def _flat_upgraded(root: Path, suffix: str) -> None:
    _flat(root, suffix)
    upgrade(root)


def _flat_changed_since(root: Path, suffix: str) -> None:
    _flat_upgraded(root, suffix)
    JsonStorage(root).append("s", run(7))


def _store_upgraded(root: Path, suffix: str) -> None:
    _in_a_store(root, suffix)
    upgrade(root)


def _converted(root: Path, suffix: str) -> None:
    _of_today(root, suffix)
    convert(root, _other(suffix))


def _converted_changed_since(root: Path, suffix: str) -> None:
    _converted(root, suffix)
    JsonStorage(root).append("s", run(7))


def _other(suffix: str) -> Any:
    return "yaml" if suffix == ".json" else "json"


def _storage(suffix: str) -> type[JsonStorage] | type[YamlStorage]:
    return JsonStorage if suffix == ".json" else YamlStorage


# What is tried


def _undo(root: Path, _: str) -> None:
    try:
        problems = undo(root, lock_timeout=1).problems
    except BackupNotFound:
        return  # the call before did all of it
    _raise_first(problems)


def _upgrade(root: Path, _: str) -> None:
    _raise_first(upgrade(root, lock_timeout=1).problems)


def _convert(root: Path, suffix: str) -> None:
    _raise_first(convert(root, _other(suffix), lock_timeout=1).problems)


def _append(root: Path, _: str) -> None:
    JsonStorage(root, auto_upgrade_schema=True, lock_timeout=1).append("s", run(9))


def _raise_first(problems: Any) -> None:
    if problems:
        raise OSError(5, str(problems[0]), problems[0].path)


@dataclass(frozen=True)
class Migration:
    name: str
    before: Callable[[Path, str], None]
    work: Callable[[Path, str], None]


MIGRATIONS = [
    Migration("upgrade a folder of agno", _flat, _upgrade),
    Migration("upgrade a store", _in_a_store, _upgrade),
    Migration("convert", _of_today, _convert),
    Migration("write to an older document", _in_a_store, _append),
    Migration("undo in a folder of agno", _flat_upgraded, _undo),
    Migration("undo in a folder of agno that was written to", _flat_changed_since, _undo),
    Migration("undo in a store", _store_upgraded, _undo),
    Migration("undo a conversion", _converted, _undo),
    Migration("undo a conversion that was written to", _converted_changed_since, _undo),
]

Tree = dict[str, bytes]


def documents(root: Path) -> Tree:
    """The bytes of every document, in the folder itself and in the store."""
    flat = [path for path in root.glob("*") if path.suffix in (".json", ".yaml") and path.name != "localstore.json"]
    paths = [*flat, *oracle.document_paths(root)]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def kept(root: Path) -> list[Tree]:
    """What each backup holds that holds anything, the oldest first."""
    found = []
    for folder in sorted((root / ".localstore" / "backups").glob("*Z*")):
        files = [path for path in (folder / "files").rglob("[!.]*") if path.is_file()]
        found.append({path.relative_to(folder / "files").as_posix(): path.read_bytes() for path in files})
    return [tree for tree in found if tree]


@dataclass
class Case:
    """A migration, and what it makes of a folder when nothing fails."""

    migration: Migration
    suffix: str
    folder: Path

    def __post_init__(self) -> None:
        self.source = self.folder / "source"
        self.source.mkdir()
        with installed(UnsyncedSystem()):
            self.migration.before(self.source, self.suffix)
            self.before = documents(self.source)
            whole = self.fresh("whole")
            self.migration.work(whole, self.suffix)
        self.after = documents(whole)
        self.kept = kept(whole)
        self.rest = {path.name for path in whole.iterdir()}
        self.stem = {Path(path).stem: path for path in self.after}
        assert self.before != self.after

    def fresh(self, name: str) -> Path:
        root = self.folder / name
        shutil.copytree(self.source, root)
        return root

    def assert_nothing_is_lost(self, root: Path, where: str) -> None:
        """Each document is in its old place as it was, or in its new one as it is to be, and then, unless this is an
        undo, in a backup as it was; nothing else is there."""
        found, old = documents(root), [raw for tree in kept(root) for raw in tree.values()]
        is_undo = self.migration.work is _undo
        new = {_id(raw, path): (path, raw) for path, raw in self.after.items()}
        for path, raw in self.before.items():
            new_path, new_raw = new[_id(raw, path)]
            assert found.get(path) == raw or found.get(new_path) == new_raw, f"{where}: {path} is lost"
            assert found.get(path) == raw or is_undo or raw in old, f"{where}: nobody kept {path}"
        for path, raw in found.items():
            assert raw in (self.before.get(path), self.after.get(path)), f"{where}: {path} is neither old nor new"

    def assert_done(self, root: Path, where: str, *, at_once: bool = True) -> None:
        """All is as it is without a failure. `at_once`: the old documents are in one backup as well."""
        assert documents(root) == self.after, where
        if at_once:
            assert kept(root) == self.kept, where
        else:
            assert _united(kept(root)) == _united(self.kept), where
        names = {path.name for path in root.iterdir()}
        if "localstore.json" in names:  # temporary files in a store are left to `check --repair`
            names = {name for name in names if not name.endswith(".tmp")}
        assert names == self.rest, where


def _united(trees: list[Tree]) -> Tree:
    return {path: raw for tree in trees for path, raw in tree.items()}


@cache
def _id(raw: bytes, path: str) -> str:
    value = json.loads(raw) if path.endswith(".json") else yaml.safe_load(raw)
    return str(value["session_id"])


@pytest.fixture(
    params=[(migration, suffix) for migration in MIGRATIONS for suffix in (".json", ".yaml")],
    ids=lambda chosen: f"{chosen[0].name}-{chosen[1]}",
)
def case(tmp_path: Path, request: pytest.FixtureRequest) -> Case:
    """Every migration in both formats."""
    migration, suffix = request.param
    return Case(migration, suffix, tmp_path.resolve())


@pytest.mark.parametrize("fault", FAULTS)
def test_a_migration_survives_any_single_failure_and_the_next_one_does_the_rest(case: Case, fault: Fault) -> None:
    fail_at = FAULTS.index(fault) % _STRIDE + 1
    is_more = True
    while is_more:
        with installed(UnsyncedSystem()):
            root = case.fresh(f"try-{fail_at}")
            failure: BaseException | None = None
            with installed(system := FaultySystem(fault, fail_at)):
                try:
                    case.migration.work(root, case.suffix)
                except (OSError, LocalstoreError, KeyboardInterrupt) as error:
                    failure = error
            where = f"{fault} at {system.trace[fail_at - 1] if system.happened else 'the end'}: {failure!r}"
            assert system.happened or failure is None, where
            if failure is not None and not isinstance(failure, KeyboardInterrupt):
                assert getattr(failure, "path", None) or getattr(failure, "filename", None), where
            oracle.assert_locks_free(root)
            assert [one for one in oracle.open_descriptors(root) if one.endswith((".json", ".yaml"))] == [], where
            is_left = system.happened and system.trace[fail_at - 1].endswith(".tmp")
            assert is_left or not list(root.rglob("*.tmp")), where
            case.assert_nothing_is_lost(root, where)
            if failure is None:
                assert documents(root) == case.after, where
            case.migration.work(root, case.suffix)
            case.assert_done(root, where, at_once=False)
            shutil.rmtree(root)
        is_more = system.happened
        fail_at += _STRIDE
        assert fail_at < 2000, "the migration does ever more"
    _log.info("%s failures of one operation of the disk", fail_at // _STRIDE)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_migration_that_is_killed_at_any_moment_is_finished_by_the_next_one(case: Case, share: float) -> None:
    number = 1 + (share > 0) % _STOPS
    is_more = True
    while is_more:
        with installed(UnsyncedSystem()):
            root = case.fresh(f"try-{number}")
            with installed(system := StoppingSystem(number, share)), contextlib.suppress(Stopped):
                case.migration.work(root, case.suffix)
            where = f"stopped at {number}"
            case.assert_nothing_is_lost(root, where)
            case.migration.work(root, case.suffix)
            case.assert_done(root, where, at_once=case.migration.work is not _append)
            shutil.rmtree(root)
        is_more = system.happened
        number += _STOPS
    _log.info("%s stops", number // _STOPS)


@pytest.mark.timeout(3600)
def test_a_power_cut_at_any_moment_of_a_migration_loses_no_document(case: Case) -> None:
    chance = random.Random(f"{case.migration.name} {case.suffix}")
    root = case.fresh("recorded")
    with installed(system := RecordingSystem(root)):
        case.migration.work(root, case.suffix)
    tried = 0
    corners = itertools.cycle(HOW[:-1])
    for disk, what in zip(system.moments, system.trace, strict=True):
        for how in (*itertools.islice(corners, _CORNERS), *["mixed"] * STATES):
            left, times = state(disk, how, chance)
            again = case.folder / f"cut-{tried}"
            with installed(UnsyncedSystem()):
                replayed = materialise(again, left, times)
            where = f"{what}, {how}"
            with installed(replayed):
                case.assert_nothing_is_lost(again, where)
                case.migration.work(again, case.suffix)
            assert documents(again) == case.after, where
            shutil.rmtree(again)
            tried += 1
    _log.info("%s states after a power cut", tried)


_WORK = """
import sys
from localstore.maintenance.upgrade import undo, upgrade
print("ready", flush=True)
(undo if sys.argv[2] == "undo" else upgrade)(sys.argv[1])
"""


def _start(root: Path, what: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", _WORK, str(root), what], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def hashes(root: Path) -> Tree:
    """Every file of a tree."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_random_interruptions_of_real_processes_give_the_same_tree(tmp_path: Path, how: signal.Signals) -> None:
    """Interrupted again and again, and run once to the end: as if it had been done in one go, and the same for undo."""
    chance = random.Random(int(how))
    root, whole = tmp_path.resolve() / "root", tmp_path.resolve() / "whole"
    for number in range(150):
        write_old(root / f"session {number}.json", f"session {number}")
    shutil.copytree(root, whole)
    original = hashes(root)
    began = time.monotonic()
    upgrade(whole)
    taken = time.monotonic() - began
    interruptions = 0
    for _ in range(rounds(1, 2, 10)):
        for what, wanted in (("upgrade", documents(whole)), ("undo", original)):
            for _ in range(rounds(2, 4, 10)):
                process = _start(root, what)
                time.sleep(chance.uniform(0, taken / 2))  # the moment is by chance: nothing is waited for
                if process.poll() is None:
                    process.send_signal(how)
                    interruptions += 1
                process.communicate()
            if what == "upgrade":
                assert upgrade(root).problems == []
                assert documents(root) == wanted
                assert kept(root) == kept(whole)
            else:
                with contextlib.suppress(BackupNotFound):  # the last one got to the end
                    assert undo(root).problems == []
                assert hashes(root) == wanted
    assert interruptions > 0
    _log.info("%s interruptions", interruptions)


def test_a_migration_leaves_a_store_that_everybody_can_work_on(case: Case) -> None:
    root = case.fresh("store")
    with installed(UnsyncedSystem()):
        case.migration.work(root, case.suffix)
        if not (root / "localstore.json").exists():
            return
        storage = JsonStorage(root, auto_upgrade_schema=True)
        for session_id in storage.get_all_session_ids():
            storage.append(session_id, run(30))
            session = storage.read(session_id)
            assert session is not None
            assert session.runs[-1].run_id == "r30"
        assert os.listdir(root / ".localstore")
