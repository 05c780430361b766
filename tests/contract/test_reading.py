"""Listings, counts, searches and exports give the same answers in every storage."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from localstore import Filter, NoFile, OwnerMismatch, Run, SessionNotFound, SessionStorage
from localstore.databases.database_storage import DatabaseStorage
from localstore.models.schema import Kind
from tests.contract.conftest import Open
from tests.contract.runs import answered, asked, costly, document, read


def fill(storage: SessionStorage) -> None:
    """Store sessions s0 to s4, the newest last."""
    for number in range(5):
        day = f"2026-11-{20 + number}T07:00:00.000Z"
        kind: Kind = "agent" if number % 2 else "team"
        model = "large" if number == 3 else "small"
        storage.append(
            f"s{number}",
            costly(f"r{number}", model, 10 * number, day, session_state={"n": number}),
            user_id="alice" if number % 2 else "bob",
            entity_id=f"e{number % 3}",
            kind=kind,
        )
    storage.update("s1", name="Trip to Linz", tags=["travel", "2026"])
    storage.update("s2", name="Weather")
    storage.rate("s3", "r3", "good", "Right.")
    storage.append("s4", Run(run_id="r9", status="error", error="No.", created_at="2026-11-25T07:00:00Z"))


def ids(storage: SessionStorage, where: Filter | None = None) -> list[str]:
    return [info.session_id for info in storage.list_sessions(where=where)]


def test_sessions_are_listed_by_their_last_activity(storage: SessionStorage) -> None:
    fill(storage)
    assert ids(storage) == [f"s{number}" for number in (4, 3, 2, 1, 0)]
    assert [*storage] == ids(storage)
    assert storage.get_all_session_ids() == ids(storage)
    assert [info.session_id for info in storage.list_sessions(limit=2, newest_first=False)] == ["s0", "s1"]
    assert [info.session_id for info in storage.sessions(newest_first=False)][:2] == ["s0", "s1"]
    assert len(storage) == 5
    assert storage


def test_a_row_says_what_the_session_is_about(storage: SessionStorage) -> None:
    fill(storage)
    (info,) = storage.find_sessions("s4")
    assert (info.kind, info.entity_id, info.user_id, info.title) == ("team", "e1", "bob", "hi")
    assert (info.runs, info.failures, info.status, info.models) == (2, 1, "error", ("small",))
    assert (info.input_tokens, info.output_tokens, info.seconds, info.problem) == (40, 1, 0.5, None)
    assert info.size > 100
    (named,) = storage.find_sessions("Trip to")
    assert (named.session_id, named.name, named.tags) == ("s1", "Trip to Linz", ("travel", "2026"))
    (rated,) = storage.find_sessions("s3")
    assert rated.ratings == {"good": 1}


FILTERS: list[tuple[Filter, list[str]]] = [
    (Filter(user="alice"), ["s3", "s1"]),
    (Filter(user="nobody"), []),
    (Filter(entity="e1"), ["s4", "s1"]),
    (Filter(kind="team"), ["s4", "s2", "s0"]),
    (Filter(name="LINZ"), ["s1"]),
    (Filter(tag="travel"), ["s1"]),
    (Filter(tag=("travel", "2026")), ["s1"]),
    (Filter(tag=("travel", "2027")), []),
    (Filter(model="large"), ["s3"]),
    (Filter(status="error"), ["s4"]),
    (Filter(rating="good"), ["s3"]),
    (Filter(since="2026-11-22T07:00:00Z"), ["s4", "s3"]),
    (Filter(archived=False), ["s4", "s3", "s2", "s1", "s0"]),
    (Filter(archived=True), []),
    (Filter(user="bob", status="completed", kind="team"), ["s2", "s0"]),
]


@pytest.mark.parametrize("where", range(len(FILTERS)))
def test_a_filter_selects_in_listings_and_counts(storage: SessionStorage, where: int) -> None:
    fill(storage)
    chosen, expected = FILTERS[where]
    if chosen.since is not None:  # updates of the header do not count as activity; the entries have times of their own
        chosen = replace(chosen, until="2026-11-26T00:00:00Z")
        expected = ["s4", "s3", "s2"]
    assert ids(storage, chosen) == expected
    assert storage.count(chosen) == len(expected)
    assert [info.session_id for info in storage.sessions(chosen)] == expected


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("created", ["s4", "s3", "s2", "s1", "s0"]),
        ("runs", ["s4", "s3", "s2", "s1", "s0"]),
        ("tokens", ["s4", "s3", "s2", "s1", "s0"]),
        ("name", ["s4", "s3", "s0", "s1", "s2"]),
    ],
)
def test_a_listing_can_be_sorted(storage: SessionStorage, sort: str, expected: list[str]) -> None:
    fill(storage)
    assert [info.session_id for info in storage.list_sessions(sort=sort)] == expected  # type: ignore[arg-type]


def test_pages_follow_each_other(storage: SessionStorage) -> None:
    for number in range(7):
        storage.append(f"s{number}", answered("r", created_at="2026-11-22T07:00:00Z"))
    found: list[str] = []
    after = None
    while page := storage.list_sessions(limit=3, after=after):
        found += [info.session_id for info in page]
        after = page[-1].cursor
    assert found == [f"s{number}" for number in range(6, -1, -1)]
    with pytest.raises(ValueError, match="cursor"):
        storage.list_sessions(after="nonsense")


def test_a_time_in_the_future_does_not_stay_at_the_top(storage: SessionStorage) -> None:
    storage.append("future", answered("r", created_at="2999-01-01T00:00:00Z"))
    storage.append("now", answered("r"))
    storage.append("past", answered("r", created_at="2020-01-01T00:00:00Z"))
    assert ids(storage)[-1] == "past"
    assert len(ids(storage, Filter(since="2998-01-01T00:00:00Z"))) == 0


def test_only_the_last_runs_are_read(storage: SessionStorage) -> None:
    for number in range(5):
        storage.append("s1", answered(f"r{number}", session_state={"n": number} if number == 1 else None))
    storage.update("s1", session_summary="short")
    session = storage.read("s1", last_runs=2)
    assert session is not None
    assert [run.run_id for run in session.runs] == ["r3", "r4"]
    assert len(session.history) == 3
    assert (session.session_state, session.session_summary) == ({"n": 1}, "short")
    for count, runs in ((0, 0), (5, 5), (9, 5)):
        session = storage.read("s1", last_runs=count)
        assert session is not None
        assert (len(session.runs), session.session_state) == (runs, {"n": 1})
    with pytest.raises(ValueError, match="last_runs"):
        storage.read("s1", last_runs=-1)


def test_a_part_of_a_session_can_be_changed_and_upserted(storage: SessionStorage) -> None:
    for number in range(5):
        storage.append("s1", answered(f"r{number}"))
    session = storage.read("s1", last_runs=2)
    assert session is not None
    del session.history[-1]
    session.tags.append("x")
    storage.upsert(session)
    assert [run.run_id for run in read(storage, "s1").runs] == ["r0", "r1", "r2", "r3"]


def test_usage_is_counted_in_groups(storage: SessionStorage) -> None:
    fill(storage)
    stats = storage.stats(by=("user", "model"))
    assert [(one.user, one.model, one.sessions, one.runs, one.input_tokens) for one in stats.groups] == [
        ("alice", "large", 1, 1, 30),
        ("alice", "small", 1, 1, 10),
        ("bob", None, 1, 1, 0),
        ("bob", "small", 3, 3, 60),
    ]
    assert (stats.total.sessions, stats.total.runs, stats.total.failures) == (5, 6, 1)
    days = storage.stats(Filter(user="bob"), by="day")
    assert [one.day for one in days.groups] == ["2026-11-20", "2026-11-22", "2026-11-24", "2026-11-25"]
    assert storage.stats(by=(), prices={"large": (1e6, 0.0)}).total.cost == 30


def test_words_are_found_with_their_places(storage: SessionStorage, open_storage: Open) -> None:
    storage.append(
        "s1", answered("r1", "Which train to Linz?", "The train at 7:58.", created_at="2026-11-22T07:00:00Z")
    )
    storage.append("s1", answered("r2", "Und nach 東京? Café!", "By plane.", created_at="2026-11-22T07:01:00Z"))
    storage.append("s2", answered("r1", "linz weather", created_at="2026-11-22T07:02:00Z"), user_id="alice")
    storage.update("s2", name="A train of thought")

    def found(text: str, **options: object) -> list[tuple[str, int | None]]:
        return [(hit.session_id, hit.entry) for hit in open_storage().search(text, **options)]  # type: ignore[arg-type]

    assert found("linz") == [("s2", 0), ("s1", 0)]
    assert found("TRAIN linz") == [("s1", 0)]
    assert found("train") == [("s2", None), ("s1", 0)]
    assert found("linz -weather") == [("s1", 0)]
    assert found('"train to linz"') == [("s1", 0)]
    assert found('"to train linz"') == []
    assert found("weath*") == [("s2", 0)]
    assert found("cafe") == found("東京") == [("s1", 1)]
    assert found("linz", user_id="alice") == [("s2", 0)]
    assert found("linz", where=Filter(user="bob")) == []
    assert found("linz", limit=1) == [("s2", 0)]
    assert found("Linz?", literal=True) == [("s1", 0)]
    assert found("?") == [("s1", 1), ("s1", 0)]
    assert found("nowhere") == []
    assert sorted(found("linz", rank=True)) == [("s1", 0), ("s2", 0)]
    assert found("linz", sweep=False) == found("linz")
    hit = storage.search("7:58")[0]
    assert (hit.title, hit.run_id, hit.run_number, hit.message, hit.role, hit.field) == (
        "Which train to Linz?", "r1", 1, 1, "assistant", "content",
    )  # fmt: skip
    assert [hit.snippet[start:end] for start, end in hit.places] == ["7", "58"]
    with pytest.raises(ValueError, match="empty"):
        storage.search(" ")


def test_what_is_no_longer_stored_is_not_found(storage: SessionStorage) -> None:
    storage.append("s1", asked("r1", "zebra"))
    storage.append("s1", answered("r1", "zebra", "giraffe"))
    storage.append("s2", answered("r1", "zebra"))
    assert [hit.session_id for hit in storage.search("giraffe")] == ["s1"]
    storage.delete_session("s2")
    storage.undo("s1")
    assert storage.search("zebra") == storage.search("giraffe") == []
    storage.append("s1", answered("r2", "zebra again"))
    assert [hit.run_id for hit in storage.search("zebra")] == ["r2"]
    storage.trash("s1")
    assert storage.search("zebra") == []


def test_sessions_are_found_by_what_a_person_types(storage: SessionStorage) -> None:
    for session_id in ("trip-1", "trip-2", "other", "trip"):
        storage.append(session_id, answered("r1"))
    storage.update("other", name="trip-1x")
    assert [info.session_id for info in storage.find_sessions("trip")] == ["trip"]
    assert sorted(info.session_id for info in storage.find_sessions("trip-")) == ["trip-1", "trip-2"]
    assert [info.session_id for info in storage.find_sessions("trip-1x")] == ["other"]
    assert [info.session_id for info in storage.find_sessions("t…1")] == ["trip-1"]
    assert len(storage.find_sessions("trip-", limit=1)) == 1
    assert sorted(info.session_id for info in storage.sessions_containing("RIP-1")) == ["other", "trip-1"]
    assert len(storage.sessions_containing("trip", limit=1)) == 1
    assert storage.sessions_containing("x" * 60_000) == []  # SQLite compares no longer patterns than 50,000 bytes
    assert storage.find_sessions("nothing") == storage.find_sessions("") == []
    assert {info.session_id for info in storage.sessions_beginning_with("trip-")} == {"trip-1", "trip-2"}
    assert len(storage.sessions_beginning_with("t", limit=1)) == 1
    assert len(storage.find_sessions("trip-", limit=1)) == 1
    assert [info.session_id for info in storage.sessions_containing("HER")] == ["other"]
    assert len(storage.sessions_containing("trip", limit=2)) == 2
    assert storage.short_ids(["trip-1", "other"], least=2) == {"trip-1": "trip-1", "other": "ot"}


def test_rated_runs_are_examples(storage: SessionStorage) -> None:
    storage.append("s1", answered("r1", "one", "1"))
    storage.append("s1", answered("r2", "two", "2"))
    storage.rate("s1", "r2", "good")
    assert [message.text for message in storage.examples()] == ["two", "2"]
    assert storage.examples("bad") == []


def test_sessions_are_exported(storage: SessionStorage) -> None:
    fill(storage)
    text = "".join(storage.export("markdown", ["s1"]))
    assert text.startswith("# Trip to Linz")
    assert "".join(storage.export("json", where=Filter(user="alice"))).count('"session_id"') == 2
    assert len("".join(storage.export("openai-jsonl")).splitlines()) == 5
    with pytest.raises(SessionNotFound):
        storage.export("html", ["nowhere"])


def test_whole_sessions_are_read_newest_first(storage: SessionStorage) -> None:
    fill(storage)
    assert [session.session_id for session in storage.get_recent_sessions()] == ["s4", "s3"]
    assert [session.session_id for session in storage.get_all_sessions("alice")] == ["s3", "s1"]


def test_a_path_is_a_file_or_an_error_that_says_that_there_is_none(storage: SessionStorage) -> None:
    storage.append("s1", answered("r1"))
    (info,) = storage.list_sessions()
    assert storage.unreadable_files() == {}
    if info.has_file:
        assert storage.path("s1") == info.path
        assert info.path.is_file()
        return
    with pytest.raises(NoFile, match="database"):
        storage.path("s1")
    with pytest.raises(NoFile, match="database"):
        _ = info.path
    assert "path" not in info.as_dict()


def test_deleted_sessions_are_gone_and_trashed_ones_come_back(storage: SessionStorage) -> None:
    fill(storage)
    before = document(storage, "s1")
    assert storage.delete_session("s0")
    with pytest.raises(OwnerMismatch):
        storage.delete_session("s1", user_id="bob")
    info = next(info for info in storage.sessions() if info.session_id == "s2")
    storage.append("s2", answered("later"))
    removal = storage.trash([info, "s1", "s9"])
    assert [one.session_id for one in removal.moved] == ["s1"]
    assert {name: type(error).__name__ for name, error in removal.problems.items()} == {
        "s2": "Conflict",
        "s9": "SessionNotFound",
    }
    assert "s1" not in storage
    (trashed,) = storage.trashed()
    assert (trashed.session_id, trashed.name) == ("s1", removal.moved[0].name)
    storage.restore(trashed.name)
    assert document(storage, "s1") == before
    assert storage.trashed() == []
    with pytest.raises(FileNotFoundError):
        storage.restore(trashed.name)
    (again,) = storage.trash("s1").moved
    storage.restore(again.name, new_id="s8")
    assert read(storage, "s8").name == "Trip to Linz"
    storage.trash("s8")
    assert [one.session_id for one in storage.empty_trash()] == ["s8"]
    storage.drop()
    assert len(storage) == 0


def test_nothing_needs_an_upgrade(storage: SessionStorage) -> None:
    fill(storage)
    done = storage.upgrade_schema()
    assert (done.documents, done.problems) == (0, [])


def test_the_beginning_of_a_long_id_is_shared_with_no_other(storage: SessionStorage) -> None:
    """Databases compare long ids, and those with a NUL, by a hash: a beginning named several sessions."""
    starts, ends = ("a", "a\0", "a" * 100, "a" * 450), ("b", "bb", "b\0", "b\0c", "c")
    own = [start + end for start in starts for end in ends]
    for session_id in own:
        storage.append(session_id, Run())
    for session_id, short in storage.short_ids(own, least=1).items():
        assert short == session_id or [one for one in own if one.startswith(short)] == [session_id]
        assert [one for one in own if one.startswith(short[:-1])] != [session_id]


def test_numbers_that_no_database_takes_are_refused(storage: SessionStorage) -> None:
    """They ended in an OverflowError."""
    fill(storage)
    limit = 10**18 + 1
    calls: list[Callable[[], object]] = [
        lambda: storage.list_sessions(limit=limit),
        lambda: storage.search("hi", limit=limit),
        lambda: storage.find_sessions("s", limit=limit),
        lambda: storage.sessions_beginning_with("s", limit),
        lambda: storage.sessions_containing("s", limit),
        lambda: storage.items("s1", limit),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"must be at most 10\*\*18"):
            call()
    assert len(storage.list_sessions(limit=10**18)) == len(storage.sessions_containing("s", 10**18)) == 5


def test_a_long_text_is_searched_literally(storage: SessionStorage) -> None:
    """SQLite and MongoDB refused such a pattern."""
    storage.append("s1", answered("r1", "x" * 60_000))
    assert [hit.run_id for hit in storage.search("x" * 60_000, literal=True, limit=1)] == ["r1"]
    assert storage.search("x" * 60_001, literal=True) == []


def test_a_run_is_read_alone(storage: SessionStorage) -> None:
    """With what of the newest state is not newer than it. Folders, which read whole documents for it, decline."""
    for number in range(4):
        new = {"session_state": {"n": number}} if number == 2 else {"instructions": "Be brief."} if number == 0 else {}
        storage.append("s1", answered(f"r{number}", **new), user_id="alice")
    storage.append("s2", answered("r1"))
    documents = storage._documents()

    found = [documents.look_at_run("s1", run_id) for run_id in ("r1", "r2", "r3")]
    assert documents.look_at_run("s1", "r9") is documents.look_at_run("s9", "r1") is None
    if not isinstance(storage, DatabaseStorage):
        assert found == [None] * 3
        return
    assert [one and [entry["run_id"] for entry in one.entries] for one in found] == [["r1"], ["r2"], ["r3"]]
    both = {"instructions": "Be brief.", "session_state": {"n": 2}}
    assert [one and one.current for one in found] == [{"instructions": "Be brief."}, both, both]
    assert [one and one.header["user_id"] for one in found] == ["alice"] * 3
