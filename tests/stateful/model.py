"""What a store should hold, as plain dicts: the rules of the specification, written a second time and simply."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from typing import Any

from tests.oracle import STATEFUL

Plain = dict[str, Any]
FREE = ("name", "tags", "metadata")
"""The fields of a header that may change."""


class Refused(Exception):
    """The operation must raise the error of this name, and change nothing."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass
class Kept:
    """One session. The times of an `update` and of a removal are not known to the model, and stand as None."""

    header: Plain
    history: list[Plain] = field(default_factory=list)

    @property
    def owner(self) -> str | None:
        value: str | None = self.header.get("user_id")
        return value

    @property
    def kind(self) -> str:
        return str(self.header["kind"])

    @property
    def entity(self) -> str | None:
        value: str | None = self.header.get(f"{self.kind}_id")
        return value

    @property
    def runs(self) -> list[Plain]:
        return [entry for entry in self.history if entry["type"] == "run"]

    def run(self, run_id: str) -> Plain | None:
        return next((run for run in self.runs if run["run_id"] == run_id), None)

    def current(self) -> Plain:
        """The newest state by key, empty values left out."""
        found: Plain = {}
        for entry in self.history:
            found.update({name: entry[name] for name in STATEFUL if name in entry})
        return {name: value for name, value in found.items() if value not in ({}, "")}

    def tail(self, last_runs: int | None) -> list[Plain]:
        """The entries from the last so many runs on."""
        if last_runs is None:
            return self.history
        places = [place for place, entry in enumerate(self.history) if entry["type"] == "run"]
        if last_runs == 0:
            return []
        return self.history[places[-last_runs] if last_runs <= len(places) else 0 :]

    def check(self, user_id: str | None, kind: str | None) -> None:
        if user_id is not None and user_id != self.owner:
            raise Refused("OwnerMismatch")
        if kind is not None and kind != self.kind:
            raise Refused("KindMismatch")

    def append(self, run: Plain) -> None:
        known = self.run(run["run_id"])
        if known is None:
            self.history.append(copy.deepcopy(run))
        elif known["status"] == run["status"] == "unfinished":
            if _goes_on(known, run):
                self.history[self.history.index(known)] = known if _says_the_same(known, run) else copy.deepcopy(run)
            elif not _goes_on(run, known):
                raise Refused("Conflict")
        elif known["status"] == "unfinished":
            if run["status"] != "unfinished" and not _is_contained(known, run):
                raise Refused("Conflict")
            self.history[self.history.index(known)] = copy.deepcopy(run)
        elif not (_goes_on(run, known) if run["status"] == "unfinished" else _says_the_same(run, known)):
            raise Refused("Conflict")

    def update(self, state: Plain, header: Plain) -> None:
        if state:
            self.history.append({"type": "update", "created_at": None, **copy.deepcopy(state)})
        for name, value in header.items():
            self.header.pop(name, None)
            if value:
                self.header[name] = copy.deepcopy(value)


def _goes_on(old: Plain, new: Plain) -> bool:
    """Whether an unfinished run has all messages of an older form of it, or their beginnings."""
    before, after = old.get("messages", []), new.get("messages", [])
    return len(before) <= len(after) and all(
        one.keys() <= other.keys() and all(str(other[key]).startswith(str(one[key])) for key in one)
        for one, other in zip(before, after, strict=False)
    )


def _is_contained(old: Plain, new: Plain) -> bool:
    """Whether a finished run has all messages of an unfinished form of it. The model may have been asked again for the
    last text of the assistant."""
    messages = old.get("messages", [])
    if messages and messages[-1].keys() <= {"role", "content"} and messages[-1]["role"] == "assistant":
        others = new.get("messages", [])[len(messages) - 1 :]
        if others and others[0]["role"] == "assistant":
            messages = messages[:-1]
    return _goes_on({"messages": messages}, new)


def _says_the_same(one: Plain, other: Plain) -> bool:
    return _substance(one) == _substance(other)


def _substance(run: Plain) -> str:
    """What a run says; when it was made and what it cost may differ when it is sent again."""
    return json.dumps({key: run[key] for key in run if key not in ("created_at", "metrics")}, sort_keys=True)


@dataclass
class Draft:
    """A session that somebody read and changes: what it says now, and what it said when it was read or stored."""

    session_id: str
    header: Plain
    history: list[Plain]
    current: Plain
    base: Draft | None = None

    @classmethod
    def read(cls, session_id: str, kept: Kept, last_runs: int | None) -> Draft:
        draft = cls(session_id, *copy.deepcopy((kept.header, kept.tail(last_runs), kept.current())))
        draft.stored()
        return draft

    def stored(self) -> None:
        self.base = Draft(self.session_id, *copy.deepcopy((self.header, self.history, self.current)))

    def runs(self) -> dict[str, Plain]:
        return {entry["run_id"]: entry for entry in self.history if entry["type"] == "run"}


def upsert(kept: Kept | None, mine: Draft) -> Kept:
    """The session after an upsert of `mine`. Raises Refused."""
    base = mine.base
    if kept is None:
        if base is not None:
            raise Refused("SessionNotFound")
        fresh = Kept(copy.deepcopy(mine.header), copy.deepcopy(mine.history))
        fresh.update({name: value for name, value in mine.current.items() if fresh.current().get(name) != value}, {})
        return fresh
    assert base is not None
    if kept.kind != mine.header["kind"]:
        raise Refused("KindMismatch")
    if mine.header.get("user_id", kept.owner) != kept.owner or base.header.get("user_id") != kept.owner:
        raise Refused("OwnerMismatch")
    result = copy.deepcopy(kept)
    before, here, there = base.runs(), mine.runs(), {run["run_id"]: run for run in kept.runs}
    for run_id in {**before, **here}:
        merged = _merged(before.get(run_id), here.get(run_id), there.get(run_id))
        known = result.run(run_id)
        if known is not None and merged is None:
            result.history.remove(known)
            result.header.setdefault("removed", {})[run_id] = None
        elif known is not None and merged is not None:
            result.history[result.history.index(known)] = copy.deepcopy(merged)
        elif merged is not None:
            result.history.append(copy.deepcopy(merged))
    for name in (*FREE, "agent_id", "team_id", "workflow_id"):
        value = _three_way(base.header.get(name), mine.header.get(name), kept.header.get(name))
        result.header.pop(name, None)
        if value is not None:
            result.header[name] = value
    state = {}
    for name in STATEFUL:
        old, new, now = base.current.get(name), mine.current.get(name), kept.current().get(name)
        if _three_way(old, new, now) != now:
            state[name] = new if new is not None else {} if name in ("session_state", "session_data") else ""
    result.update(state, {})
    return result


def _merged(old: Plain | None, new: Plain | None, now: Plain | None) -> Plain | None:
    if old is None and new is not None and now is not None and now["status"] == "unfinished" != new["status"]:
        if not _is_contained(now, new):
            raise Refused("Conflict")
        return new
    merged: Plain | None = _three_way(old, new, now)
    return merged


def _three_way(old: Any, new: Any, now: Any) -> Any:
    if new in (old, now):
        return now
    if now != old:
        raise Refused("Conflict")
    return new
