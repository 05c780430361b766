"""Days are counted from the index as far as it tells them, and from the documents of the other sessions."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from localstore import Filter, JsonStorage, Message, Metrics, Run, Session, YamlStorage
from localstore.engine import listing
from localstore.index import day_queries
from localstore.models.stats import stats_of
from tests.unit.raw import Storage


@pytest.fixture(autouse=True)
def is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every store for a large one."""
    monkeypatch.setattr("localstore.index.sweep._FEW", -1)


def run(day: int, hour: int = 7, **fields: Any) -> Run:
    metrics = Metrics(input_tokens=100 + hour, output_tokens=10, duration_seconds=1.5)
    return Run(created_at=datetime(2026, 11, day, hour, tzinfo=UTC), model="small", metrics=metrics, **fields)


@pytest.fixture(params=[JsonStorage, YamlStorage])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Return a store with sessions of one day, of several days, without runs, with forks, and one of another month."""
    storage: Storage = request.param(tmp_path / "store")
    storage.append("one run", run(3))
    storage.append("one day", run(4), user_id="bob")
    storage.append("one day", run(4, 9, status="error", error="x"))
    storage.append("two days", run(4))
    storage.append("two days", run(5, 8))
    storage.append("two months", Run(created_at=datetime(2026, 10, 31, tzinfo=UTC), model="big"))
    storage.append("two months", run(1))
    storage.upsert(Session(session_id="without runs", session_state={"a": 1}))
    storage.append("tagged", run(3, 11))
    storage.update("tagged", tags=["archived"])
    storage.fork("one day", new_id="fork")
    storage.append("waits", Run(created_at=datetime(2026, 11, 4, tzinfo=UTC), status="unfinished"))
    return storage


WHERE = (Filter(), Filter(user="bob"), Filter(archived=False, sub_sessions=False), Filter(since="2026-11-04"))


def days(storage: Storage, where: Filter) -> Any:
    tally = storage._engine.tally_of_days(where)
    assert tally is not None
    return stats_of(tally, ("day",), None)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("is_folded", [False, True])
def test_the_days_are_those_of_the_documents(filled: Storage, where: Filter, *, is_folded: bool) -> None:
    """Rows that are folded into the index, and those of the last lines of the manifest."""
    storage = filled
    if is_folded:
        storage.list_sessions(limit=0)
        storage = type(filled)(filled.root)
        storage.stats(by=("month",))
    assert days(storage, where) == storage.stats(where, by=("day",))


def test_documents_are_read_where_the_index_does_not_tell_the_day(filled: Storage) -> None:
    """A dashboard by day read the documents of 100,000 sessions."""
    calls: list[tuple[int, int]] = []
    storage = type(filled)(filled.root, progress=lambda done, total: calls.append((done, total)))
    days(storage, Filter(user="bob"))
    assert calls == [(1, 1)]  # the fork of a session: its runs are older than itself
    calls.clear()
    days(storage, Filter())
    assert len(calls) == 3  # and "two days" and "two months"


def test_a_long_session_is_counted_in_parts(filled: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its whole document was in memory at once."""
    for day in range(6, 17):
        filled.append("two days", run(day))
        filled.update("two days", session_state={"day": day})
    whole = filled.stats(by=("day",))
    monkeypatch.setattr(listing, "_RUNS_AT_ONCE", 3)
    assert filled.stats(by=("day",)) == whole
    assert days(filled, Filter()) == whole


def test_if_very_many_documents_would_have_to_be_read_nothing_is(
    filled: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled.list_sessions(limit=0)
    monkeypatch.setattr(day_queries, "_MOST_LEFT_OUT", 0)
    reopened = type(filled)(filled.root)
    assert reopened._engine.tally_of_days(Filter()) is None


def test_a_broken_document_counts_with_its_month(filled: Storage) -> None:
    path = filled.path("two days")
    path.write_text(path.read_text()[:-30])
    stats = days(filled, Filter(user=None))
    assert stats.unreadable == 1
    assert sum(group.runs for group in stats.groups) == stats.total.runs


def test_messages_that_look_like_keys_of_a_row_change_nothing(filled: Storage) -> None:
    text = 'What is {"parent":"x","entries":1,"runs":1}?'
    for name, first in (("quoted", 10), ("quoted twice", 11)):
        filled.append(name, run(first, messages=[Message(role="user", content=text)]))
        filled.append(name, run(12))
        filled.update(name, name=text)
    assert days(filled, Filter()) == filled.stats(by=("day",))
