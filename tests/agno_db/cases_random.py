"""Random calls return the same on a `LocalDb` as on agno's SqliteDb (3.x). The seeds are fixed."""

import copy
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agno.db.schemas import UserMemory
from agno.db.sqlite import SqliteDb
from agno.models.message import Message
from agno.run.agent import RunOutput
from agno.run.base import RunStatus
from agno.run.team import TeamRunOutput
from agno.run.workflow import WorkflowRunOutput
from agno.session import AgentSession, TeamSession, WorkflowSession

from localstore.errors import OwnerMismatch
from localstore.integrations.agno_db import LocalDb
from tests.agno_db.parts import AGENT, DATABASE, TEAM, WORKFLOW, opened

KINDS: dict[str, tuple[Any, Any, Any]] = {
    "agent": (AGENT, AgentSession, RunOutput),
    "team": (TEAM, TeamSession, TeamRunOutput),
    "workflow": (WORKFLOW, WorkflowSession, WorkflowRunOutput),
}
SEEDS = 200 if os.environ.get("LOCALSTORE_TESTS") == "long" else 5
START = 1_700_000_000
STATUSES = (RunStatus.completed, RunStatus.paused, RunStatus.error, RunStatus.cancelled, RunStatus.running)


def comparable(value: Any) -> Any:
    """Return a result as plain values, without what differs: the times of writes, and empty parts of a mapping."""
    if isinstance(value, (AgentSession, TeamSession, WorkflowSession)):
        return comparable({**value.to_dict(), "runs": value.runs, "class": type(value).__name__})
    if isinstance(value, (RunOutput, TeamRunOutput, WorkflowRunOutput, UserMemory)):
        return comparable({**value.to_dict(), "class": type(value).__name__})
    if isinstance(value, dict):
        left_out = {"updated_at", "created_at"} if "run_data" in value else {"updated_at"}
        left_out |= {key for key in ("runs", "workflow_data", "workflow_name") if not value.get(key)}
        return {key: comparable(item) for key, item in value.items() if key not in left_out}
    return [comparable(item) for item in value] if isinstance(value, (list, tuple)) else value


class Both:
    """A `LocalDb` and a SqliteDb with the same content, and what is needed to choose the next call."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.mine = self._opened(folder / "store")
        self.theirs = SqliteDb(db_file=str(folder / "sqlite.db"))
        self.kinds: dict[str, str] = {}
        self.owners: dict[str, str | None] = {}
        self.runs: dict[str, str] = {}
        self.step = 0

    def _opened(self, folder: Path) -> LocalDb:
        form: Any = self.random.choice(["json", "yaml"])
        return opened(folder) if DATABASE else LocalDb(folder, durability="relaxed", format=form)

    def same(self, call: Callable[[Any], Any], *, ordered: bool = True) -> Any:
        """Make a call on both, and return the result. Fails if the results differ."""
        results = []
        for db in (self.mine, self.theirs):
            try:
                results.append(comparable(call(db)))
            except OwnerMismatch:
                results.append(None)  # SqliteDb returns None
            except Exception as error:  # noqa: BLE001 - both must raise the same
                results.append(type(error).__name__)
        if not ordered:
            results = [sorted(result, key=lambda item: json.dumps(item, sort_keys=True)) for result in results]
        assert results[0] == results[1], results
        return results[0]

    def sometimes(self, chance: float, **values: Any) -> dict[str, Any]:
        """Return each of the given arguments with this chance, with one of its values."""
        return {name: self.random.choice(some) for name, some in values.items() if self.random.random() < chance}

    def create(self, session_id: str) -> None:
        kind, user = self.random.choice(list(KINDS)), self.random.choice(["alice", "bob", None])
        if session_id in self.kinds:
            if self.owners[session_id] is None:
                return
            user = "mallory"
        data = {"session_state": {"n": self.random.randrange(9), "deep": {"x": [1, None, "x"]}}, "extra": 1}
        data |= self.sometimes(0.5, session_name=["Trip", "trip home", "Work"])
        fields = {"session_data": data, "metadata": {"a": 1}, f"{kind}_id": f"{kind}-1", f"{kind}_data": {"name": kind}}
        it = KINDS[kind][1](session_id=session_id, user_id=user, created_at=START + self.step, **fields)
        if self.same(lambda db: db.upsert_session(copy.deepcopy(it)) is not None or None):
            self.kinds[session_id], self.owners[session_id] = kind, user

    def modify(self, session_id: str) -> None:
        """Read a session as one of any kind, change it, and store it."""
        kind, field = self.random.choice(list(KINDS)), self.random.randrange(4)

        def change(db: Any) -> Any:
            it = db.get_session(session_id, KINDS[kind][0])
            if it is None:
                return None
            if field == 0:
                it.metadata = {"step": self.step}
            elif field == 1:
                it.session_data["session_state"]["n"] = self.step
            else:
                it.session_data["session_name" if field == 2 else "session_metrics"] = f"at {self.step}"
            return db.upsert_session(it) is not None or None  # SqliteDb returns a session of the stored type

        self.same(change)

    def run(self, session_id: str) -> None:
        if session_id not in self.kinds:
            return
        run_id = f"{session_id}-{self.random.randrange(8)}"
        kind = self.runs.setdefault(run_id, self.random.choice([self.kinds[session_id], *KINDS]))
        calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}]
        texts = self.random.sample(["hi", "no\n x", None, "é\u2028", "[1]"], self.random.randrange(4))
        roles = self.random.choices(["user", "assistant", "tool"], k=len(texts))
        messages = [Message(role=role, content=text) for role, text in zip(roles, texts, strict=True)]
        for message in messages:
            message.tool_calls = self.random.choice([None, None, calls])
        if self.random.random() < 0.4:
            messages.insert(0, Message(role="system", content=self.random.choice(["S", "S2"])))
        fields = {f"{kind}_id": f"{kind}-1", "status": self.random.choice(STATUSES), "created_at": START + self.step}
        fields |= self.sometimes(0.3, content=["hi", {"a": [1]}], metadata=[{"type": "q", "error": 1}])
        if kind != "workflow":
            fields |= {"messages": messages} | self.sometimes(0.2, session_state=[{"n": 1}], parent_run_id=["x"])
        it = KINDS[kind][2](run_id=run_id, session_id=session_id, **fields)
        index, is_mapping = self.random.choice([None, None, 10 + self.step]), self.random.random() < 0.3
        self.same(
            lambda db: db.upsert_run(
                it.to_dict() if is_mapping else copy.deepcopy(it), session_id, self.owners[session_id], index
            )
        )

    def read(self, session_id: str) -> None:
        some = self.sometimes(
            0.4, session_type=[AGENT, TEAM, WORKFLOW], user_id=["alice"], deserialize=[False], runs_limit=[1, 3]
        )
        self.same(lambda db: db.get_session(session_id, **some))
        filters = self.sometimes(
            0.25,
            session_type=[AGENT, TEAM, WORKFLOW],
            user_id=["alice", "bob"],
            start_timestamp=[START + 20],
            end_timestamp=[START + 40],
            limit=[1, 3],
            page=[0, 1, 2],
            sort_by=["created_at", "session_id"],
            sort_order=["asc", "desc"],
            include_runs=[False],
            deserialize=[False],
        )
        self.same(lambda db: db.get_sessions(**filters))
        wanted = self.sometimes(0.3, agent_id=["agent-1"], status=list(STATUSES), sort_by=["run_index"], limit=[2])
        self.same(lambda db: db.get_runs(session_id=session_id, **wanted))
        self.same(lambda db: db.get_runs(session_id=session_id, deserialize=False))
        self.same(lambda db: db.get_runs(deserialize=False)[0], ordered=False)

    def remove(self, session_id: str) -> None:
        run_id = f"{session_id}-{self.random.randrange(8)}"
        if self.same(lambda db: db.delete_run(run_id)):
            del self.runs[run_id]
        user = self.random.choice(["alice", "bob"])
        if self.random.random() < 0.3 and self.same(lambda db: db.delete_session(session_id, user)):
            del self.kinds[session_id]
            self.runs = {run: kind for run, kind in self.runs.items() if not run.startswith(session_id)}

    def rename(self, session_id: str) -> None:
        if session_id in self.kinds:
            some = (KINDS[self.kinds[session_id]][0], f"named at {self.step}", self.owners[session_id])
            self.same(lambda db: db.rename_session(session_id, *some))


def case_random_calls_return_the_same(folder: Path) -> None:
    """They differed in the order of unsorted listings, in rows, in `include_runs` and `run_index`, and in sessions that
    were asked for as another type."""
    for seed in range(SEEDS):
        both = Both(folder / str(seed), seed)
        calls = [both.create, both.modify, both.run, both.run, both.run, both.read, both.remove, both.rename]
        for both.step in range(60):
            try:
                both.random.choice(calls)(f"s{both.random.randrange(4)}")
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, step {both.step}: {error}") from error
        for session_id in both.kinds:
            for kind in KINDS.values():
                both.same(lambda db: db.get_session(session_id, kind[0]))  # noqa: B023 - called at once
