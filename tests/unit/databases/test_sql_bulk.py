"""Many sessions are created in one transaction, and compared with what should be stored."""

import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from localstore import JsonStorage
from localstore.databases import sql_bulk, sql_session
from localstore.databases.backend import Change
from localstore.databases.session_change import new_session
from localstore.databases.sql import PostgresStorage, SqlStorage
from localstore.databases.sql_backend import SqlBackend
from localstore.format.document import order_header
from localstore.maintenance.copy_sides import Form
from localstore.models.times import now
from tests.effort import ci_only
from tests.postgres import postgres_url


def form(session_id: str, question: str = "Grüße\tan \\N Linz: 8 €\u2028\0") -> Form:
    """Return a session with a run."""
    header = {"schema_version": 1, "session_id": session_id, "kind": "agent", "created_at": now(), "tags": ["a\nb"]}
    messages = [{"role": "user", "content": question}]
    return Form(order_header(header), [{"type": "run", "run_id": "r1", "created_at": now(), "messages": messages}])


def change(one: Form) -> Change:
    return new_session(one.header, one.entries)


def rows_of(backend: SqlBackend, one: Form) -> sql_bulk.NewRows:
    return sql_bulk.NewRows(backend._tables, [change(one)])


def backend_of(storage: SqlStorage) -> SqlBackend:
    assert isinstance(storage._backend, SqlBackend)
    return storage._backend


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=ci_only)])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> SqlBackend:
    if request.param == "sqlite":
        return backend_of(SqlStorage(f"sqlite:///{tmp_path}/sessions.db"))
    storage = PostgresStorage(db_url=postgres_url(), schema="bulk")
    storage.drop()
    return backend_of(storage)


def test_sessions_that_exist_stay_as_they_are(backend: SqlBackend) -> None:
    first, later = form("s1"), form("s1", "Another question")
    assert backend.create_many([change(first), change(form("s2"))]) == set()
    assert backend.create_many([change(later), change(form("s3"))]) == {"s1"}
    stored = backend.read_many(["s1", "s2", "s3"])
    assert (stored["s1"].header, stored["s1"].entries) == (first.header, first.entries)
    assert [*stored] == ["s1", "s2", "s3"]


def test_the_digest_is_that_of_what_is_stored(backend: SqlBackend) -> None:
    forms = [form("s1"), form("x" * 600)]
    backend.create_many([change(one) for one in forms])
    asked = [one.session_id for one in forms]
    assert backend.digests([*asked, "s9"]) == {one.session_id: one.digest for one in forms}
    entries = backend._tables.entries
    backend._connections.write(lambda connection: connection.execute(entries.update().values(content="{}")))
    assert all(backend.digests(asked)[one.session_id] != one.digest for one in forms)


def test_what_is_not_stored_as_it_was_copied_is_named(
    backend: SqlBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text that changes on its way to the database is found by the digest that the database computes."""
    folder = JsonStorage(tmp_path / "folder")
    for one in (form("s1"), form("s2", "changed on its way")):
        folder._engine.create(one.header, one.entries, ".json", None)
    values_of = sql_session.entry_values

    def changed(*given: Any) -> dict[str, Any]:
        values = values_of(*given)
        return {**values, "content": values["content"].replace("on its way", "by the way")}

    monkeypatch.setattr(sql_bulk, "entry_values", changed)
    target = SqlStorage(backend._connections.url, schema=backend._tables.schema)
    done = folder.copy_to(target)
    assert [str(one) for one in done.skipped] == ["session 's2': It was copied, but is not the same there. Copy again."]
    assert sorted(done.added) == ["s1", "s2"]


@ci_only
def test_a_session_that_is_created_by_two_at_once_is_created_once() -> None:
    """The second one waits for the first, and its copy is refused. It is made again, and finds the session."""
    storage = PostgresStorage(db_url=postgres_url(), schema="raced")
    storage.drop()
    backend = backend_of(storage)
    found: list[set[str]] = []
    second = threading.Thread(target=lambda: found.append(backend.create_many([change(form("s1"))])))
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'COPY raced.%'")

    def first(connection: Connection) -> None:
        sql_bulk.create_many(connection, backend._statements, rows_of(backend, form("s1")))
        second.start()
        while not backend._connections.read(lambda other: other.execute(waiting).scalar_one()):
            assert second.is_alive()

    backend._connections.write(first)
    second.join()
    assert found == [{"s1"}]
    assert len(storage) == 1


@ci_only
def test_a_connection_that_breaks_before_a_copy_is_made_again() -> None:
    storage = PostgresStorage(db_url=postgres_url(), schema="broken")
    storage.drop()
    backend = backend_of(storage)
    calls: list[int] = []

    def work(connection: Connection) -> set[str]:
        calls.append(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
        if len(calls) == 1:
            end = text("SELECT pg_terminate_backend(:pid, 10000)")
            backend._connections.read(lambda other: other.execute(end, {"pid": calls[0]}).scalar_one())
            sql_bulk._copy(connection, backend._tables.labels, [])
        return sql_bulk.create_many(connection, backend._statements, rows_of(backend, form("s1")))

    assert backend._connections.write(work) == set()
    assert len({*calls}) == 2
    assert [*storage] == ["s1"]
