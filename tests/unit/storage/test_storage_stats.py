"""Filters, pages, counts and stats of a storage."""

import asyncio
import json
import random
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from localstore import Filter, JsonStorage, Message, Metrics, Run, Session, Stats
from localstore.engine.engine import Engine
from localstore.index.row import IndexRow
from tests.unit.maintenance.upgrade.old_folders import agno_bytes, in_month, old_session
from tests.unit.raw import Storage


def answered(number: int, **fields: Any) -> Run:
    return Run(
        run_id=f"r{number}",
        messages=[Message(role="user", content=f"Question {number}?"), Message(role="assistant", content="Yes.")],
        metrics=Metrics(input_tokens=1000, output_tokens=100, cached_tokens=400, duration_seconds=1.25),
        **fields,
    )


@pytest.fixture(autouse=True, params=["few sessions", "many sessions"])
def number_of_sessions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of few sessions, the documents are compared with the rows; of many, the index adds up."""
    if request.param == "many sessions":
        monkeypatch.setattr("localstore.index.sweep._FEW", -1)


@pytest.fixture
def counted(storage: Storage) -> Storage:
    times = [datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)]
    storage.append("a", answered(1, model="big-2026-01-01", created_at=times[0]), user_id="alice")
    storage.append("a", answered(2, model="small", created_at=times[1], status="error", error="x"))
    storage.append("b", answered(3, model="small", created_at=times[1]), user_id="bob", entity_id="guide")
    storage.rate("b", "r3", "good")
    storage.append("c", Run(status="unfinished", created_at=datetime(2026, 11, 2, tzinfo=UTC)))
    return storage


def ids(storage: Storage, where: Filter) -> list[str]:
    assert storage.count(where) == len(storage.list_sessions(where=where))
    return [info.session_id for info in storage.sessions(where)]


def test_filters_select_sessions(counted: Storage) -> None:
    assert ids(counted, Filter()) == ["c", "b", "a"]
    assert ids(counted, Filter(model="small")) == ["b", "a"]
    assert ids(counted, Filter(status="error")) == ["a"]
    assert ids(counted, Filter(rating="good", user="bob")) == ["b"]
    assert ids(counted, Filter(since="2026-11-02")) in (["c"], [])
    assert ids(counted, Filter(until="2026-10-15")) == []
    assert counted.list_sessions("alice", where=Filter(user="bob")) == []
    assert [info.session_id for info in counted.list_sessions("bob", where=Filter(model="small"))] == ["b"]


def test_a_search_takes_a_filter(counted: Storage) -> None:
    """Words are found in the sessions that the filter selects, by the index and by a scan of the files."""
    for where, expected in (
        (Filter(), {"a", "b"}),
        (Filter(model="small", user="bob"), {"b"}),
        (Filter(status="error"), {"a"}),
        (Filter(rating="good"), {"b"}),
        (Filter(since="2026-11-05"), set()),
        (Filter(until="2026-11-02T00:00Z"), {"a", "b"}),
    ):
        for literal in (False, True):
            hits = counted.search("Question", where=where, literal=literal)
            assert {hit.session_id for hit in hits} == expected
    assert counted.search("Question", user_id="alice", where=Filter(user="bob")) == []
    assert [hit.session_id for hit in counted.search("Question", user_id="bob", where=Filter(model="small"))] == ["b"]
    call: Any = counted
    with pytest.raises(TypeError, match="Use Filter"):
        call.search("Question", where="bob")


def test_a_listed_session_knows_whether_a_filter_matches(counted: Storage) -> None:
    infos = {info.session_id: info for info in counted.sessions()}
    for where in (
        Filter(model="small"),
        Filter(status="error"),
        Filter(until="2026-11-02T00:00Z"),
        Filter(rating="bad"),
    ):
        assert {id_ for id_, info in infos.items() if info.matches(where)} == set(ids(counted, where))


def test_an_overview_has_the_counts(counted: Storage) -> None:
    info = next(counted.sessions(Filter(user="alice")))
    assert (info.title, info.status, info.models) == ("Question 1?", "error", ("big-2026-01-01", "small"))
    assert (info.runs, info.failures, info.input_tokens, info.output_tokens) == (2, 1, 2000, 200)
    assert (info.cached_tokens, info.seconds, info.parent) == (800, 2.5, None)
    assert next(counted.sessions(Filter(user="bob"))).ratings == {"good": 1}


def test_stats_count_by_group_with_cost(counted: Storage) -> None:
    stats = counted.stats(by=("month", "model"), prices={"big": (10, 20), "small": (1.0, 2.0, 0.5)})
    groups = {(group.month, group.model): group for group in stats.groups}
    assert set(groups) == {("2026-10", "big-2026-01-01"), ("2026-11", "small"), ("2026-11", None)}
    small = groups["2026-11", "small"]
    assert (small.sessions, small.runs, small.failures, small.input_tokens, small.seconds) == (2, 2, 1, 2000, 2.5)
    assert small.cost == pytest.approx(2 * (600 * 1.0 + 100 * 2.0 + 400 * 0.5) / 1e6)
    assert groups["2026-10", "big-2026-01-01"].cost == pytest.approx((1000 * 10 + 100 * 20) / 1e6)
    assert (stats.total.sessions, stats.total.runs, stats.unpriced) == (3, 4, ())
    assert counted.stats(prices={"big": (1, 1)}).unpriced == ("small",)
    assert counted.stats().total.cost is None
    assert counted.stats(by="month") == counted.stats(by=["month"])
    assert counted.stats(by=()).groups == (counted.stats().total,)
    of_none = counted.stats(Filter(user="nobody"), by=("day",), prices={}).total.cost
    assert (of_none, type(of_none)) == (0.0, float)
    by_status = {group.status: group.sessions for group in counted.stats(by=("status",)).groups}
    assert by_status == {"error": 1, "completed": 1, "unfinished": 1}


def monthly(stats: Stats) -> dict[tuple[str | None, str | None], Counter[str]]:
    """The numbers of runs by month and model."""
    sums: dict[tuple[str | None, str | None], Counter[str]] = {}
    for group in stats.groups:
        numbers = {name: value for name, value in group.as_dict().items() if isinstance(value, (int, float))}
        sums.setdefault((group.month, group.model), Counter()).update(numbers | {"sessions": 0})
    return sums


def test_stats_by_day_have_the_sums_by_month(counted: Storage) -> None:
    """Of documents in our layout, edited by hand, written by agno, and without runs.

    A run without a valid time has no day, and neither have those of a document that cannot be read.
    """
    counted.append("a", answered(4, model="small", created_at=datetime(2026, 11, 1, 23, 59, 59, tzinfo=UTC)))
    counted.append("a", answered(5, model="small", created_at=datetime(2026, 11, 2, tzinfo=UTC)))
    counted.append("typed", answered(6, model="small"))
    path = counted.path("typed")
    path.write_text(
        re.sub(r"(created_at\W+)2026[-0-9]+T[0-9:.]+Z", r"\g<1>2026-11-30T23:30:00-02:00", path.read_text()) + "\n"
    )
    counted.append("no time", answered(7, model="small"))
    path = counted.path("no time")
    path.write_text(re.sub(r"2026-[-0-9]+T[0-9:.]+Z", "2026-11-99", path.read_text()))
    counted.append("broken", answered(8, created_at=datetime(2026, 11, 3, tzinfo=UTC)))
    path = counted.path("broken")
    counted.upsert(Session(session_id="empty", created_at=datetime(2026, 11, 4, tzinfo=UTC)))
    in_month(counted, "old.json", agno_bytes(old_session(), ".json"))
    counted.list_sessions()  # of many sessions, only a listing or a sweep finds an edit in place
    path.write_text(path.read_text().replace("type", 't"y: [pe', 1))

    stats, by_month = counted.stats(by=("day", "model", "month")), counted.stats(by=("month", "model"))
    assert monthly(stats) == monthly(by_month)
    assert (stats.total, stats.unreadable) == (by_month.total, 1)
    small = [(group.day, group.month, group.sessions, group.runs) for group in stats.groups if group.model == "small"]
    assert small == [
        (None, "2026-11", 1, 1),
        ("2026-11-01", "2026-11", 2, 3),
        ("2026-11-02", "2026-11", 1, 1),
        ("2026-12-01", "2026-12", 1, 1),
    ]
    by_day = counted.stats(Filter(user="alice"), by=("day",), prices={"big": (10, 20), "small": (1, 2)})
    assert [(group.day, group.runs, group.failures) for group in by_day.groups] == [
        ("2026-10-01", 1, 0),
        ("2026-11-01", 2, 1),
        ("2026-11-02", 1, 0),
        ("2026-11-22", 2, 0),
    ]
    assert by_day.groups[0].cost == pytest.approx((1000 * 10 + 100 * 20) / 1e6)


def test_stats_by_day_report_the_documents_read(counted: Storage) -> None:
    """Only those of the sessions that match, and not at all where no day is asked for."""
    calls: list[tuple[int, int]] = []
    opened = type(counted)(counted.root, progress=lambda done, total: calls.append((done, total)))
    opened.stats(by=("month",))
    assert calls == []
    opened.stats(by=("day",))
    opened.stats(Filter(user="alice"), by=("day",))
    assert calls == [(1, 3), (2, 3), (3, 3), (1, 1)]


def test_wrong_arguments_are_refused(counted: Storage) -> None:
    call: Any = counted
    for options, problem in (
        ({"by": ("year",)}, "by must be one of"),
        ({"by": ("month", "month")}, "twice"),
        ({"prices": {"m": 5}}, "the price of 'm'"),
        ({"prices": {"m": (1, float("nan"))}}, "the price of 'm'"),
        ({"prices": 5}, "prices must be"),
        ({"where": "alice"}, "Use Filter"),
    ):
        with pytest.raises((TypeError, ValueError), match=problem):
            call.stats(**options)
    for cursor in ("x", "2026|", "2026|\ud800", 5):
        with pytest.raises(ValueError, match="cursor"):
            call.list_sessions(after=cursor)
    with pytest.raises(ValueError, match="user holds a lone surrogate"):
        call.list_sessions("\ud800")


def test_a_storage_has_a_length_members_and_ids(counted: Storage, tmp_path: Path) -> None:
    """An empty storage is true all the same: `storage or default` must not replace it."""
    assert (len(counted), list(counted)) == (3, ["c", "b", "a"])
    assert "a" in counted
    assert "nowhere" not in counted
    assert 5 not in counted
    assert "\ud800" not in counted
    empty = JsonStorage(tmp_path / "empty")
    assert (len(empty), bool(empty)) == (0, True)


def test_pages_follow_each_other(storage: Storage) -> None:
    for number in range(130):
        storage.append(f"s|{number}", answered(number, created_at=datetime(2026, 11, 1 + number % 3, tzinfo=UTC)))
    everything = storage.get_all_session_ids()
    assert list(storage) == everything
    assert [info.session_id for info in storage.sessions(newest_first=False)] == everything[::-1]
    first = storage.list_sessions(limit=50)
    second = storage.list_sessions(limit=50, after=first[-1].cursor)
    assert [info.session_id for info in first + second] == everything[:100]

    async def listed() -> list[str]:
        return [info.session_id async for info in storage.asessions()]

    assert asyncio.run(listed()) == everything


def test_pages_follow_each_other_where_times_are_no_times(storage: Storage) -> None:
    """A cursor lost the `|` of such a time, and the next page left out sessions."""
    for number, time in enumerate(("1|a", "1b", "1|c", "1~1", "1~", "yesterday")):
        storage.append(f"s{number}", answered(number))
        path = storage.path(f"s{number}")
        path.write_text(re.sub(r"2026-[-0-9]+T[0-9:.]+Z", time, path.read_text()))
    for newest_first in (True, False):
        listed = storage.list_sessions(newest_first=newest_first)
        assert len(listed) == 6
        paged = [
            storage.list_sessions(limit=1, after=info.cursor, newest_first=newest_first)[0] for info in listed[:-1]
        ]
        assert [info.session_id for info in paged] == [info.session_id for info in listed[1:]]
        assert storage.list_sessions(after=listed[-1].cursor, newest_first=newest_first) == []


def test_pages_go_on_behind_a_broken_document_that_is_removed_meanwhile(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page was one row short, which looked like the last page: all older sessions were missing."""
    for number in range(70):
        storage.append(f"s{number}", answered(number, created_at=datetime(2026, 11, 1, 0, number % 60, tzinfo=UTC)))
    broken = storage.get_all_session_ids()[5]
    path = storage.path(broken)
    path.write_text(path.read_text().replace("type", 't"y: [pe', 1))
    checked = Engine._checked

    def check_late(engine: Engine, row: IndexRow) -> IndexRow | None:
        path.unlink(missing_ok=True)
        return checked(engine, row)

    monkeypatch.setattr(Engine, "_checked", check_late)
    assert sum(1 for _ in storage.sessions()) == 69


def test_a_name_of_spaces_is_no_title(counted: Storage) -> None:
    counted.update("a", name=" ")
    assert next(counted.sessions(Filter(user="alice"))).title == "Question 1?"


def without_overviews(root: Path) -> None:
    manifest = root / ".localstore/manifest.jsonl"
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    for row in rows:
        row.pop("overview", None)
    manifest.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))


def test_a_line_of_an_earlier_release_is_counted_once(counted: Storage) -> None:
    expected = counted.stats(by=("user", "month", "model"))
    without_overviews(counted.root)
    assert type(counted)(counted.root).stats(by=("user", "month", "model")) == expected
    again = (counted.root / ".localstore/manifest.jsonl").read_bytes()
    assert type(counted)(counted.root).stats(by=("user", "month", "model")) == expected
    assert (counted.root / ".localstore/manifest.jsonl").read_bytes() == again


def recounted(storage: Storage) -> Counter[str]:
    """Count over the documents."""
    total: Counter[str] = Counter()
    for session in storage.get_all_sessions():
        total["sessions"] += 1
        for run in session.runs:
            total["runs"] += 1
            total["failures"] += run.status == "error"
            if run.metrics is not None and run.status != "unfinished":
                total["input"] += run.metrics.input_tokens or 0
                total["output"] += run.metrics.output_tokens or 0
    return total


@pytest.mark.parametrize("seed", range(3))
def test_stats_equal_a_count_over_the_documents(storage: Storage, seed: int) -> None:
    """After any appends, finishes, ratings, removals and edits by hand."""
    choose = random.Random(seed)
    for number in range(60):
        session_id = choose.choice("abc")
        action = choose.choice(("append", "grow", "rate", "edit", "delete", "upsert"))
        session = storage.read(session_id)
        if session is None or not session.runs or action == "append":
            status = choose.choice(("completed", "error"))
            storage.append(session_id, answered(number, model=choose.choice("mn"), status=status))
        elif action == "grow":
            run = answered(number, model="m", status="unfinished")
            metrics, run.metrics = run.metrics, None
            storage.append(session_id, run)
            run.status, run.metrics = "completed", metrics
            storage.append(session_id, run)
        elif action == "rate":
            storage.rate(session_id, choose.choice(session.runs).run_id, choose.choice(("good", "bad", None)))
        elif action == "edit":
            path = storage.path(session_id)
            path.write_text(path.read_text().replace("1000", "1234", 1))
            storage.list_sessions()  # of many sessions, only a listing or a sweep finds an edit in place
        elif action == "delete":
            storage.delete_session(session_id)
        else:
            del session.history[0]
            storage.upsert(session)
        total, expected = storage.stats().total, recounted(storage)
        assert (total.sessions, total.runs, total.failures) == tuple(
            expected[name] for name in ("sessions", "runs", "failures")
        )
        assert (total.input_tokens, total.output_tokens) == (expected["input"], expected["output"])
    assert type(storage)(storage.root).stats() == storage.stats()


def test_a_new_process_adds_up_many_sessions_in_the_index(counted: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call of a process took the store for a small one, and looked at every document."""
    monkeypatch.setattr("localstore.index.sweep._FEW", 1)
    expected = counted.stats()
    monkeypatch.setattr("localstore.index.row_reader.RowReader.listed", pytest.fail)
    opened = type(counted)(counted.root)
    assert (opened.count(), opened.stats()) == (3, expected)
