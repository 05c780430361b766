"""The power fails at every moment of every operation, and the disk keeps what it likes of what was not synced.

`power.py` says what is assumed. The operations come from the table in `test_faults.py`.
"""

from __future__ import annotations

import json
import logging
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localstore import DocumentBroken, JsonStorage, Message, Run, ToolCall, YamlStorage
from localstore.format.values import to_json_value
from tests import oracle
from tests.crash.faults import UnsyncedSystem, installed
from tests.crash.power import HOW, Disk, RecordingSystem, materialise, restarted, state
from tests.crash.test_faults import FORMATS, OPERATIONS_AND_FORMATS, Operation, Scene, run, with_steps
from tests.effort import rounds, sampled

pytestmark = pytest.mark.filterwarnings("ignore:Session 's' has .* not read")
Storage = JsonStorage | YamlStorage
Value = dict[str, Any] | None
"""A session as plain values, None where there is none."""
Versions = dict[str, list[Value]]
"""By id, what a session may be after a power cut: what was made durable last, and everything since."""
STATES = rounds(1, 2, 300)
"""How many states there are at each moment, besides the corners."""
_SHARES = rounds(3, 2, 1)
"""Below the level `long`, each moment has one of so many shares of its states, in turn."""
_IDS = ("s", "other", "t", "s/a")
_QUESTION = re.compile(rb"question [0-9]+")
_log = logging.getLogger(__name__)


def _sessions(storage: Storage) -> dict[str, Value]:
    """Everything that the store says of its sessions."""
    found: dict[str, Value] = {}
    for session_id in _IDS:
        try:
            session = storage.read(session_id)
        except DocumentBroken as error:
            _without_content(error)
            session = None
        found[session_id] = (
            None if session is None else {**to_json_value(session), "history": to_json_value(session.history)}
        )
    return found


def _without_content(error: DocumentBroken) -> Path:
    """Return the document that an error is about, which has no content: nobody can tell what a power cut left of an
    unsynced new session from what a sync tool puts in place of a document. A person deletes it."""
    path = Path(str(error.path))
    if path.read_bytes().strip(b"\0"):
        raise error
    return path


class Cuts:
    """Operations that were recorded, and for each moment what may be there after a power cut in it."""

    def __init__(
        self,
        kind: type[Storage],
        seed: str,
        folder: Path,
        whole: dict[str, set[str]] | None = None,
    ) -> None:
        """`whole` are the runs that have to be there all the time, by session, in their place or in the trash.
        `again` is what whoever was cut off tries again in the session s."""
        self.kind = kind
        self.whole = whole or {}
        self.seed = seed
        self.folder = folder
        self.again: Run | None = None
        self.tried = 0
        self.turn = random.Random(seed).randrange(_SHARES)

    def cut(self, system: RecordingSystem, versions: Versions) -> None:
        """Cut the power in every moment that was recorded since the last call, and try what is left."""
        for number, (disk, what) in sampled(enumerate(zip(system.moments, system.trace, strict=True)), 7, 2):
            self.turn += 1
            for turn in range(self.turn % _SHARES, len(HOW) - 1 + STATES, _SHARES):
                how = HOW[min(turn, len(HOW) - 1)]
                where = f"after {number} ({what}), {how}, turn {turn}"
                self._try(where, disk, how, random.Random(f"{self.seed} {self.tried}"), versions)
                self.tried += 1
        system.moments.clear()
        system.trace.clear()

    def _try(self, where: str, disk: Disk, how: str, chance: random.Random, versions: Versions) -> None:
        root = self.folder / "after"
        with installed(materialise(root, *state(disk, how, chance))), restarted():
            before = {path: path.read_bytes() for path in oracle.document_paths(root)}
            kept = oracle.kept(root)
            lost = [session_id for session_id, ids in self.whole.items() if not ids <= kept.get(session_id, set())]
            assert not lost, f"{where}: {lost} is neither in its place nor in the trash"
            storage = self.kind(root, lock_timeout=1)  # which may repair what a mark names
            opened = {path: path.read_bytes() for path in oracle.document_paths(root)}
            listed_first = chance.random() < 0.5
            listed = {info.session_id: info for info in storage.list_sessions()} if listed_first else {}
            found = _sessions(storage)
            for session_id in _IDS:
                assert may_be(found[session_id], versions.get(session_id, [None])), f"{where}: {found[session_id]}"
            if not listed_first:
                listed = {info.session_id: info for info in storage.list_sessions()}
            assert {path: path.read_bytes() for path in oracle.document_paths(root)} == opened, f"{where}: read wrote"
            there = {session_id: value for session_id, value in found.items() if value is not None}
            runs = {session_id: _runs(value) for session_id, value in there.items()}
            counted = {session_id: info.runs for session_id, info in listed.items() if info.problem is None}
            assert counted == runs, where
            assert {info.session_id: info.runs for info in storage.list_sessions()} == runs, where
            self._go_on(where, root, storage, found, before)
        shutil.rmtree(root)

    def _go_on(
        self, where: str, root: Path, storage: Storage, found: dict[str, Value], before: dict[Path, bytes]
    ) -> None:
        """Sessions are written to as if nothing had happened, and what cannot stay is set aside."""
        left = {path.stem for path in before}
        written = [one for one in _IDS if one in ("s", "other") or found[one] is not None or one in left]
        for number, session_id in enumerate(written, 30):
            try:
                storage.append(session_id, run(number))
            except DocumentBroken as error:
                _without_content(error).unlink()
                storage.append(session_id, run(number))
        documents = oracle.sessions(root)
        for number, session_id in enumerate(written, 30):
            value = found[session_id]
            oracle.assert_own_layout(documents[session_id])
            ids = documents[session_id].run_ids
            known = [] if value is None else [one["run_id"] for one in value["history"] if one["type"] == "run"]
            assert ids == [*known, f"r{number}"], where
        kept = b"".join(path.read_bytes() for path in [*oracle.document_paths(root), *oracle.rescued_copies(root)])
        kept += "\n".join(one.get("text", "") for one in oracle.rescued(root)).encode()
        kept += json.dumps([(one.get("base64"), one.get("entry")) for one in oracle.rescued(root)]).encode()
        for raw in before.values():
            lost = set(_QUESTION.findall(raw)) - set(_QUESTION.findall(kept))
            assert not lost, f"{where}: {lost} was there and is not set aside"
        if self.again is not None:
            storage.append("s", self.again)
            entries = {one["run_id"]: one for one in oracle.sessions(root)["s"].history}
            assert entries[self.again.run_id] == to_json_value(self.again), where
        oracle.assert_locks_free(root)


def _runs(value: dict[str, Any]) -> int:
    return sum(entry["type"] == "run" for entry in value["history"])


def may_be(value: Value, versions: list[Value]) -> bool:
    """Whether a session is one of its versions or, when several of them were on their way, has whole entries of them:
    all of the first version, which is durable, and any of the others, in their order."""
    value, versions = _without_begun(value, versions)
    if value in versions:
        return True
    durable, *later = versions
    if value is None or durable is None or len(later) < 2:
        return False
    others = [one for one in versions if one is not None]
    if _header(value) not in [_header(one) for one in others]:
        return False
    whole = [entry for one in others for entry in one["history"]]
    keys = [_key(entry) for one in others for entry in one["history"]]
    order = list(dict.fromkeys(keys))
    found = [_key(entry) for entry in value["history"]]
    return (
        all(entry in whole for entry in value["history"])
        and {_key(entry) for entry in durable["history"]} <= set(found)
        and found == sorted(set(found), key=order.index)
    )


def _without_begun(value: Value, versions: list[Value]) -> tuple[Value, list[Value]]:
    """Both without a run that stands as unfinished, with the beginning of the run that it was to become: nobody can
    tell whether that had been acknowledged alone, and it says what it is. All that is durable of it is there."""
    for entry in [] if value is None else value["history"]:
        forms = [one for version in versions if version for one in version["history"] if _key(one) == _key(entry)]
        if entry.get("status") != "unfinished" or entry in forms:
            continue
        durable = [one for one in (versions[0] or {"history": []})["history"] if _key(one) == _key(entry)]
        if any(_goes_on(entry, one) for one in forms) and all(
            one["status"] == "unfinished" and _goes_on(one, entry) for one in durable
        ):
            value, *versions = [_without(one, entry) for one in (value, *versions)]
    return value, versions


def _goes_on(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether a run has all messages and items that an older form of it has; of the last message's text that form may
    have the beginning."""
    for name in ("messages", "member_runs", "steps"):
        before, after = old.get(name) or [], (new.get(name) or [])[: len(old.get(name) or [])]
        if name == "messages" and len(before) == len(after) and before and before[-1]["role"] == "assistant":
            text, whole = (message[-1].get("content") or "" for message in (before, after))
            if not whole.startswith(text):
                return False
            before, after = before[:-1], after[:-1]
        if before != after:
            return False
    return True


def _without(value: Value, entry: dict[str, Any]) -> Value:
    if value is None:
        return None
    return {**value, "history": [one for one in value["history"] if _key(one) != _key(entry)]}


def _header(value: dict[str, Any]) -> dict[str, Any]:
    return {key: value[key] for key in value if key != "history"}


def _key(entry: dict[str, Any]) -> str:
    return str(entry.get("run_id") or json.dumps(entry, sort_keys=True))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("operation", "kind"), OPERATIONS_AND_FORMATS, ids=lambda value: getattr(value, "name", None) or value.__name__
)
def test_a_power_cut_at_any_moment_loses_nothing_that_was_acknowledged(
    kind: type[Storage], operation: Operation, tmp_path: Path
) -> None:
    root = tmp_path / "store"
    with installed(UnsyncedSystem()):
        scene = Scene(root.resolve(), kind(root, durability=operation.durability, lock_timeout=1))
        operation.before(scene)
        if not scene.given:
            scene.storage = kind(root, durability=operation.durability, lock_timeout=1)
        before = _sessions(kind(root))
        whole = oracle.kept(scene.root) if operation.moves else {}
    cuts = Cuts(kind, f"{kind.__name__} {operation.name}", tmp_path, whole)
    with installed(system := RecordingSystem(scene.root)):
        operation.work(scene)
    with installed(UnsyncedSystem()):
        after = _sessions(kind(root))
    cuts.cut(system, {session_id: [before[session_id], after[session_id]] for session_id in _IDS})
    system.take("it is acknowledged")
    unsynced = operation.durability == "relaxed"
    cuts.cut(system, {one: [*([before[one]] if unsynced else []), after[one]] for one in _IDS})
    _log.info("%s states after a power cut", cuts.tried)


_STEPS: dict[str, Callable[[Storage, int], object]] = {
    "append": lambda storage, turn: storage.append("s", run(turn, answer="a" * (turn * 97 % 1500))),
    "ask": lambda storage, turn: storage.append("s", run(turn, "unfinished")),
    "finish": lambda storage, turn: storage.append("s", run(turn - 1, answer="the answer")),
    "state": lambda storage, turn: storage.update("s", session_state={"n": turn}),
    "name": lambda storage, turn: storage.update("s", name=f"name {turn}"),
    "create": lambda storage, turn: storage.append("t", run(turn)),
    "delete": lambda storage, _: storage.delete_session("t"),
}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(rounds(1, 3, 60)))
@pytest.mark.parametrize("kind", FORMATS, ids=["json", "yaml"])
def test_a_power_cut_in_a_row_of_operations_keeps_the_synced_ones_and_what_came_before_them(
    kind: type[Storage], number: int, tmp_path: Path
) -> None:
    """One of two handles is relaxed: what it wrote since the last sync of the session may be lost, a new session
    included, and never a durable entry that came after."""
    chance = random.Random(f"{kind.__name__} {number}")
    cuts = Cuts(kind, f"{kind.__name__} row {number}", tmp_path)
    root = tmp_path.resolve() / "store"
    with installed(UnsyncedSystem()):
        full, relaxed = kind(root, lock_timeout=1), kind(root, durability="relaxed", lock_timeout=1)
        full.append("s", run(1), user_id="alice")
        full.append("other", run(1))
        versions: Versions = {session_id: [value] for session_id, value in _sessions(full).items()}
    system = RecordingSystem(root)
    step = ""
    for turn in range(2, 10):
        step = (
            "finish" if step == "ask" else chance.choice([*(one for one in _STEPS if one != "finish"), "append", "ask"])
        )
        storage = chance.choice((full, relaxed))
        with installed(system):
            _STEPS[step](storage, turn)
        with installed(UnsyncedSystem()):
            for session_id, value in _sessions(kind(root)).items():
                if value != versions[session_id][-1]:
                    versions[session_id].append(value)
        cuts.cut(system, versions)
        for session_id in ("t",) if step in ("create", "delete") else ("s",):
            if storage is full or step in ("name", "delete"):
                del versions[session_id][:-1]
        system.take("it is acknowledged")
        cuts.cut(system, versions)
    _log.info("%s states after a power cut", cuts.tried)


def forms_of_a_run(chance: random.Random) -> Iterator[Run]:
    """A run as it is stored again and again: its question, rounds of tools or steps, an answer that is streamed in
    pieces of all sizes, and how it ended."""
    grown = run(4, "unfinished")
    grown.messages[0].content = "question 4 " + "?" * chance.randint(0, 520)
    yield grown.model_copy(deep=True)
    for number in range(chance.randint(0, 2)):
        calls = [ToolCall(id=f"call {number}", name="look", arguments={"at": "x" * chance.randint(0, 300)})]
        grown.messages += [
            Message(role="assistant", tool_calls=calls),
            Message(role="tool", content=chance.choice(PIECES), tool_call_id=f"call {number}"),
        ]
        yield grown.model_copy(deep=True)
    if chance.random() < 0.3:
        for count in range(1, chance.randint(2, 6)):
            grown.steps = with_steps(4, count).steps
            yield grown.model_copy(deep=True)
    else:
        grown.messages.append(Message(role="assistant", content="It is"))
        for _ in range(chance.randint(1, 5)):
            yield grown.model_copy(deep=True)
            more = chance.choice(PIECES) * chance.choice((1, 1, 1, 20))
            grown.messages[-1].content = f"{grown.messages[-1].content}{more}"
    grown.status = chance.choice(("completed", "error"))
    grown.model = chance.choice((None, "m", "gpt-4o-mini"))
    yield grown


PIECES = (
    " ",
    "x",
    "no",
    "\n",
    "\n\nand then",
    " 12",
    '"',
    "\\",
    "\x01",
    "ü",
    "👩",
    " #",
    ": ",
    " as I said",
    " word" * 30,
)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(rounds(2, 3, 400)))
@pytest.mark.parametrize("kind", FORMATS, ids=["json", "yaml"])
def test_a_run_that_grows_keeps_what_it_had_when_the_power_fails(
    kind: type[Storage], number: int, tmp_path: Path
) -> None:
    chance = random.Random(f"{kind.__name__} grows {number}")
    cuts = Cuts(kind, f"{kind.__name__} grows {number}", tmp_path)
    root = tmp_path.resolve() / "store"
    with installed(UnsyncedSystem()):
        storage = kind(root, lock_timeout=1)
        storage.append("s", run(1))
        storage.append("other", run(1))
        versions: Versions = {session_id: [value] for session_id, value in _sessions(storage).items()}
    system = RecordingSystem(root)
    for form in forms_of_a_run(chance):
        cuts.again = form
        steps = form.steps or []
        with installed(system):
            if steps and form.status == "unfinished" and chance.random() < 0.8:
                storage.add_step("s", "r4", steps[-1], number=len(steps) - 1)
            else:
                storage.append("s", form)
        with installed(UnsyncedSystem()):
            versions["s"].append(_sessions(kind(root))["s"])
        cuts.cut(system, versions)
        del versions["s"][:-1]
        system.take("it is acknowledged")
        cuts.cut(system, versions)
    _log.info("%s states after a power cut", cuts.tried)
