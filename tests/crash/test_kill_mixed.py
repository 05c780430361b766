"""Four writers and two readers at once, killed at any moment: what was acknowledged is there, once and in order, what
was not is there wholly or not at all, and no reader ever sees half of anything.

The writers do all that can be done to a session (see `mixed_writer.py`), those of even slots durably, the others
relaxed. They are killed from outside, alone or several at once, or kill themselves in the middle of a chosen operation
on the disk. A successor goes on where the killed one was. CI kills 60 processes, the long form (see
`tests/effort.py`) 2,000. `--log-cli-level=INFO` shows the figures.
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from localstore.format.document import LAYOUTS
from tests import oracle
from tests.crash.mixed_ledger import Call, Ledger, assert_holds
from tests.crash.mixed_reader import raw_items
from tests.crash.mixed_writer import DELETED, LARGE, OWNERS, SHARED, Doomed, Orders
from tests.crash.sealed_runs import Item, items_of, made
from tests.crash.writer import STORAGES
from tests.effort import ci_only, rounds, sampled

KILLS = rounds(5, 20, 2000)
LARGE_KILLS = rounds(1, 2, 80)
_A_STORE = 15
"""So many kills are made in one store, before its documents get long."""
_A_STORM = 4
"""So many processes are killed before everything stands still and is judged."""
pytestmark = ci_only
_HOME = Path(__file__).parents[2]
_PATIENCE = 120.0
_FILTERS: list[dict[str, Any]] = [
    {},
    {"limit": 2},
    {"user_id": "alice"},
    {"user_id": "alice", "limit": 1},
    {"entity_id": "geographer"},
    {"entity_id": "nobody"},
    {"kind": "team"},
]
_log = logging.getLogger(__name__)


class Writer:
    """A writing process, and the thread that listens to it."""

    def __init__(self, orders: Orders, ledger: Ledger) -> None:
        self.orders = orders
        self.calls = 0
        self.call: Call | None = None
        self.idle = threading.Event()
        self._ledger = ledger
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.mixed_writer", json.dumps(asdict(orders))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_HOME,
        )
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                if not line.endswith(b"\n"):
                    break
                word, *rest = json.loads(line)
                if word == "idle":
                    self.idle.set()
                elif word == "try":
                    self.call = self._ledger.begin(rest[1], rest[0])
                else:
                    assert self.call is not None
                    self._ledger.end(self.call, word, rest[0])
                    self.call = None
                    self.calls += 1
            self._process.wait()
            if self.call is not None:
                self._ledger.end(self.call, "killed", time.monotonic_ns())
        except BaseException as error:  # noqa: BLE001 (raised by `bury`)
            self._failed = error

    @property
    def is_dead(self) -> bool:
        return not self._thread.is_alive()

    def tell(self) -> None:
        """Stand still after this call, or go on."""
        self.idle.clear()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is dead already
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()

    def join(self) -> None:
        """Wait until all that it said is in the ledger."""
        self._thread.join(_PATIENCE)
        assert not self._thread.is_alive()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def bury(self) -> None:
        """It must have been killed, not failed."""
        self.join()
        if self._failed is not None:
            raise self._failed
        assert self._process.returncode == -9, f"{self.orders.slot} failed by itself in {self.call}"


class Reader:
    """A reading process, and the thread that asks it and judges its answers. `busy` is held during each question."""

    def __init__(self, root: Path, suffix: str, seed: int, ledger: Ledger, sessions: tuple[str, ...]) -> None:
        self.busy = threading.Lock()
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._ledger = ledger
        self._chance = random.Random(seed)
        self._sessions = sessions
        self._stop = False
        self._asked: dict[str, Any] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.mixed_reader", str(root), suffix],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_HOME,
        )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        try:
            while not self._stop:
                with self.busy:
                    self._look(self._chance.choice((self._session, self._session, self._raw, self._list)))
                time.sleep(0.002)  # two cores are to be left for writing
        except (BrokenPipeError, EOFError):
            if not self._stop:
                self.wrong.append("the reader failed by itself")
        except BaseException as error:  # noqa: BLE001 (whatever it is, the test fails with it)
            self.wrong.append(repr(error))
        finally:
            self._process.kill()
            self._process.communicate()

    def _look(self, question: Callable[[], None]) -> None:
        try:
            question()
        except AssertionError as error:
            raise AssertionError(f"{question.__name__} {self._asked} -> {error}") from error
        self.answers[question.__name__.lstrip("_")] += 1

    def _ask(self, **request: Any) -> dict[str, Any]:
        self._asked = request
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        answer: dict[str, Any] = json.loads(line)
        assert "wrong" not in answer, answer["wrong"]
        return answer

    def _session(self) -> None:
        session_id, last_runs = self._chance.choice(self._sessions), self._chance.choice((None, 1, 3))
        floor = self._ledger.floor(session_id)
        answer = self._ask(how="read", session=session_id, last_runs=last_runs)
        self._check(session_id, answer["items"], floor, whole=last_runs is None)

    def _raw(self) -> None:
        session_id = self._chance.choice(self._sessions)
        floor = self._ledger.floor(session_id)
        answer = self._ask(how="raw", session=session_id)
        self._check(session_id, answer["items"], floor, whole=True, torn=answer["torn"])

    def _check(
        self, session_id: str, items: list[Item] | None, floor: dict[str, int], *, whole: bool, torn: bool = False
    ) -> None:
        items = [(item_id, version) for item_id, version in items or ()]
        assert_holds(items, floor, whole=whole, torn=torn)
        self._ledger.witness(session_id, items)

    def _list(self) -> None:
        filters = self._chance.choice(_FILTERS)
        floors = {session_id: self._ledger.floor(session_id, runs=True) for session_id in SHARED}
        rows = self._ask(how="list", filters=filters)["rows"]
        times = [row["updated_at"] for row in rows]
        assert [row["problem"] for row in rows] == [None] * len(rows), rows
        assert times == sorted(times, reverse=True), rows
        owner = filters.get("user_id")
        assert all(owner in (None, row["user_id"]) for row in rows)
        if "team" in filters.values() or "nobody" in filters.values():
            assert rows == []
            return
        runs = {row["session_id"]: row["runs"] for row in rows}
        assert len(runs) == len(rows) <= filters.get("limit", len(rows))
        for session_id, floor in floors.items():
            if floor and "limit" not in filters and owner in (None, OWNERS[session_id]):
                assert runs[session_id] >= len(floor), f"{session_id}: {runs[session_id]} runs, not {len(floor)}"

    def kill(self) -> None:
        """In the middle of whatever it does."""
        self._stop = True
        self._process.kill()

    def join(self) -> None:
        self._thread.join(_PATIENCE)
        assert not self._thread.is_alive()

    def bury(self) -> None:
        """It must have seen nothing wrong."""
        self.join()
        assert self.wrong == []


class Load:
    """All processes on one store."""

    def __init__(self, root: Path, suffix: str, chance: random.Random, *, large: bool) -> None:
        self.root = root
        self.suffix = suffix
        self.chance = chance
        self.large = large
        self.ledger = Ledger()
        self.figures: Counter[str] = Counter()
        self.storage = STORAGES[suffix](root, lock_timeout=60)
        self.sessions = (*SHARED, *DELETED, LARGE) if large else (*SHARED, *DELETED)
        self.looks = 0
        self.writers: list[Writer] = []
        self.readers: list[Reader] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        try:
            self.writers += [self._writer(number, 1, None) for number in range(4)]
            self.readers += [self._reader() for _ in range(2)]
            yield
        finally:
            everybody: list[Writer | Reader] = [*self.writers, *self.readers]
            for process in everybody:
                process.kill()
            for process in everybody:
                process.join()
        for process in everybody:
            process.bury()
        self.figures["acknowledged"] += self.ledger.acknowledged
        for reader in self.readers:
            self.figures.update(reader.answers)
        oracle.assert_locks_free(self.root)
        self.look()

    def _writer(self, number: int, generation: int, before: Call | None) -> Writer:
        again = None
        if before is not None and before.session in SHARED and len(before.puts) == 1 and not before.removes:
            ((run_id, version),) = before.puts.items()
            if version < 2 and before.what.get("append") and self.chance.random() < 0.5:
                again = [before.session, run_id, version]
        doom = None
        if self.chance.random() < 0.6:
            kind = self.chance.choice(Doomed.KINDS)
            doom = [kind, self.chance.randint(1, 80 if kind == "any" else 12), self.chance.choice((0.0, 0.4, 0.9, 1.0))]
        orders = Orders(
            root=str(self.root),
            suffix=self.suffix,
            durability="relaxed" if number % 2 else "full",
            slot=f"w{number}",
            generation=generation,
            large=self.large and number == 0,
            again=again,
            doom=None if self.large else doom,
        )
        return Writer(orders, self.ledger)

    def _reader(self) -> Reader:
        return Reader(self.root, self.suffix, self.chance.randrange(10**6), self.ledger, self.sessions)

    def replace_dead(self) -> int:
        """Start a successor for each writer that is dead; how many there were."""
        dead = [(number, writer) for number, writer in enumerate(self.writers) if writer.is_dead]
        for number, writer in dead:
            writer.bury()
            self.figures["inside a call"] += writer.call is not None
            self.writers[number] = self._writer(number, writer.orders.generation + 1, writer.call)
        self.figures["kills"] += len(dead)
        return len(dead)

    def storm(self, kills: int) -> None:
        """Let so many processes be killed, or kill themselves."""
        end = time.monotonic() + _PATIENCE
        while kills > 0:
            assert time.monotonic() < end, "nobody could be killed"
            self.check_readers()
            time.sleep(self.chance.uniform(0, 0.05))
            kills -= self.replace_dead()
            at_work = [writer for writer in self.writers if writer.calls > 2]
            if kills > 0 and at_work and self.chance.random() < 0.2:
                victims = self.chance.sample(at_work, min(len(at_work), self.chance.choice((1, 1, 1, 2, 4))))
                for writer in victims:
                    writer.kill()
            if kills > 0 and self.chance.random() < 0.02:
                self.kill_reader()
                kills -= 1

    def kill_reader(self) -> None:
        place = self.chance.randrange(2)
        self.readers[place].kill()
        self.readers[place].bury()
        self.figures.update(self.readers[place].answers)
        self.figures["kills"] += 1
        self.readers[place] = self._reader()

    def check_readers(self) -> None:
        assert [wrong for reader in self.readers for wrong in reader.wrong] == []

    def kill_inside_a_large_write(self) -> None:
        """Wait until the writer of large entries begins to write one, and a little longer."""
        writer, end = self.writers[0], time.monotonic() + _PATIENCE
        folder = self.root / "sessions"
        before = None
        while time.monotonic() < end and not writer.is_dead:
            self.check_readers()
            call = writer.call
            if call is None or call.session != LARGE:
                before = None
                continue
            try:
                size = max((path.stat().st_size for path in folder.glob(f"*/*{LARGE}{self.suffix}*")), default=0)
            except FileNotFoundError:  # a temporary file took its name
                continue
            if before is not None and size != before:
                break
            before = size
        time.sleep(self.chance.uniform(0, 0.02))
        writer.kill()
        while not writer.is_dead:
            time.sleep(0.001)
        self.replace_dead()

    # Judging

    def stand_still_and_look(self) -> None:
        for writer in self.writers:
            writer.tell()
        for writer in self.writers:
            while not writer.idle.wait(0.01) and not writer.is_dead:
                pass
        with contextlib.ExitStack() as stack:
            for reader in self.readers:
                stack.enter_context(reader.busy)
            self.check_readers()
            oracle.assert_locks_free(self.root)
            self.look()
        for writer in self.writers:
            writer.tell()

    def look(self) -> None:
        """Judge everything, while nothing is going on."""
        self.looks += 1
        for session_id in self.sessions:
            session = self.storage.read(session_id)
            items = [] if session is None else items_of([one.model_dump(exclude_none=True) for one in session.history])
            if session is not None:
                self.figures["torn"] += raw_items(self.root, session_id, self.suffix)[1]
            self.ledger.judge(session_id, items)
            if session is not None:
                self.append(session_id)
                self.ledger.judge_name(session_id, session.name, {item_id for item_id, _ in items})
        listed = {info.session_id: info for info in self.storage.list_sessions()}
        documents = oracle.sessions(self.root)
        rows = oracle.manifest(self.root)
        assert listed.keys() == documents.keys()
        assert {one for one, row in rows.items() if (self.root / row["path"]).exists()} == documents.keys()
        assert rows.keys() - documents.keys() <= set(DELETED)
        for session_id, document in documents.items():
            self.ledger.judge(session_id, items_of(document.history))
            oracle.assert_own_layout(document)
            assert document.header["user_id"] == OWNERS[session_id]
            row, info, status = rows[session_id], listed[session_id], document.path.stat()
            assert self.root / row["path"] == document.path == info.path
            assert row["fingerprint"] == [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
            assert (row["entries"], row["runs"]) == (len(document.history), len(document.run_ids))
            assert row["updated_at"] == info.as_dict()["updated_at"] == document.updated_at
            assert (info.runs, info.name, info.problem) == (row["runs"], document.header.get("name"), None)
        left = sum(1 for _ in self.root.rglob("*.tmp"))
        assert left <= self.figures["kills"] + len(self.writers), f"{left} temporary files"
        self.figures["temporary files"] = left
        self.figures["set aside"] = len(oracle.rescued(self.root))

    def append(self, session_id: str, *, create: bool = False) -> None:
        run_id = f"judge-{self.looks}-1-keep"
        call = self.ledger.begin({"session": session_id, "puts": [[run_id, 1]]}, time.monotonic_ns())
        self.storage.append(session_id, made(run_id, 1, 200), user_id=OWNERS[session_id], create=create)
        self.ledger.end(call, "ok", time.monotonic_ns())


def _log_figures(figures: Counter[str], began: float) -> None:
    said = ", ".join(f"{count} {name}" for name, count in figures.items())
    _log.info("%s; nothing lost; %.1f s", said, time.monotonic() - began)


@pytest.mark.parametrize("suffix", sorted(STORAGES))
def test_the_raw_reader_sees_none_of_several_entries_whose_writer_was_killed(suffix: str, tmp_path: Path) -> None:
    """It took the second one for stored, because it is whole, and then missed it."""
    storage = STORAGES[suffix](tmp_path)
    storage.append("s0", made("w0-1-1-keep", 1, 200))
    path = storage.path("s0")
    before = path.read_bytes()
    storage.append_many("s0", [made(f"w0-1-{number}-keep", 1, 200) for number in (2, 3)])
    end = LAYOUTS[suffix].end
    path.write_bytes(before + path.read_bytes()[len(before.removesuffix(end)) + len(end) :])
    assert raw_items(tmp_path, "s0", suffix)[0] == [("w0-1-1-keep", 1)]


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("suffix", sorted(STORAGES))
def test_nothing_acknowledged_is_lost_when_writers_and_readers_are_killed_under_mixed_load(
    suffix: str, tmp_path: Path
) -> None:
    chance = random.Random(f"mixed {suffix}")
    total: Counter[str] = Counter()
    began = time.monotonic()
    while total["kills"] < KILLS // 2:
        load = Load(tmp_path.resolve() / str(total["kills"]), suffix, chance, large=False)
        with load.running():
            while load.figures["kills"] < min(_A_STORE, KILLS // 2 - total["kills"]):
                load.storm(_A_STORM)
                load.stand_still_and_look()
        total.update(load.figures)
    _log_figures(total, began)


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("suffix", sampled(sorted(STORAGES), 2, 2))
def test_a_writer_killed_inside_40_mb_harms_nothing_under_mixed_load(suffix: str, tmp_path: Path) -> None:
    chance = random.Random(f"large {suffix}")
    total: Counter[str] = Counter()
    began = time.monotonic()
    while total["kills"] < LARGE_KILLS // 2:
        load = Load(tmp_path.resolve() / str(total["kills"]), suffix, chance, large=True)
        load.append(LARGE, create=True)
        with load.running():
            for _ in range(2):
                load.kill_inside_a_large_write()
            load.stand_still_and_look()
        total.update(load.figures)
    _log_figures(total, began)
