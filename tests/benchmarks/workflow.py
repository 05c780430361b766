"""What a step of a workflow costs, whatever the number of steps before it; and what goes on at once.

    .venv/bin/python -m tests.benchmarks.workflow

Steps do nothing, so that all of the time is the workflow's and the storage's; writes are durable. Times are in
milliseconds, beside a raw write of the same size that is synced, in the same run. Members and branches wait for half a
second each, and the figure is how much longer all of them take than one.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

from localstore import Agent, FunctionModel, JsonStorage, Loop, Parallel, Task, Team, ToolCall, Workflow, YamlStorage
from localstore.agents.events import StepFinished
from localstore.models.session import Message, Run, Session

STEPS = 1_000
MANY = 20
PAUSE = 0.5
ROUNDS = 200
TEXT = "The train at 7:58 takes two hours and a half. " * 6


def raw_write(file: int, at: int) -> float:
    began = perf_counter()
    os.pwrite(file, (TEXT * 2).encode(), at * 600)
    os.fdatasync(file)
    return 1000 * (perf_counter() - began)


def steps(folder: Path, kind: type[JsonStorage | YamlStorage]) -> None:
    file = os.open(folder / "raw", os.O_RDWR | os.O_CREAT, 0o600)
    loop = Loop([Task(lambda text: text, name="step")], max_rounds=STEPS)
    flow = Workflow(steps=[loop], session_id="s", storage=kind(folder / "store"))
    times: list[float] = []
    raw: list[float] = []
    began = perf_counter()
    for event in flow.stream(TEXT):
        if isinstance(event, StepFinished):
            times.append(1000 * (perf_counter() - began))
            raw.append(raw_write(file, len(raw)))
            began = perf_counter()
    early, late = median(times[5:105]), median(times[-100:])
    said = f"{early:.2f} ms at the beginning, {late:.2f} ms behind {STEPS:,} steps, ratio {late / early:.2f}"
    report(f"a step, {kind.__name__}", f"{said}, raw {median(raw):.2f} ms, slowest {max(times):.0f} ms")


def team_runs(folder: Path, kind: type[JsonStorage | YamlStorage]) -> None:
    def lead(messages: list[Message]) -> Message | str:
        if messages[-1].role == "tool":
            return TEXT
        return Message(
            role="assistant",
            tool_calls=[ToolCall(id="1", name="delegate_task", arguments={"member": "Ann", "task": "Which train?"})],
        )

    storage = kind(folder / "store")
    times: dict[int, list[float]] = {10: [], 10_000: []}
    teams = {}
    said = [Message(role="user", content="Which train?"), Message(role="assistant", content=TEXT)]
    for runs in times:
        session = Session(session_id=str(runs), kind="team", history=[Run(messages=said) for _ in range(runs)])
        storage.upsert(session)
        ann = Agent(model=FunctionModel(lambda _: TEXT), name="Ann")
        teams[runs] = Team(members=[ann], model=FunctionModel(lead), session_id=str(runs), storage=storage)
        teams[runs].run("Which train?")
    for _ in range(ROUNDS):
        for runs, team in teams.items():
            began = perf_counter()
            team.run("Which train?")
            times[runs].append(1000 * (perf_counter() - began))
    short, long = (median(one) for one in times.values())
    report(f"a team's run, {kind.__name__}", f"{short:.2f} ms, {long:.2f} ms behind 10,000, ratio {long / short:.2f}")


def at_once() -> None:
    def wait(text: Any) -> Any:
        sleep(PAUSE)
        return text

    flow = Workflow(steps=[Parallel(*[Task(wait, name=f"branch {number}") for number in range(MANY)])])
    members = [Agent(model=FunctionModel(lambda _: wait("yes")), name=f"m{number}") for number in range(MANY)]
    team = Team(members=members, mode="collaborate", model=FunctionModel(lambda _: "yes"))
    ways: dict[str, Callable[[], object]] = {
        f"{MANY} branches": lambda: flow.run("x"),
        f"{MANY} branches, async": lambda: asyncio.run(flow.arun("x")),
        f"{MANY} members": lambda: team.run("x"),
        f"{MANY} members, async": lambda: asyncio.run(team.arun("x")),
    }
    for name, way in ways.items():
        taken = []
        for _ in range(3):
            began = perf_counter()
            way()
            taken.append(perf_counter() - began)
        report(name, f"{100 * (median(taken) / PAUSE - 1):.1f} % longer than the slowest")


def report(what: str, figures: str) -> None:
    print(f"{what:28}{figures}")


def main() -> None:
    for kind in (JsonStorage, YamlStorage):
        for measure in (steps, team_runs):
            with tempfile.TemporaryDirectory() as folder:
                measure(Path(folder), kind)
    at_once()


if __name__ == "__main__":
    main()
