"""Processes that write are killed at any moment: everything acknowledged is there, once and in order, and no reader
ever sees half a run.

How many: see `tests/effort.py`. `--log-cli-level=INFO` shows the figures.
"""

from __future__ import annotations

import json
import logging
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from localstore import JsonStorage, Message, Run, Session, YamlStorage
from tests import oracle
from tests.crash.writer import SESSION, STORAGES, is_sound, sealed
from tests.effort import rounds, sampled

Storage = JsonStorage | YamlStorage
KILLS = rounds(4, 12, 400)
_HOME = Path(__file__).parents[2]
_LARGE = 40_000_000
_log = logging.getLogger(__name__)


@dataclass
class Ledger:
    """What writers said: what they tried, and what was acknowledged, in order."""

    tried: set[str] = field(default_factory=set)
    acknowledged: list[str] = field(default_factory=list)
    finished: set[str] = field(default_factory=set)
    grown: dict[str, int] = field(default_factory=dict)
    """How many characters of an answer were acknowledged, by run."""
    latest: dict[str, list[Any]] = field(default_factory=lambda: {"state": [None], "name": [None]})
    """The values that the state and the name may have: the acknowledged one, and one that was on its way."""

    def note(self, line: bytes) -> None:
        word, action, what = json.loads(line)
        if action in self.latest:
            self.latest[action] = [what] if word == "ok" else [self.latest[action][-1], what]
        elif action == "grow":
            if word == "ok":
                self.grown[what[0]] = what[1]
        elif word == "try":
            self.tried.add(what)
        elif action == "append":
            self.acknowledged.append(what)
        else:
            self.finished.add(what)


class Watch:
    """Reads all the time, as another program would, and keeps what it finds wrong."""

    def __init__(self, storage: Storage, ledger: Ledger) -> None:
        self.storage = storage
        self.ledger = ledger
        self.wrong: list[str] = []
        self.reads = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    @contextmanager
    def watching(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set() and not self.wrong:
            last_runs = (None, 3, 1)[self.reads % 3]
            count = len(self.ledger.acknowledged)
            try:
                session = self.storage.read(SESSION, last_runs=last_runs)
                self.storage.list_sessions()
            except Exception as error:  # noqa: BLE001 (whatever it is, a reader must not see it)
                self.wrong.append(repr(error))
                return
            self.reads += 1
            if session is not None:
                self.wrong += _halves(session)
                if last_runs is None:
                    ids = {run.run_id for run in session.runs}
                    self.wrong += [f"{one} is missing" for one in self.ledger.acknowledged[:count] if one not in ids]


def _halves(session: Session) -> list[str]:
    return [f"half of {run.run_id}" for run in session.runs if not (run.messages and all(map(_is_whole, run.messages)))]


def _is_whole(message: Message) -> bool:
    return is_sound(message.text)


class Writer:
    """A writing process; `kill` returns when it is gone and all that it said is in the ledger."""

    def __init__(self, root: Path, suffix: str, durability: str, seed: int, size: int, ledger: Ledger) -> None:
        command = [sys.executable, "-m", "tests.crash.writer", str(root), suffix, durability, str(seed), str(size)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=_HOME)
        self._ledger = ledger

    def listen(self) -> list[Any]:
        """The next thing that it says."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.endswith(b"\n"), "the writer failed by itself"
        self._ledger.note(line)
        words: list[Any] = json.loads(line)
        return words

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def kill(self) -> None:
        assert self._process.poll() is None, "the writer failed by itself"
        self._process.kill()
        assert self._process.stdout is not None
        out = self._process.stdout.read()
        for line in out.splitlines(keepends=True):
            if line.endswith(b"\n"):
                self._ledger.note(line)


def _pass(seconds: float) -> None:
    """Let so much time go by, more exactly than sleeping does: it is the moment of the kill."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def _assert_kept(root: Path, storage: Storage, ledger: Ledger, number: int) -> None:
    session = storage.read(SESSION)
    ids = [] if session is None else [run.run_id for run in session.runs]
    _assert_ids(ids, ledger)
    if session is not None:
        assert _halves(session) == []
        status = {run.run_id: run.status for run in session.runs}
        assert [one for one in ledger.finished if status[one] != "completed"] == []
        length = {run.run_id: len(run.messages[-1].text) if run.messages[1:] else 0 for run in session.runs}
        assert [one for one, least in ledger.grown.items() if length[one] < least] == []
        assert session.session_state.get("number") in ledger.latest["state"]
        assert session.name in [None if one is None else str(one) for one in ledger.latest["name"]]
        ledger.latest = {"state": [session.session_state.get("number")], "name": [session.name]}
    run_id = f"after-{number}"
    storage.append(SESSION, Run(run_id=run_id, messages=[Message(role="user", content=sealed("next"))]))
    ledger.acknowledged += [one for one in ids if one not in ledger.acknowledged]  # from now on they have to stay
    ledger.acknowledged.append(run_id)
    document = oracle.sessions(root)[SESSION]
    _assert_ids(document.run_ids, ledger)
    oracle.assert_own_layout(document)
    assert oracle.manifest(root)[SESSION]["runs"] == len(document.run_ids)
    oracle.assert_locks_free(root)


def _assert_ids(ids: list[str], ledger: Ledger) -> None:
    assert len(ids) == len(set(ids)), "a run stands twice"
    known = set(ledger.acknowledged)
    assert [one for one in ids if one in known] == ledger.acknowledged, "lost, or in another order"
    assert set(ids) - known <= ledger.tried


_WAYS = [(suffix, durability) for suffix in STORAGES for durability in ("full", "relaxed")]
_CASES = [(*way, 2_000, 0.2) for way in _WAYS] + [(*way, _LARGE, 0.05) for way in sampled(_WAYS, 3)]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("suffix", "durability", "size", "share"), _CASES)
def test_a_killed_writer_loses_nothing_that_it_acknowledged(
    suffix: str,
    durability: Literal["full", "relaxed"],
    size: int,
    share: float,
    tmp_path: Path,
) -> None:
    chance = random.Random(f"{suffix} {durability} {size}")
    root = tmp_path.resolve()
    storage = STORAGES[suffix](root, durability=durability, lock_timeout=60)
    acknowledged = reads = torn = 0
    kills = max(1, round(KILLS * share))
    ledger = Ledger()
    for number in range(kills):
        if number % (2 if size == _LARGE else 25) == 0:
            storage.delete_session(SESSION)
            ledger = Ledger()
        watch = Watch(STORAGES[suffix](root, lock_timeout=60), ledger)
        had = len(ledger.acknowledged)
        seed = chance.randrange(10**6)
        with watch.watching(), Writer(root, suffix, durability, seed, size, ledger) as writer:
            if size == _LARGE:
                _kill_inside_the_write(writer, storage, chance)
            else:
                for _ in range(chance.randrange(1, 80)):
                    writer.listen()
                _pass(chance.uniform(0, 0.003))
                writer.kill()
        assert watch.wrong == []
        reads += watch.reads
        before = len(oracle.rescued(root))
        _assert_kept(root, storage, ledger, number)
        torn += len(oracle.rescued(root)) > before
        if size == _LARGE:
            shutil.rmtree(root / ".localstore" / "rescue", ignore_errors=True)
        acknowledged += len(ledger.acknowledged) - had
    _log.info("%s kills, %s acknowledged, %s torn, %s reads, nothing lost", kills, acknowledged, torn, reads)


def _kill_inside_the_write(writer: Writer, storage: Storage, chance: random.Random) -> None:
    """Wait until the document begins to grow, and a little longer: the new bytes take some 10 ms to write."""
    assert writer.listen()[0] == "try"
    try:
        path = storage.path(SESSION)
    except LookupError:
        path = None
    size = path.stat().st_size if path else 0
    end = time.perf_counter() + 60
    while path is not None and path.stat().st_size == size and time.perf_counter() < end:
        pass
    _pass(chance.uniform(0, 0.02) if path else chance.uniform(0, 0.2))
    writer.kill()
