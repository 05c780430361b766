"""Three clones of one store change it at random, pull by merge or rebase, and push. Nothing is lost, and all agree."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from pathlib import Path
from random import Random

import pytest

from localstore import JsonStorage, YamlStorage
from localstore.maintenance.repair import repair
from tests import oracle
from tests.effort import ci_only, rounds
from tests.unit.raw import Storage, answered, edit

from .repository import cloned, git, needs_git, problems, put_under_git

pytestmark = [*needs_git, ci_only]

SESSIONS = ("s0", "s1", "s2")
_log = logging.getLogger(__name__)


class Clones:
    """Clones of one repository, and what was done to them."""

    def __init__(self, kind: type[Storage], folder: Path, seed: int) -> None:
        self.random = Random(seed)
        first = kind(folder / "first")
        self.runs: dict[str, set[str]] = defaultdict(set)
        """The ids of the runs that were stored, by session."""
        self.removed: set[str] = set()
        """The ids of the runs that were taken out on purpose."""
        self.conflicts = 0
        for name in SESSIONS:
            self._append(first, name)
        put_under_git(first)
        git(folder, "clone", "-q", "--bare", first.root, "hub")
        self.all = [cloned(kind(folder / "first"), f"clone{number}") for number in range(3)]
        for clone in self.all:
            git(clone.root, "remote", "set-url", "origin", folder / "hub")

    def _append(self, clone: Storage, session_id: str) -> None:
        number = sum(map(len, self.runs.values()))
        run_id = f"r{number:03}"
        text = self.random.choice(["hello", "Which train?\nToday.", "größe"])
        clone.append(session_id, answered(run_id, f"{text} {run_id}", f"answer {run_id}"))
        self.runs[session_id].add(run_id)

    def change(self, clone: Storage) -> None:
        """Do one thing to a session of a clone."""
        session_id = self.random.choice(SESSIONS)
        session = clone.read(session_id)
        if session is None:
            return
        run = self.random.choice(session.runs) if session.runs else None
        match self.random.randrange(9):
            case 0:
                clone.update(session_id, name=f"name {self.random.random()}")
            case 1:
                clone.update(session_id, add_tags=[self.random.choice("abc")])
            case 2:
                clone.update(session_id, session_state={self.random.choice("xyz"): self.random.random()})
            case 3 if run is not None:
                clone.rate(session_id, run.run_id, self.random.choice(["good", "bad"]))
            case 4 if run is not None:
                self._edit(clone, session_id, run.run_id)
            case 5 if run is not None and self.random.random() < 0.3:
                clone.remove_run(session_id, run.run_id)
                self.removed.add(run.run_id)
            case _:
                self._append(clone, session_id)

    def _edit(self, clone: Storage, session_id: str, run_id: str) -> None:
        words = f"{self.random.random()} answer {run_id}"
        edit(clone.path(session_id), f"answer {run_id}", words)

    def collide(self) -> None:
        """Edit the same run in two clones."""
        session_id = self.random.choice(SESSIONS)
        clones = self.random.sample(self.all, 2)
        sessions = [clone.read(session_id) for clone in clones]
        both = set.intersection(*({run.run_id for run in session.runs} for session in sessions if session is not None))
        if both:
            run_id = self.random.choice(sorted(both))
            for clone in clones:
                self._edit(clone, session_id, run_id)
                git(clone.root, "commit", "-qam", "collision")

    def pull(self, clone: Storage) -> None:
        """Pull by merge or rebase. A conflict is left to a repair."""
        how = self.random.choice(["--no-rebase", "--rebase"])
        try:
            git(clone.root, "pull", "-q", "--no-edit", how, "origin", "main")
        except AssertionError:
            for _ in range(50):
                if not git(clone.root, "diff", "--name-only", "--diff-filter=U"):
                    break
                self.conflicts += 1
                assert [one for one in repair(clone) if one.severity == "error"] == []
                git(clone.root, "add", "-A")
                words = ["commit", "--no-edit", "-q"] if how == "--no-rebase" else ["rebase", "--continue"]
                try:
                    git(clone.root, *words)
                except AssertionError:
                    continue
        status = git(clone.root, "status")
        assert "nothing to commit, working tree clean" in status, status
        assert "in progress" not in status, status


@pytest.mark.parametrize("kind", [JsonStorage, YamlStorage])
@pytest.mark.parametrize("seed", range(rounds(0, 2, 60)))
def test_clones_that_change_at_random_agree_and_lose_nothing(kind: type[Storage], seed: int, tmp_path: Path) -> None:
    clones = Clones(kind, tmp_path.resolve(), seed)
    for _ in range(rounds(0, 8, 20)):
        if clones.random.random() < 0.2:
            clones.collide()
        clone = clones.random.choice(clones.all)
        for _ in range(clones.random.randrange(1, 4)):
            clones.change(clone)
        git(clone.root, "commit", "-qam", "changes", "--allow-empty")  # a rating may be the one that is there
        if clones.random.random() < 0.6:
            clones.pull(clone)
            git(clone.root, "push", "-q", "origin", "HEAD:main")
    for _ in range(2):
        for clone in clones.all:
            clones.pull(clone)
            git(clone.root, "push", "-q", "origin", "HEAD:main")
    _log.info("%s conflicts", clones.conflicts)
    found = [oracle.sessions(clone.root) for clone in clones.all]
    for name in SESSIONS:
        raws = [sessions[name].raw for sessions in found]
        assert raws[0] == raws[1] == raws[2]
        ids = found[0][name].run_ids
        assert len(ids) == len(set(ids))
        assert set(ids) == clones.runs[name] - clones.removed
    assert problems(clones.all[0]) == [] or {one.severity for one in problems(clones.all[0])} == {"note"}
    assert json.dumps(sorted(found[0])) == json.dumps(sorted(SESSIONS))
