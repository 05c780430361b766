"""What the writers of a mixed load said, and what follows from it for a document.

Every slot is one writer after the other, so that what a slot does to its own runs has an order. What several slots
do to one thing (a name, a deleted session) is judged by the times at which calls began and ended.
"""

import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.crash.mixed_writer import DELETED
from tests.crash.sealed_runs import Item, is_fleeting, maker, place

ABSENT = -1
NEVER = 1 << 63


@dataclass(slots=True)
class Fate:
    """What is known of one item: its version is at least and at most this; whether it may, or has to, be gone."""

    least: int = ABSENT
    most: int = ABSENT
    may_go: bool = False
    is_gone: bool = False
    is_run: bool = True


@dataclass(slots=True)
class Call:
    """One call of one writer. It took effect, if it did, between `began` and `ended`."""

    what: dict[str, Any]
    began: int
    ended: int = NEVER
    outcome: str = "none"

    @property
    def session(self) -> str:
        return str(self.what["session"])

    @property
    def puts(self) -> dict[str, int]:
        return dict(self.what.get("puts", ()))

    @property
    def removes(self) -> list[str]:
        return list(self.what.get("removes", ()))


@dataclass
class Ledger:
    """Shared by threads; `mutex` guards it."""

    mutex: threading.RLock = field(default_factory=threading.RLock)
    fates: dict[str, dict[str, Fate]] = field(default_factory=lambda: defaultdict(dict))
    names: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))
    lives: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))
    """The calls that append to a session of DELETED, or delete it."""
    cut_off: list[Call] = field(default_factory=list)
    """Calls in which a writer was killed, and whose items nobody touched since."""
    buried: set[str] = field(default_factory=set)
    """Items that were gone when everything stood still: they must not come back."""
    seen: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    acknowledged: int = 0

    def begin(self, what: dict[str, Any], when: int) -> Call:
        """A writer says what it is going to do."""
        call = Call(what, when)
        with self.mutex:
            if call.session in DELETED:
                self.lives[call.session].append(call)
                return call
            fates = self.fates[call.session]
            for item_id, version in call.puts.items():
                fate = fates.setdefault(item_id, Fate(is_run="update" not in what))
                fate.most = max(fate.most, version)
            for item_id in call.removes:
                fates[item_id].may_go = True
            touched = {*call.puts, *call.removes}
            self.cut_off = [one for one in self.cut_off if not touched & {*one.puts, *one.removes}]
            if call.what.get("name") is not None:
                self.names[call.session].append(call)
        return call

    def end(self, call: Call, outcome: str, when: int) -> None:
        """A writer says that a call returned: `ok`, or `no` when it refused; `killed` when it was."""
        with self.mutex:
            call.outcome, call.ended = outcome, when
            self.acknowledged += outcome == "ok"
            if call.session in DELETED:
                return
            if outcome == "killed":
                self.cut_off.append(call)
                return
            for item_id, version in call.puts.items():
                fate = self.fates[call.session][item_id]
                fate.least = max(fate.least, version)
            for item_id in call.removes:
                self.fates[call.session][item_id].is_gone = True

    def floor(self, session_id: str, *, runs: bool = False) -> dict[str, int]:
        """The items (or the `runs` alone) that a read which begins now has to find, and their least versions."""
        with self.mutex:
            fates = [(one, fate) for one, fate in self.fates[session_id].items() if fate.is_run or not runs]
            return {one: fate.least for one, fate in fates if fate.least != ABSENT and not is_fleeting(one)}

    def witness(self, session_id: str, items: Sequence[Item]) -> None:
        """A reader saw this: from now on it has to stay."""
        with self.mutex:
            self.seen[session_id].update(item_id for item_id, _ in items)
            if session_id not in DELETED:
                for item_id, version in items:
                    fate = self.fates[session_id].get(item_id)
                    if fate is not None:
                        fate.least = max(fate.least, version)

    # What a document has to hold when no call is in progress

    def judge(self, session_id: str, items: Sequence[Item]) -> None:
        """Hold the items of a document against what was said."""
        assert_in_order(items)
        with self.mutex:
            if session_id in DELETED:
                self._judge_lives(session_id, {item_id for item_id, _ in items})
            else:
                self._judge_fates(session_id, dict(items))

    def _judge_fates(self, session_id: str, items: dict[str, int]) -> None:
        fates = self.fates[session_id]
        assert items.keys() <= fates.keys(), f"{items.keys() - fates.keys()} were never tried, or came back"
        assert self.seen[session_id] <= fates.keys() | self.buried, "a reader saw what was never tried"
        for item_id, fate in list(fates.items()):
            version = items.get(item_id)
            if version is None:
                assert fate.least == ABSENT or fate.may_go, f"{item_id} of {session_id} is lost"
                del fates[item_id]
                self.buried.add(item_id)
            else:
                assert not fate.is_gone, f"{item_id} was removed and is there"
                assert fate.least <= version <= fate.most, f"{item_id} is {version}: {fate}"
                fates[item_id] = Fate(version, version, is_run=fate.is_run)
        for call in [call for call in self.cut_off if call.session == session_id]:
            done = {items.get(item_id, ABSENT) >= version for item_id, version in call.puts.items()}
            done |= {item_id not in items for item_id in call.removes}
            assert len(done) <= 1, f"half of {call} was done"
            self.cut_off.remove(call)

    def _judge_lives(self, session_id: str, ids: set[str]) -> None:
        """A run is there unless a deletion ended after it began; it is not, if one began after it ended."""
        calls = self.lives[session_id]
        deletions = [call for call in calls if call.what.get("deletes")]
        tried = set()
        for call in calls:
            for item_id in call.puts:
                tried.add(item_id)
                if item_id in ids:
                    assert call.outcome != "no", f"{item_id} was refused and is there"
                    assert not any(one.outcome == "ok" and one.began > call.ended for one in deletions), item_id
                    call.outcome = "ok"  # from now on it has to stay
                elif call.outcome == "ok":
                    assert any(one.ended > call.began for one in deletions), f"{item_id} of {session_id} is lost"
        assert ids <= tried, f"{ids - tried} were never tried, or came back"
        assert self.seen[session_id] <= tried | self.buried, "a reader saw what was never tried"
        self.buried |= tried - ids
        self.lives[session_id] = [Call(call.what, 0, 0, "ok") for call in calls if ids & call.puts.keys()]

    def judge_name(self, session_id: str, name: str | None, ids: set[str]) -> None:
        """The name is one of those that were given, and no later one was acknowledged. With the state or not at all."""
        with self.mutex:
            calls = self.names[session_id]
            (given,) = [call for call in calls if call.what["name"] == name] or [Call({"session": session_id}, 0, 0)]
            later = [call for call in calls if call.outcome == "ok" and call.began > given.ended]
            assert not later, f"{session_id} is named {name!r} and not {later}"
            assert given.puts.keys() <= ids, f"{name!r} without the state"
            self.names[session_id] = [Call({**given.what, "name": name, "puts": []}, 0, 0, "ok")]


def assert_in_order(items: Sequence[Item]) -> None:
    """No item stands twice, and those of each slot stand in the order in which it made them."""
    ids = [item_id for item_id, _ in items]
    assert len(ids) == len(set(ids)), f"twice: {[one for place, one in enumerate(ids) if one in ids[:place]]} in {ids}"
    by_slot: dict[str, list[str]] = defaultdict(list)
    for item_id in ids:
        by_slot[maker(item_id)].append(item_id)
    for own in by_slot.values():
        assert own == sorted(own, key=place), f"in another order: {own}"


def assert_holds(items: Sequence[Item], floor: dict[str, int], *, whole: bool, torn: bool = False) -> None:
    """What a reader saw (all entries, or the `whole` is not what it asked for) holds what it had to find.

    In a `torn` document, a run that was being finished may be missing for a reader without the manifest.
    """
    assert_in_order(items)
    there = dict(items)
    first: dict[str, tuple[int, int]] = {}
    for item_id in there:
        first.setdefault(maker(item_id), place(item_id))
    for item_id, least in floor.items():
        if not whole and (maker(item_id) not in first or place(item_id) < first[maker(item_id)]):
            continue
        if torn and least == 0 and item_id not in there:
            continue
        assert there.get(item_id, ABSENT) >= least, f"{item_id}, version {least}, is missing: {there.get(item_id)}"
