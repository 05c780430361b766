"""A search in SQL tables reads page after page, and each entry comes once, whatever is written meanwhile."""

from pathlib import Path

import pytest

from localstore.databases.sql import SqliteStorage
from localstore.index.search_query import LiteralQuery, WordQuery, parse_query
from localstore.models.filter import Filter
from tests.contract.runs import answered

_RUNS = 550
"""In each of two sessions: more than are on the first page and the second one."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with many runs, of which many have the same time."""
    folder = tmp_path_factory.mktemp("search")
    storage = SqliteStorage(db_file=folder / "sessions.db")
    for session in ("s1", "s2"):
        runs = [
            answered(f"r{number}", "a zebra", created_at=f"2026-11-22T07:{number // 100:02d}:00Z")
            for number in range(_RUNS)
        ]
        storage.append_many(session, runs)
    storage.close()
    return folder


@pytest.mark.parametrize("rank", [False, True])
@pytest.mark.parametrize("literal", [False, True])
def test_each_entry_comes_once_while_others_are_added(folder: Path, rank: bool, literal: bool) -> None:
    """Pages were counted from the first entry: each new one moved another one to the next page, where it came again."""
    storage = SqliteStorage(db_file=folder / "sessions.db")
    query: WordQuery | LiteralQuery | None = LiteralQuery("zebra") if literal else parse_query("zebra")
    assert query is not None
    found: list[tuple[str, str]] = []
    for number, match in enumerate(storage._backend.matches(query, Filter(), rank=rank)):
        if match.found.position >= 0 and match.row["session_id"] != "new":
            found.append((match.row["session_id"], match.found.entry["run_id"]))
        if number in (3, 40, 1026):
            storage.append("new", answered(f"new{rank}{literal}{number}", "another zebra"))
    assert len(found) == len(set(found)) == 2 * _RUNS
    if not rank:
        times = [int(run_id[1:]) // 100 for _, run_id in found]
        assert times == sorted(times, reverse=True)
    storage.close()
