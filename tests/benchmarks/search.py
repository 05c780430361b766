"""Search: how long the index takes to make, how large it is, and how long searches take.

    python -m tests.benchmarks.search [--megabytes 200] [--sessions 2000] [--folder DIR]

The documents are conversations of an agent with tools: questions, answers, calls, results with rows or code, and a
system prompt in each session. Words are made up, and as frequent as in a language (Zipf's law). Each search is timed in
turn with the others; the table has medians.
"""

import argparse
import itertools
import json
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from localstore import JsonStorage, Message, Run
from localstore.format.document import LAYOUTS
from localstore.format.values import to_json_value
from localstore.models.session import ToolCall
from tests.benchmarks.timing import interleave, table

COMMON = "common"
"""A word that most answers have."""
_TOPIC = 300
"""How many of the last words are used again."""


class Texts:
    """Makes up texts: a few words are common, and most are rare."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        letters = "abcdefghijklmnopqrstuvwxyz"
        self._words = ["".join(chance.choices(letters, k=chance.randint(2, 11))) for _ in range(200_000)]
        self._recent: list[str] = []
        self._weights = list(itertools.accumulate(1 / (rank + 2.7) for rank in range(len(self._words))))

    def words(self, count: int) -> list[str]:
        """Return so many words. As in a language, words that were used come again soon."""
        new = self.chance.choices(self._words, cum_weights=self._weights, k=(count + 1) // 2)
        self._recent = (self._recent + new)[-_TOPIC:]
        return [*new, *self.chance.choices(self._recent, k=count - len(new))]

    def prose(self, count: int) -> str:
        """Return sentences of so many words in all."""
        words = self.words(count)
        words[::12] = [f"{word}.\n" if at % 5 == 4 else f"{word}." for at, word in enumerate(words[::12])]
        return " ".join(words)

    def rows(self, count: int) -> str:
        """Return the result of a query as JSON, with so many rows."""
        names = iter(self.words(3 * count))
        chance = self.chance
        return json.dumps(
            [
                {
                    "id": chance.getrandbits(32),
                    "name": f"{next(names)} {next(names)}",
                    next(names): chance.randint(1, 9999),
                }
                for _ in range(count)
            ]
        )

    def code(self, lines: int) -> str:
        """Return so many lines that look like a program."""
        names = iter(self.words(4 * lines))
        return "\n".join(f"    {next(names)} = {next(names)}.{next(names)}({next(names)})" for _ in range(lines))


def runs_of(texts: Texts, session: int, count: int) -> list[Run]:
    """Return the runs of a session: some of them with a call of a tool."""
    chance = texts.chance
    runs = []
    for number in range(count):
        messages = [Message(role="user", content=texts.prose(chance.choice((8, 20, 60))))]
        if chance.random() < 0.6:
            call = ToolCall(id=f"call_{chance.getrandbits(64):x}", name="look_up", arguments={"path": texts.prose(3)})
            result = texts.rows(chance.randint(2, 20)) if chance.random() < 0.5 else texts.code(chance.randint(5, 60))
            messages.append(Message(role="assistant", tool_calls=[call]))
            messages.append(Message(role="tool", tool_call_id=call.id, content=result))
        answer = texts.prose(chance.choice((40, 120, 250)))
        messages.append(Message(role="assistant", content=f"{answer} {COMMON}" if chance.random() < 0.8 else answer))
        made_at = f"2026-{session % 11 + 1:02d}-{number % 28 + 1:02d}T07:{number % 60:02d}:20.{session % 1000:03d}Z"
        runs.append(Run(messages=messages, created_at=made_at, model="gpt-4o-mini"))
    return runs


def fill(root: Path, megabytes: int, sessions: int) -> JsonStorage:
    """Return a store with about so many sessions, whose documents have so many megabytes in all."""
    storage = JsonStorage(root, durability="relaxed")
    chance = random.Random(1)
    texts = Texts(chance)
    prompts = [texts.prose(300) for _ in range(10)]
    layout = LAYOUTS[".json"]
    folder = root / "sessions" / "2026-01"
    folder.mkdir(parents=True, exist_ok=True)
    left, number = megabytes * 1_000_000, 0
    wanted = left / sessions
    while left > 0:
        runs = runs_of(texts, number, max(1, int(chance.expovariate(1) * wanted / 3000)))
        runs[0].instructions = chance.choice(prompts)
        header: dict[str, Any] = {
            "schema_version": 1,
            "session_id": f"s{number}",
            "kind": "agent",
            "created_at": "2026-01-01T00:00:00Z",
        }
        raw = layout.assemble(layout.head(header), [layout.entry(to_json_value(run)) for run in runs])
        (folder / f"s{number}.json").write_bytes(raw)
        left -= len(raw)
        number += 1
    return storage


def reopened(root: Path) -> JsonStorage:
    """Return another storage in the same folder, as a new process has it."""
    return JsonStorage(root, durability="relaxed")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--folder", type=Path, default=None)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="localstore-benchmark-", dir=args.folder))
    try:
        storage = fill(folder / "store", args.megabytes, args.sessions)
        documents = list(storage.root.glob("sessions/*/*"))
        size = sum(path.stat().st_size for path in documents)
        begin = time.perf_counter()
        storage.list_sessions()
        listed = time.perf_counter()
        storage.search("nothing")
        built = time.perf_counter()
        storage.close()
        index = sum(path.stat().st_size for path in (storage.root / ".localstore").glob("search.sqlite*"))

        def find_a_new_run(number: int) -> None:
            storage.append(f"s{number}", Run(messages=[Message(role="user", content=f"added{number}")]))
            appended = time.perf_counter()
            assert len(storage.search(f"added{number}")) == 1
            found.append(time.perf_counter() - appended)

        found: list[float] = []
        searches: dict[str, Callable[[int], object]] = {
            "no hit": lambda _: storage.search("nothing"),
            "common": lambda _: storage.search(COMMON),
            "beginning": lambda _: storage.search(f"{COMMON[:4]}*"),
            "rank": lambda _: storage.search(COMMON, rank=True),
            "append": find_a_new_run,
            "first": lambda _: reopened(storage.root).search(COMMON),
        }
        taken = {name: value / 1000 for name, value in interleave(searches, 7, 2).items()}
        literal = interleave({"literal": lambda _: storage.search("added3", literal=True)}, 1, 0)["literal"]
        rows = [
            (f"list {len(documents)} sessions, {size / 1e6:.0f} MB, s", listed - begin, ""),
            ("build the index, s", built - listed, "target <= 40 for 200 MB"),
            ("size of the index, MB", index / 1e6, "target <= 80 for 200 MB"),
            ("a common word, newest 20, ms", taken["common"], "target <= 20"),
            ("the same in a newly opened storage, ms", taken["first"], ""),
            ("a word that is nowhere, ms", taken["no hit"], ""),
            ("the beginning of common words, newest 20, ms", taken["beginning"], ""),
            ("a common word, best 20, ms", taken["rank"], ""),
            ("one more run, found after its append, ms", 1000 * statistics.median(found), "target <= 30"),
            ("literal, all files, ms", literal / 1000, ""),
        ]
    finally:
        shutil.rmtree(folder)
    table("Search", rows)


if __name__ == "__main__":
    main()
