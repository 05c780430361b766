"""Processes that run agents and workflows until they are killed: `python -m tests.crash.continuing KIND ROOT WHERE`.

WHERE is the suffix of the documents in the folder ROOT, or the URL of a database.

For each line on its standard input it forks one that goes on with what the last one left, and says its number. What
they do and what was acknowledged they write to the file `log` beside the store, a line at once.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from localstore import (
    Agent,
    FunctionModel,
    Loop,
    Message,
    Parallel,
    RunContext,
    SessionStorage,
    StepContext,
    Task,
    Team,
    ToolCall,
    Workflow,
    open_storage,
)
from localstore.agents.events import RunFinished, StepFinished
from tests.crash.writer import SESSION, STORAGES

WORDS = [f"word{number} " for number in range(30)]
"""What an agent says, in pieces."""
LOG = "log"


def opened(root: Path, where: str) -> SessionStorage:
    """Open the store in a folder or a database."""
    return STORAGES[where](root, lock_timeout=60) if where in STORAGES else open_storage(where)


def log(root: Path, *words: str) -> None:
    """A line that is there when the process is killed just behind it."""
    fd = os.open(root.parent / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, (" ".join(words) + "\n").encode())
    os.close(fd)


# A workflow


def workflow(root: Path, storage: Any) -> Workflow:
    def step(name: str) -> Task:
        def work(given: Any, context: StepContext) -> str:
            log(root, "does", context.run_id, name)
            context.session_state[name] = context.session_state.get(name, 0) + 1
            time.sleep(0.001)
            return f"{name} of {context.run_id}"

        return Task(work, name=name)

    agent = Agent(model=FunctionModel(lambda messages: iter(WORDS[:3])), name="agent")
    rounds = Loop([step("round"), step("more")], max_rounds=3)
    return Workflow(
        steps=[step("first"), Parallel(step("left"), step("right")), agent, rounds, step("last")],
        session_id=SESSION,
        storage=storage,
    )


def do_workflow(root: Path, storage: Any) -> None:
    flow = workflow(root, storage)
    session = storage.read(SESSION, last_runs=1)
    number = 0 if session is None else int(session.runs[-1].run_id)
    while True:
        for event in flow.stream(number, run_id=str(number)):
            if isinstance(event, StepFinished):
                log(root, "stored", str(number), "/".join([*(event.step.within or ()), event.step.name]))
            elif isinstance(event, RunFinished) and event.speaker is None:
                log(root, "ok", str(number))
        number += 1


# An agent, and a team


def answers(messages: list[Message]) -> Iterator[str] | Message:
    """First a tool call, then an answer in pieces."""
    if messages[-1].role != "tool":
        return Message(role="assistant", tool_calls=[ToolCall(id="c", name="count")])
    return _slowly()


def _slowly() -> Iterator[str]:
    pause = 0.015 if random.random() < 0.25 else 0.0005  # the slow ones are stored while they arrive
    for word in WORDS:
        time.sleep(pause)
        yield word


def count(context: RunContext) -> int:
    """Count the runs."""
    context.session_state["count"] = context.session_state.get("count", 0) + 1
    return int(context.session_state["count"])


def agent(storage: Any) -> Agent:
    return Agent(
        model=FunctionModel(answers), tools=[count], session_id=SESSION, storage=storage, save_partial=True, name="a"
    )


def team(storage: Any) -> Team:
    def lead(messages: list[Message]) -> Iterator[str] | Message:
        if messages[-1].role == "tool":
            return _slowly()
        calls = [
            ToolCall(id=name, name="delegate_task", arguments={"member": name, "task": "x"}) for name in ("ann", "bob")
        ]
        return Message(role="assistant", tool_calls=calls)

    members = [Agent(model=FunctionModel(answers), tools=[count], name=name) for name in ("ann", "bob")]
    return Team(members=members, model=FunctionModel(lead), session_id=SESSION, storage=storage)


def do_agent(root: Path, one: Agent) -> None:
    resumed = one.resume()
    if resumed is not None:
        log(root, "ok", resumed.run_id)
    while True:
        run = one.run("How many?")
        log(root, "ok", run.run_id)


def main(kind: str, root: Path, where: str) -> None:
    for _ in sys.stdin:
        pid = os.fork()
        if pid:
            sys.stdout.write(f"{pid}\n")
            sys.stdout.flush()
            os.waitpid(pid, 0)
            sys.stdout.write("gone\n")
            sys.stdout.flush()
            continue
        try:
            storage = opened(root, where)
            if kind == "workflow":
                do_workflow(root, storage)
            else:
                do_agent(root, team(storage) if kind == "team" else agent(storage))
        except BaseException as error:
            log(root, "failed", repr(error))
            raise
        finally:
            os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
