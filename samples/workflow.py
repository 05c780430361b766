"""A workflow of three steps. Its process is killed in the second step, and another process finishes the run.

python samples/workflow.py
"""

import os
import signal
import subprocess
import sys

from demo_model import demo_model

from localstore import Agent, JsonStorage, Message, StepContext, Workflow

DIES = "--die" in sys.argv


def collect(topic: str, context: StepContext) -> list[str]:
    """The first step: it runs once, whatever happens to the process."""
    context.session_state["collected"] = context.session_state.get("collected", 0) + 1
    return [f"{topic} at {time}" for time in ("7:58", "9:58", "11:58")]


def choose(trains: list[str]) -> str:
    """The second step, in which the first process dies."""
    if DIES:
        sys.stdout.flush()
        if hasattr(signal, "SIGKILL"):
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(1)
    return trains[0]


def announce_offline(messages: list[Message]) -> str:
    """Stand in for the model of the third step, which is an agent."""
    return f"Passengers, please take the {messages[-1].text.lower()}!"


storage = JsonStorage("tmp/sessions")
speaker = Agent(model=demo_model(announce_offline), name="speaker", instructions="Announce this in one short sentence.")
workflow = Workflow(steps=[collect, choose, speaker], name="Timetable", session_id="timetable", storage=storage)

if DIES:
    workflow.run("Train")
else:
    subprocess.run([sys.executable, __file__, "--die"], check=False)  # noqa: S603 - this very program
    session = storage.read("timetable", last_runs=1)
    for run in session.runs if session is not None else []:
        print(f"The first process was killed. Stored: {run.status}, {[step.name for step in run.steps or []]}")
    resumed = workflow.resume()
    for step in (resumed.steps or []) if resumed is not None else []:
        print(f"{step.name}: {step.output}")
    print(f"Times that the first step ran in this session: {workflow.session_state['collected']}")
    print(f"To look at it: localstore show {workflow.session_id}, or open {storage.path(workflow.session_id)}")
