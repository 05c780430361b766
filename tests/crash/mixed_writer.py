"""A process that does everything a writer can do until it is killed: `python -m tests.crash.mixed_writer ORDERS`.

ORDERS is a JSON object, see `Orders`. Before each call it says `try` and what the call does, when it returned `ok` (or
`no`, for a run that found its session deleted), each on a line that is written at once and carries the time. A line on
standard input makes it say `idle` and wait for the next line.
"""

import json
import os
import random
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

from localstore import SessionNotFound
from localstore.disk import filesystem
from localstore.index import manifest_writer
from tests.crash.sealed_runs import is_fleeting, items_of, made, maker
from tests.crash.writer import STORAGES

SHARED = ("s0", "s1", "s2")
"""Sessions that all writers change, and nobody deletes."""
DELETED = ("d0", "d1")
"""Sessions that all writers append to and delete."""
LARGE = "large"
"""The session that gets entries of 40 MB."""
OWNERS = {"s0": "alice", "s1": "alice", "s2": "bob", "d0": "carol", "d1": "carol", LARGE: "bob"}
_RECENT = 20
"""A run is repeated when it stands among so many of the last: further back the store need not recognise it."""
_SIZE = 1_500
_LARGE_SIZE = 40_000_000


@dataclass
class Orders:
    """What one writer is told: who it is (the successor of the generation before in its slot), the operation in which
    its predecessor was killed, if it was one to repeat, and when it has to kill itself."""

    root: str
    suffix: str
    durability: Literal["full", "relaxed"]
    slot: str
    generation: int
    large: bool = False
    again: list[Any] | None = None
    """Session, id and version of an append to repeat."""
    doom: list[Any] | None = None
    """Kill yourself at the n-th operation on the disk of a kind (`any` of them), with this share of it done."""


class Doomed(filesystem.System):
    """Kills its own process in the middle of one operation on the disk: before it, after it, within a write."""

    KINDS = ("any", "write", "sync", "sync_folder", "replace", "unlink", "truncate", "open")

    def __init__(self, kind: str, number: int, share: float) -> None:
        self._kind = kind
        self._left = number
        self._share = share

    def _is_due(self, kind: str) -> bool:
        if self._kind in (kind, "any"):
            self._left -= 1
        return self._left == 0

    def _around(self, kind: str, work: Callable[[], Any]) -> Any:
        if not self._is_due(kind):
            return work()
        if self._share >= 0.5:
            work()
        return _die()

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        if not self._is_due("write"):
            return super().write(fd, data, offset)
        end = offset + round(len(data) * self._share)
        if end < offset + len(data):
            end = end // filesystem.PAGE * filesystem.PAGE  # the system copies a page as a whole
        if end > offset:
            super().write(fd, memoryview(data)[: end - offset], offset)
        return _die()

    def open(self, path: str, flags: int) -> int:
        if not flags & os.O_CREAT:
            return super().open(path, flags)
        fd: int = self._around("open", lambda: super(Doomed, self).open(path, flags))
        return fd

    def sync(self, fd: int) -> None:
        self._around("sync", lambda: super(Doomed, self).sync(fd))

    def sync_folder(self, path: str) -> None:
        self._around("sync_folder", lambda: super(Doomed, self).sync_folder(path))

    def replace(self, source: str, target: str) -> None:
        self._around("replace", lambda: super(Doomed, self).replace(source, target))

    def exchange(self, first: str, second: str) -> None:
        self._around("replace", lambda: super(Doomed, self).exchange(first, second))

    def rename_to_new(self, source: str, target: str) -> None:
        self._around("replace", lambda: super(Doomed, self).rename_to_new(source, target))

    def unlink(self, path: str) -> None:
        self._around("unlink", lambda: super(Doomed, self).unlink(path))

    def truncate(self, fd: int, size: int) -> None:
        self._around("truncate", lambda: super(Doomed, self).truncate(fd, size))


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a signal that cannot be caught was survived")


@dataclass
class Writer:
    """One process. `own` maps each shared session to the runs of this slot in it and their versions."""

    orders: Orders
    own: dict[str, dict[str, int]] = field(default_factory=dict)
    number: int = 0

    def __post_init__(self) -> None:
        orders = self.orders
        self.chance = random.Random(f"{orders.slot} {orders.generation} {orders.doom}")
        self.storage = STORAGES[orders.suffix](orders.root, durability=orders.durability, lock_timeout=60)

    def run(self) -> None:
        recent: dict[str, int] = {}
        for session_id in SHARED:
            session = self.storage.read(session_id)
            history = [] if session is None else [run.model_dump(exclude_none=True) for run in session.runs]
            self.own[session_id] = {one: at for one, at in items_of(history) if maker(one) == self.orders.slot}
            recent |= dict(items_of(history[-_RECENT:]))
        if self.orders.again is not None:
            session_id, run_id, version = self.orders.again
            if run_id in recent or run_id not in self.own[session_id]:
                self._append(session_id, run_id, version)
        actions = [self.append] * 5 + [self.ask] * 2 + [self.finish] * 3 + [self.upsert] * 3 + [self.update] * 3
        actions += [self.append_to_deleted] * 3 + [self.delete]
        while True:
            if select.select([0], [], [], 0)[0]:
                sys.stdin.readline()
                _say("idle")
                sys.stdin.readline()
            if self.orders.large and self.chance.random() < 0.3:
                self._append(LARGE, self._next("keep"), 1, _LARGE_SIZE)
            self.chance.choice(actions)()

    def _next(self, fate: str | None = None) -> str:
        self.number += 1
        fate = fate or self.chance.choice(("keep", "keep", "fleeting"))
        return f"{self.orders.slot}-{self.orders.generation}-{self.number}-{fate}"

    def _append(self, session_id: str, run_id: str, version: int, size: int = _SIZE, *, create: bool = True) -> None:
        run = made(run_id, version, size)
        with _Said(session_id, append=True, puts=[[run_id, version]]) as said:
            try:
                self.storage.append(session_id, run, user_id=OWNERS[session_id], entity_id="geographer", create=create)
            except SessionNotFound:
                if create:
                    raise
                said.outcome = "no"
        if session_id in SHARED:
            self.own[session_id][run_id] = version

    def append(self) -> None:
        self._append(self.chance.choice(SHARED), self._next(), 1)

    def ask(self) -> None:
        self._append(self.chance.choice(SHARED), self._next(), 0)

    def finish(self) -> None:
        """Finish a run that this process or one of its predecessors asked."""
        session_id = self.chance.choice(SHARED)
        waiting = [run_id for run_id, version in self.own[session_id].items() if version == 0]
        if waiting:
            self._append(session_id, self.chance.choice(waiting[-3:]), 1)

    def upsert(self) -> None:
        """Read, then add, change and remove runs of one's own, in one call."""
        session_id = self.chance.choice(SHARED)
        session = self.storage.read(session_id)
        if session is None:
            return
        own = self.own[session_id]
        added = [self._next() for _ in range(self.chance.choice((0, 1, 1, 2)))]
        finished = [run_id for run_id, version in own.items() if version]
        changed = self.chance.choice(finished) if finished and self.chance.random() < 0.5 else None
        fleeting = [run_id for run_id in finished if is_fleeting(run_id) and run_id != changed]
        removed = self.chance.sample(fleeting, self.chance.randint(0, min(2, len(fleeting))))
        versions = dict.fromkeys(added, 1) | ({changed: own[changed] + 1} if changed else {})
        session.history = [entry for entry in session.history if getattr(entry, "run_id", None) not in removed]
        for place, entry in enumerate(session.history):
            if changed is not None and getattr(entry, "run_id", None) == changed:
                session.history[place] = made(changed, versions[changed], _SIZE)
        session.history += [made(run_id, 1, _SIZE) for run_id in added]
        with _Said(session_id, puts=[list(item) for item in versions.items()], removes=removed):
            self.storage.upsert(session)
        own.update(versions)
        for run_id in removed:
            del own[run_id]

    def update(self) -> None:
        """Change the state, the name, or both in one call."""
        session_id = self.chance.choice(SHARED)
        if not self.own[session_id]:
            return
        which = self.chance.choice(("state", "state", "name", "both"))
        item_id = self._next("keep")
        values: dict[str, Any] = {} if which == "name" else {"session_state": {"id": item_id}}
        if which != "state":
            values["name"] = item_id
        puts = [[item_id, 1]] if "session_state" in values else []
        with _Said(session_id, puts=puts, name=values.get("name"), update=True):
            self.storage.update(session_id, **values)

    def append_to_deleted(self) -> None:
        self._append(self.chance.choice(DELETED), self._next("keep"), 1, create=self.chance.random() < 0.7)

    def delete(self) -> None:
        session_id = self.chance.choice(DELETED)
        with _Said(session_id, deletes=True):
            self.storage.delete_session(session_id)


class _Said:
    """Says before and after a call what it does."""

    def __init__(self, session_id: str, **what: Any) -> None:
        self._what = {"session": session_id, **what}
        self.outcome = "ok"

    def __enter__(self) -> "_Said":
        _say("try", time.monotonic_ns(), self._what)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            _say(self.outcome, time.monotonic_ns())


def _say(*words: Any) -> None:
    os.write(1, json.dumps(words).encode() + b"\n")


def main(orders: Orders) -> None:
    manifest_writer._SPARE_LINES = 8  # so that it is compacted all the time
    if orders.doom is not None:
        filesystem.system = Doomed(*orders.doom)
    Writer(orders).run()


if __name__ == "__main__":
    main(Orders(**json.loads(sys.argv[1])))
