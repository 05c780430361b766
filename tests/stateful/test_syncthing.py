"""A real Syncthing keeps a store on two machines: both write while they are apart, come together, merge, and agree.

The level `long` alone runs these tests.
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from localstore import JsonStorage, YamlStorage
from localstore.maintenance.check import check
from tests import oracle
from tests.crash.writer import STORAGES
from tests.effort import long_only
from tests.stateful import by_hand
from tests.stateful.syncthing import Pair
from tests.unit.raw import answered

Storage = JsonStorage | YamlStorage
pytestmark = [
    long_only,
    pytest.mark.timeout(1800),  # it may take Syncthing half a minute to connect again
    pytest.mark.filterwarnings("ignore:Session .* has .* not read"),
]
each_format = pytest.mark.parametrize("suffix", sorted(STORAGES))
SESSIONS = ("trip", "work")
ROUNDS = 10
MERGES = 3
"""After how many merges and exchanges at most both must agree."""


def _merge(root: Path) -> None:
    """As a person does after a conflict."""
    done = subprocess.run(
        [sys.executable, "-m", "localstore", "merge", "--store", root], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _agree(pair: Pair) -> None:
    """Merge on one machine after the other, until no copy is left."""
    for _ in range(MERGES):
        for machine in pair.machines:
            _merge(machine.folder)
            pair.together()
        if not any(_copies(machine.folder) for machine in pair.machines):
            return
    raise AssertionError([_copies(machine.folder) for machine in pair.machines])


def _copies(root: Path) -> list[Path]:
    return [path for path in oracle.document_paths(root) if "sync-conflict" in path.name]


def _runs(root: Path) -> dict[str, list[str]]:
    return {session_id: document.run_ids for session_id, document in oracle.sessions(root).items()}


def _open(pair: Pair, suffix: str) -> list[Storage]:
    """Make a store on the first machine, and open it on both."""
    first = STORAGES[suffix](pair.machines[0].folder)
    for session_id in SESSIONS:
        first.append(session_id, answered("r0"))
    pair.together()
    return [first, STORAGES[suffix](pair.machines[1].folder)]


@each_format
@pytest.mark.parametrize("ignored", [None, "travels"])
def test_ten_rounds_of_random_edits_on_both_sides_lose_no_run(suffix: str, ignored: str | None, tmp_path: Path) -> None:
    """With the rules that localstore makes, and with `.localstore/` travelling along."""
    chance = random.Random(18)
    expected: dict[str, set[str]] = {session_id: {"r0"} for session_id in SESSIONS}
    with Pair(tmp_path / "pair", ignored=ignored and "// nothing\n") as pair:
        storages = _open(pair, suffix)
        for number in range(ROUNDS):
            with pair.apart():
                for side, storage in enumerate(storages):
                    for step in range(chance.randrange(4)):
                        session_id, run_id = chance.choice(SESSIONS), f"{number}-{side}-{step}"
                        _edit(chance, storage, session_id, run_id)
                        expected[session_id].add(run_id)
            _agree(pair)
            for storage in storages:
                assert {one: set(ids) for one, ids in _runs(storage.root).items()} == expected
                assert {info.session_id: info.runs for info in storage.list_sessions()} == {
                    session_id: len(ids) for session_id, ids in expected.items()
                }
                hits = storage.search("hello", limit=None)
                assert {(hit.session_id, hit.run_id) for hit in hits} >= {
                    (session_id, run_id)
                    for session_id, ids in expected.items()
                    for run_id in ids
                    if "typed" not in run_id
                }
        assert _runs(storages[0].root) == _runs(storages[1].root)
        for storage in storages:
            errors = [finding for finding in check(storage) if finding.severity == "error"]
            assert [error for error in errors if error.kind != "mode"] == []  # those of files that a person saved


def _edit(chance: random.Random, storage: Storage, session_id: str, run_id: str) -> None:
    storage.append(session_id, answered(run_id))
    match chance.randrange(4):
        case 0:
            storage.update(session_id, name=f"name {run_id}")
        case 1:
            storage.rate(session_id, run_id, "good")
        case 2:
            path = storage.path(session_id)
            by_hand.write_by_rename(path, path.read_bytes().replace(b"good day", b"good night"))
        case _:
            pass


def _came_back(storage: Storage) -> list[str]:
    return [finding.path for finding in check(storage) if "is here again" in finding.problem]


@each_format
def test_a_session_deleted_on_one_side_and_continued_on_the_other_stays_and_says_so(
    suffix: str, tmp_path: Path
) -> None:
    with Pair(tmp_path / "pair", ignored=None) as pair:
        here, there = _open(pair, suffix)
        with pair.apart():
            here.trash("trip")
            there.append("trip", answered("later"))
        assert _runs(here.root) == _runs(there.root) == {"trip": ["r0", "later"], "work": ["r0"]}
        assert [finding.path for finding in check(here) if "is here again" in finding.problem] == [
            str(here.path("trip"))
        ]
        assert [finding for finding in check(there) if "is here again" in finding.problem] == []
        assert oracle.trashed(there.root) == []
        with pair.apart():
            here.trash("trip")
        assert _runs(there.root) == {"work": ["r0"]}
        assert len(oracle.trashed(here.root)) == 2


@each_format
def test_the_trash_and_what_was_set_aside_never_travel(suffix: str, tmp_path: Path) -> None:
    with Pair(tmp_path / "pair", ignored=None) as pair:
        here, there = _open(pair, suffix)
        here.append("trip", answered("r1"))
        here.remove_run("trip", "r1")
        here.trash("work")
        pair.together()
        assert _runs(there.root) == {"trip": ["r0"]}
        assert oracle.rescued(here.root)
        assert oracle.rescued(there.root) == []
        assert oracle.trashed(there.root) == []
