"""agno 1.x on localstore, beside agno's own JsonStorage and SqliteStorage, in one process.

    python -m tests.benchmarks.agno [--runs 1000] [--rounds 30] [--folder DIR]

Runs with agno and sqlalchemy installed. Medians of interleaved turns. One turn is what agno does with its storage in
one run of an agent: read the session, then upsert it with one more run. The sessions have `--runs` runs of about 1.1 KB
of text; with `--history` each repeats the messages of the three before it, as `add_history_to_messages` does.
"""

import argparse
import copy
import gc
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from localstore.integrations.agno import JsonStorage
from tests.benchmarks.store import ANSWER, QUESTION
from tests.benchmarks.timing import table

TOKENS = {"input_tokens": 310, "output_tokens": 120, "total_tokens": 430, "prompt_tokens": 310, "time": 0.8}
NONE = ("audio_tokens", "input_audio_tokens", "output_audio_tokens", "cached_tokens", "cache_write_tokens")


def new_run(runs: list[dict[str, Any]], *, history: bool) -> dict[str, Any]:
    """A run as agno's RunResponse.to_dict() gives it."""
    now = int(time.time())
    plain = {"from_history": False, "stop_after_tool_call": False, "created_at": now}
    messages = [
        {"content": QUESTION, "role": "user", **plain},
        {"content": ANSWER, "role": "assistant", "metrics": TOKENS, **plain},
    ]
    repeated = [
        {**message, "from_history": True}
        for run in (runs[-3:] if history else [])
        for message in run["messages"]
        if not message["from_history"]
    ]
    return {
        "content": ANSWER,
        "content_type": "str",
        "metrics": {**{key: [value] for key, value in TOKENS.items()}, **{key: [0] for key in NONE}},
        "model": "gpt-4o-mini",
        "model_provider": "OpenAI",
        "run_id": str(uuid4()),
        "agent_id": "geographer",
        "session_id": "s1",
        "created_at": now,
        "status": "RUNNING",
        "messages": [*repeated, *messages],
    }


class Side:
    """One storage, and the runs of its session."""

    def __init__(self, storage: Any, *, history: bool) -> None:
        self.storage = storage
        self.history = history
        self.runs: list[dict[str, Any]] = []
        self.next: Any = None

    def prepare(self) -> None:
        """One more run, and the session as agno gives it: all in new objects."""
        from agno.storage.session import AgentSession

        self.runs.append(new_run(self.runs, history=self.history))
        self.next = AgentSession(
            session_id="s1",
            agent_id="geographer",
            user_id="alice",
            memory={"summaries": {}, "memories": {}, "runs": copy.deepcopy(self.runs)},
            session_data={
                "session_state": {"current_session_id": "s1"},
                "session_metrics": {**TOKENS, "input_tokens": 310 * len(self.runs)},
            },
            agent_data={"agent_id": "geographer", "model": {"id": "gpt-4o-mini", "provider": "OpenAI"}},
            created_at=int(time.time()),
        )

    def upsert(self) -> float:
        taken, stored = timed(lambda: self.storage.upsert(self.next))
        assert stored is not None
        return taken

    def read(self) -> float:
        taken, session = timed(lambda: self.storage.read("s1"))
        assert len(session.memory["runs"]) == len(self.runs)
        return taken


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds, and what came of it. The many objects of the benchmark itself do not burden the collector."""
    gc.collect()
    gc.freeze()
    begin = time.perf_counter()
    result = call()
    taken = time.perf_counter() - begin
    gc.unfreeze()
    return taken * 1000, result


def main() -> None:
    from agno.storage.json import JsonStorage as AgnoJsonStorage
    from agno.storage.sqlite import SqliteStorage

    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--history", action="store_true")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="localstore-benchmark-", dir=args.folder))
    taken: dict[tuple[str, str], list[float]] = {}
    try:
        opened: dict[str, Callable[[], Any]] = {
            "localstore": lambda: JsonStorage(folder / "ours"),
            "agno JsonStorage": lambda: AgnoJsonStorage(folder / "json"),
            "agno SqliteStorage": lambda: SqliteStorage(table_name="sessions", db_file=str(folder / "agno.db")),
        }
        sides = {name: Side(make(), history=args.history) for name, make in opened.items()}
        for side in sides.values():
            side.storage.create()
            for _ in range(args.runs - 1):
                side.runs.append(new_run(side.runs, history=args.history))
            side.prepare()
            side.upsert()
        for _ in range(args.rounds):
            for name, side in sides.items():
                taken.setdefault((name, "read"), []).append(side.read())
                side.prepare()
                taken.setdefault((name, "upsert"), []).append(side.upsert())
                side.storage = opened[name]()  # as in a new process
                taken.setdefault((name, "first read"), []).append(side.read())
                side.prepare()
                taken.setdefault((name, "first upsert"), []).append(side.upsert())
    finally:
        shutil.rmtree(folder)
    medians = {key: statistics.median(times) for key, times in taken.items()}
    table(
        f"Sessions of {args.runs} runs, ms", [(f"{name}: {what}", value, "") for (name, what), value in medians.items()]
    )
    ours = medians["localstore", "upsert"]
    table(
        "Ratios",
        [
            ("upsert: agno JsonStorage / localstore", medians["agno JsonStorage", "upsert"] / ours, "target >= 20"),
            ("upsert: agno SqliteStorage / localstore", medians["agno SqliteStorage", "upsert"] / ours, "target >= 10"),
            (
                "read: localstore / agno SqliteStorage",
                medians["localstore", "read"] / medians["agno SqliteStorage", "read"],
                "target <= 1",
            ),
            (
                "first read: localstore / agno SqliteStorage",
                medians["localstore", "first read"] / medians["agno SqliteStorage", "first read"],
                "",
            ),
        ],
    )


if __name__ == "__main__":
    main()
