"""What an agent's run costs beside its model: on a short and on a long session, and in memory over many runs.

    .venv/bin/python -m tests.benchmarks.agent

The model answers at once, so that all of the time is the agent's and the storage's; writes are durable. Both sessions
take turns. The first figure is in milliseconds, beside the raw cost of two synced writes of the same size.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from localstore import Agent, FunctionModel, JsonStorage, Message, Run, RunContext, Session, ToolCall, YamlStorage

LONG, SHORT = 10_000, 10
ROUNDS = 300
MANY = 2_000
ANSWER = "The train at 7:58 takes two hours and a half. " * 20


def fill(storage: JsonStorage | YamlStorage, session_id: str, runs: int) -> None:
    said = [Message(role="user", content="Which train?"), Message(role="assistant", content=ANSWER)]
    storage.upsert(Session(session_id=session_id, history=[Run(messages=said) for _ in range(runs)]))


def answer(messages: list[Message]) -> str:
    return ANSWER


def answer_after_a_tool(messages: list[Message]) -> str | Message:
    if messages[-1].role == "tool":
        return ANSWER
    return Message(role="assistant", tool_calls=[ToolCall(id="1", name="note", arguments={"city": "Wien"})])


def note(city: str, context: RunContext) -> str:
    """Note a city."""
    context.session_state["seen"] = [*context.session_state.get("seen", [])[-5:], city]
    return "noted"


def ask(agent: Agent) -> None:
    agent.run("Which train?")


def stream(agent: Agent) -> None:
    for _ in agent.stream("Which train?"):
        pass


def raw_writes(file: int) -> None:
    for _ in range(2):
        os.pwrite(file, ANSWER.encode(), 0)
        os.fdatasync(file)


def overhead(folder: Path, kind: type[JsonStorage | YamlStorage], way: Callable[[Agent], None], **options: Any) -> None:
    storage = kind(folder)
    agents = {}
    for runs in (SHORT, LONG):
        fill(storage, str(runs), runs)
        agents[runs] = Agent(session_id=str(runs), storage=storage, add_history_to_messages=True, **options)
        way(agents[runs])
    file = os.open(folder / "raw", os.O_RDWR | os.O_CREAT, 0o600)
    times: dict[int, list[float]] = {SHORT: [], LONG: [], 0: []}
    for _ in range(ROUNDS):
        for runs, agent in agents.items():
            began = perf_counter()
            way(agent)
            times[runs].append(1000 * (perf_counter() - began))
        began = perf_counter()
        raw_writes(file)
        times[0].append(1000 * (perf_counter() - began))
    os.close(file)
    short, long, raw = (median(times[runs]) for runs in (SHORT, LONG, 0))
    tools = "with a tool and state" if "tools" in options else "question and answer"
    print(
        f"{kind.__name__:12} {way.__name__:6} {tools:22} {SHORT} runs {short:5.2f} ms  {LONG:,} runs {long:5.2f} ms  "
        f"ratio {long / short:4.2f}  two raw synced writes {raw:4.2f} ms"
    )


def memory(folder: Path) -> None:
    agent = Agent(
        model=FunctionModel(answer), session_id="s", storage=JsonStorage(folder), add_history_to_messages=True
    )
    for _ in range(200):
        ask(agent)
    gc.collect()
    before = resident()
    for _ in range(MANY):
        ask(agent)
    gc.collect()
    print(f"memory over {MANY:,} runs: {(resident() - before) / 1e6:+.1f} MB")


def resident() -> int:
    """Resident memory in bytes. Linux only."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as name:
        number = 0
        for kind in (JsonStorage, YamlStorage):
            for way in (ask, stream):
                for options in (
                    {"model": FunctionModel(answer)},
                    {"model": FunctionModel(answer_after_a_tool), "tools": [note]},
                ):
                    number += 1
                    overhead(Path(name) / str(number), kind, way, **options)
        memory(Path(name) / "memory")


if __name__ == "__main__":
    main()
