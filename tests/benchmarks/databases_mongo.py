"""What a call costs in MongoDB, beside the bare commands for it.

    python -m tests.benchmarks.databases_mongo [--sessions 100000] [--rounds 200] [--url URL]

Without `--url`, a server of its own is started, which syncs each commit. The numbers are medians of the elapsed time in
milliseconds, of calls in turn; then the commands of each call are counted.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

from pymongo import DESCENDING, MongoClient, monitoring
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from localstore.databases.backend import text_of
from localstore.databases.mongo import MongoDbStorage
from localstore.format.values import to_json_value
from tests.benchmarks.databases import appends_and_reads, new_session_of, run
from tests.benchmarks.timing import interleave, table
from tests.mongo import MongoServer

_FEW, _MANY = 10, 10_000
_DATABASE = "measured"


class Commands(monitoring.CommandListener):
    """Counts commands."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


class Bare:
    """The bare commands: the same bytes in collections without any index but the key."""

    def __init__(self, url: str) -> None:
        self.client = MongoClient[dict[str, Any]](url)
        self.sessions = self.client[_DATABASE]["bare"]
        self.entries = self.client[_DATABASE]["bare_entries"]
        self.sessions.drop()
        self.entries.drop()
        self.sessions.insert_one({"_id": "s", "facts": "", "next": 0})
        self.facts = "x" * 600

    def append(self, number: int) -> None:
        content = text_of(to_json_value(run(number)))
        with self.client.start_session() as session:
            session.start_transaction(
                read_concern=ReadConcern("snapshot"), write_concern=WriteConcern("majority", j=True)
            )
            self.sessions.find_one({"_id": "s"}, session=session)
            self.sessions.update_one({"_id": "s"}, {"$set": {"facts": self.facts, "next": number}}, session=session)
            self.entries.insert_one({"_id": number, "content": content}, session=session)
            session.commit_transaction()

    def last(self, _: int) -> None:
        list(self.entries.find({}).sort("_id", DESCENDING).limit(3))


def measure(url: str, sessions: int, rounds: int) -> None:
    """Print what calls cost."""
    commands = Commands()
    monitoring.register(commands)
    storage = MongoDbStorage(db_url=url, db_name=_DATABASE)
    storage.drop()
    for name, count in (("few", _FEW), ("many", _MANY)):
        for first in range(0, count, 500):
            storage.append_many(name, [run(number) for number in range(first, min(first + 500, count))])
    bare = Bare(url)
    found = appends_and_reads(bare.append, bare.last, storage, rounds)
    begin = time.perf_counter()
    for first in range(0, sessions, 1000):
        numbers = range(first, min(first + 1000, sessions))
        assert not storage._backend.create_many([new_session_of(number) for number in numbers])
    print(f"{sessions:,} sessions stored in {time.perf_counter() - begin:.0f} s")
    ours = storage._backend._client._open()[_DATABASE]["agent_sessions"]  # type: ignore[attr-defined]
    order = [("active_at", DESCENDING), ("_id", DESCENDING)]
    calls: dict[str, Callable[[int], object]] = {
        "bare list 20 of one user": lambda number: [
            *ours.find({"user_id": f"user-{number % 10}"}, {"facts": 1}).sort(order).limit(20)
        ],
        "list 20 of one user": lambda number: storage.list_sessions(f"user-{number % 10}", limit=20),
        "list 20": lambda _: storage.list_sessions(limit=20),
        "search a rare word": lambda number: storage.search(f"rare{number % 100}"),
        "search a common word": lambda _: storage.search("common"),
    }
    found |= interleave(calls, max(10, rounds // 20))
    table(f"{storage!r}, {sessions:,} sessions", [(name, value, "us") for name, value in found.items()])
    table(
        "compared",
        [
            ("append at 10,000 / at 10", found["append at 10,000"] / found["append at 10"], "times"),
            ("append / bare transaction", found["append at 10"] / found["bare transaction"], "times"),
            ("last three, more than the bare query", found["read last three"] - found["bare last three"], "us"),
        ],
    )
    calls |= {
        "append": lambda _: storage.append("few", run(-1)),
        "create": lambda _: storage.append("new", run(-1)),
        "read last three": lambda _: storage.read("many", last_runs=3),
    }
    for name, call in calls.items():
        commands.names.clear()
        call(0)
        print(f"{name}: {' '.join(commands.names)}")
    storage.close()


def main() -> None:
    """Read the options, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--url")
    options = parser.parse_args()
    measure(options.url or MongoServer(durable=True).url, options.sessions, options.rounds)


if __name__ == "__main__":
    main()
