"""One more turn of the ADK and of LangGraph, beside their own SQLite implementations.

    python -m tests.benchmarks.adk_and_langgraph [--turns 1000] [--rounds 20]

A turn of the ADK is a question and an answer of 1 KB each, appended to a session that was read. A turn of LangGraph is
a call of a graph whose list of messages becomes 1 KB longer. Medians of interleaved turns, in an environment with the
newest release of each framework; ours once more with 10 and 10,000 turns (LangGraph: checkpoints of a state of 1 KB).
"""

import argparse
import asyncio
import importlib.util
import operator
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

from localstore import Item, JsonStorage
from tests.benchmarks.timing import interleave, table

TEXT = "What did we say about the trip to Vienna in October?" * 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    for name, measure in {"google": measure_adk, "langgraph": measure_langgraph}.items():
        if importlib.util.find_spec(name) is not None:
            with tempfile.TemporaryDirectory() as folder:
                measure(Path(folder), options.turns, options.rounds)
            return
    from tests.adapters.framework import Framework
    from tests.adapters.test_adk import ADK
    from tests.adapters.test_langgraph import LANGGRAPH

    environments: list[tuple[Framework, tuple[str, ...]]] = [(ADK, ("aiosqlite", "greenlet")), (LANGGRAPH, ())]
    for framework, more in environments:
        done = framework.run_inside(
            framework.newest, "-m", "tests.benchmarks.adk_and_langgraph", *sys.argv[1:], timeout=3600, more=more
        )
        print(done.stdout, done.stderr, sep="")


def measure_adk(folder: Path, turns: int, rounds: int) -> None:
    from google.adk.events import Event
    from google.adk.sessions import DatabaseSessionService
    from google.adk.sessions.sqlite_session_service import SqliteSessionService
    from google.genai.types import Content, Part

    from localstore.integrations.adk import LocalSessionService

    def said(author: str) -> Any:
        return Event(author=author, content=Content(role="user", parts=[Part(text=TEXT)]))

    async def filled(service: Any, count: int) -> Any:
        session = await service.create_session(app_name="travel", user_id="alice", session_id="trip")
        if isinstance(service, LocalSessionService):  # as so many appends would leave it
            for start in range(0, count, 500):
                events = [said("user") for _ in range(2 * min(500, count - start))]
                data = [event.model_dump(mode="json", exclude_defaults=True) for event in events]
                items = [Item(one, "adk", event.id) for event, one in zip(events, data, strict=True)]
                service.storage.append_items("travel/alice/trip", items)
            return await service.get_session(app_name="travel", user_id="alice", session_id="trip")
        for _ in range(2 * count):
            await service.append_event(session, said("user"))
        return session

    async def turn(service: Any, session: Any) -> None:
        await service.append_event(session, said("user"))
        await service.append_event(session, said("guide"))

    async def measured() -> None:
        theirs = {
            "SqliteSessionService": SqliteSessionService(str(folder / "theirs.db")),
            "DatabaseSessionService": DatabaseSessionService(f"sqlite+aiosqlite:///{folder / 'database.db'}"),
        }
        sides: dict[str, Callable[[], Awaitable[None]]] = {}
        for name, service in theirs.items():
            session = await filled(service, turns)
            sides[name] = lambda service=service, session=session: turn(service, session)  # type: ignore[misc]
        for count in (10, turns, 10_000):
            service = LocalSessionService(JsonStorage(folder / str(count)))
            session = await filled(service, count)
            sides[f"ours with {count:,} turns"] = lambda service=service, session=session: turn(service, session)  # type: ignore[misc]
        report("The ADK: two events, ms", await interleaved(sides, rounds), turns)
        await theirs["DatabaseSessionService"].close()

    asyncio.run(measured())


async def interleaved(sides: dict[str, Callable[[], Awaitable[None]]], rounds: int) -> dict[str, float]:
    """Return the median of each side in microseconds."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 3):
        for name, side in sides.items():
            begin = time.perf_counter()
            await side()
            if number >= 3:
                taken[name].append((time.perf_counter() - begin) * 1e6)
    return {name: statistics.median(times) for name, times in taken.items()}


def measure_langgraph(folder: Path, turns: int, rounds: int) -> None:
    from langgraph.checkpoint.base import empty_checkpoint
    from langgraph.checkpoint.sqlite import SqliteSaver
    from langgraph.graph import START, StateGraph

    from localstore.integrations.langgraph import LocalCheckpointSaver

    class Growing(TypedDict):
        messages: Annotated[list[Any], operator.add]

    config: Any = {"configurable": {"thread_id": "trip"}}
    builder = StateGraph(Growing)
    builder.add_node("answer", lambda _: {"messages": [TEXT[:512]]})
    builder.add_edge(START, "answer")

    def graph(saver: Any) -> Any:
        app = builder.compile(checkpointer=saver)
        for _ in range(turns // 10):
            app.update_state(config, {"messages": [TEXT[:512]] * 20})
        return app

    def database(name: str) -> Any:
        return SqliteSaver(sqlite3.connect(folder / name, check_same_thread=False))

    apps = {
        "SqliteSaver": graph(database("a")),
        f"ours with {turns:,} turns": graph(LocalCheckpointSaver(JsonStorage(folder / "f"))),
    }
    ask = {"messages": [TEXT[:512]]}
    sides: dict[str, Callable[[int], object]] = {
        name: lambda _, app=app: app.invoke(ask, config)  # type: ignore[misc]
        for name, app in apps.items()
    }
    report("LangGraph: a call of a graph whose state grows, ms", interleave(sides, rounds, 3), turns)

    def step(saver: Any, channel: dict[str, Any]) -> None:
        """Store a checkpoint with a value of 1 KB and a write, and read it."""
        channel["version"] = saver.get_next_version(channel.get("version"), None)
        versions = {"text": channel["version"]}
        checkpoint = {**empty_checkpoint(), "channel_values": {"text": TEXT}, "channel_versions": versions}
        saved = saver.put(channel["config"], checkpoint, {"source": "loop", "step": 1}, versions)
        saver.put_writes(saved, [("text", TEXT)], "task")
        saver.get_tuple(config)
        channel["config"] = saved

    steps: dict[str, Callable[[int], object]] = {}
    for name, count in {"SqliteSaver": turns, "10": 10, f"{turns:,}": turns, "10,000": 10_000}.items():
        relaxed = JsonStorage(folder / f"steps {name}", durability="relaxed")
        saver: Any = database("steps") if name == "SqliteSaver" else LocalCheckpointSaver(relaxed)
        channel: dict[str, Any] = {"config": {"configurable": {"thread_id": "trip", "checkpoint_ns": ""}}}
        for _ in range(count):
            step(saver, channel)
        if name != "SqliteSaver":
            saver.storage = JsonStorage(folder / f"steps {name}")
        label = name if name == "SqliteSaver" else f"ours with {name} turns"
        steps[label] = lambda _, saver=saver, channel=channel: step(saver, channel)  # type: ignore[misc]
    report("LangGraph: a checkpoint with a value of 1 KB, ms", interleave(steps, rounds, 3), turns)


def report(title: str, taken: dict[str, float], turns: int) -> None:
    ours = taken[f"ours with {turns:,} turns"]
    rows = [(name, value / 1000, f"{value / ours:.2f} x") for name, value in taken.items()]
    table(title, rows)


if __name__ == "__main__":
    main()
