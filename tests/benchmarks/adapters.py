"""One more turn in sessions of the OpenAI Agents SDK and of Strands, beside the frameworks' own storages.

    python -m tests.benchmarks.adapters openai-agents
    python -m tests.benchmarks.adapters strands-agents

A turn is two messages of 1 KB: it is added to a session of 1,000 turns, on files and in SQLite, and by the framework's
`SQLiteSession` or `FileSessionManager`. Then to ours with 10 and with 10,000 turns. Medians of interleaved rounds, in
the environment of the newest release.
"""

import asyncio
import importlib.util
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.timing import table

TEXT = "Which train goes to Vienna? " * 36
ROUNDS = 40
Turn = Callable[[], Any]


def main() -> None:
    name = sys.argv[1]
    module = {"openai-agents": "agents", "strands-agents": "strands"}[name]
    if importlib.util.find_spec(module) is None:
        from tests.adapters.test_openai_agents import SDK
        from tests.adapters.test_strands import STRANDS

        framework = SDK if name == "openai-agents" else STRANDS
        done = framework.run_inside(framework.newest, "-m", "tests.benchmarks.adapters", name, timeout=3600)
        print(done.stdout, done.stderr, sep="")
        sys.exit(done.returncode)
    folder = Path(tempfile.mkdtemp())
    sides = _openai_agents if name == "openai-agents" else _strands
    try:
        asyncio.run(measure(name, lambda turns: sides(folder / str(turns), turns)))
    finally:
        shutil.rmtree(folder)


async def measure(name: str, sides: Callable[[int], dict[str, Turn]]) -> None:
    """Print how long a turn takes with each side, and what it takes in a long session."""
    took = await medians(sides(1_000))
    table(f"{name}: one more turn in a session of 1,000 turns", [(side, value, "ms") for side, value in took.items()])
    both = {
        f"{side}, {turns:,} turns": turn
        for turns in (10, 10_000)
        for side, turn in sides(turns).items()
        if side.startswith("Local")
    }
    took = await medians(both)
    table("In a short and in a long session", [(side, value, "ms") for side, value in took.items()])


async def medians(sides: dict[str, Turn]) -> dict[str, float]:
    """Return the median of each side in milliseconds."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(ROUNDS + 3):
        for name, turn in sides.items():
            begin = time.perf_counter()
            done = turn()
            if asyncio.iscoroutine(done):
                await done
            if number >= 3:
                taken[name].append((time.perf_counter() - begin) * 1000)
    return {name: statistics.median(times) for name, times in taken.items()}


def _storages(folder: Path) -> dict[str, Any]:
    from localstore import JsonStorage
    from localstore.databases.opening import open_storage

    folder.mkdir(parents=True, exist_ok=True)
    return {"files": JsonStorage(folder / "store"), "SQLite": open_storage(f"sqlite:///{folder / 'ours.db'}")}


def _openai_agents(folder: Path, turns: int) -> dict[str, Turn]:
    from agents import SQLiteSession

    from localstore import Item
    from localstore.integrations.openai_agents import LocalSession

    said: list[Any] = [{"role": "user", "content": TEXT}, {"role": "assistant", "content": TEXT}]
    sessions: dict[str, Any] = {}
    for name, storage in _storages(folder).items():
        storage.append_items("s1", [Item(one, "openai-agents") for _ in range(turns) for one in said])
        sessions[f"LocalSession, {name}"] = LocalSession("s1", storage)
    theirs = SQLiteSession("s1", folder / "theirs.db")
    theirs_filled = [one for _ in range(turns) for one in said]
    with theirs._write_connection() as connection:
        theirs._insert_items(connection, theirs_filled)
        connection.commit()
    sessions["SQLiteSession"] = theirs

    def turn(session: Any) -> Turn:
        async def go() -> None:
            await session.get_items(10)
            await session.add_items(said)

        return go

    return {name: turn(session) for name, session in sessions.items()}


def _strands(folder: Path, turns: int) -> dict[str, Turn]:
    from strands.session.file_session_manager import FileSessionManager
    from strands.types.session import Session, SessionAgent, SessionMessage, SessionType

    from localstore import Item
    from localstore.integrations.strands import LocalSessionRepository

    def message(number: int) -> Any:
        role = "assistant" if number % 2 else "user"
        return SessionMessage({"role": role, "content": [{"text": TEXT}]}, number)

    repositories: dict[str, Any] = {}
    for name, storage in _storages(folder).items():
        ours = LocalSessionRepository(storage)
        ours.create_session(Session("s1", SessionType.AGENT))
        ours.create_agent("s1", SessionAgent("a", {}, {}))
        items = [{"agent_id": "a", **message(number).to_dict()} for number in range(2 * turns)]
        storage.append_items("s1", [Item(item, "strands", f"a/{item['message_id']}") for item in items])
        repositories[f"LocalSessionRepository, {name}"] = ours
    if turns == 1_000:
        theirs = FileSessionManager("s1", str(folder / "theirs"))
        theirs.create_agent("s1", SessionAgent("a", {}, {}))
        for number in range(2 * turns):
            theirs.create_message("s1", "a", message(number))
        repositories["FileSessionManager"] = theirs

    def turn(repository: Any) -> Turn:
        numbers = iter(range(2 * turns, 10**9))

        def go() -> None:
            for _ in range(2):
                repository.create_message("s1", "a", message(next(numbers)))
            repository.update_agent("s1", SessionAgent("a", {"n": 1}, {}))

        return go

    return {name: turn(repository) for name, repository in repositories.items()}


if __name__ == "__main__":
    main()
