"""How one session of an SQL database is changed: in few statements, each of which waits for the server."""

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import event, text

from localstore.databases.backend import Locked
from localstore.databases.session_change import SessionChange
from localstore.databases.sql import PostgresStorage
from localstore.databases.sql_backend import SqlBackend
from localstore.format.values import to_json_value
from tests.contract.runs import answered, run_ids
from tests.effort import ci_only
from tests.postgres import postgres_url


def backend_of(storage: PostgresStorage) -> SqlBackend:
    assert isinstance(storage._backend, SqlBackend)
    return storage._backend


@ci_only
@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda storage: storage.append("s1", answered("r2")), ["SELECT", "WITH"]),
        (lambda storage: storage.list_sessions("alice", limit=20), ["SELECT"]),
        (lambda storage: storage.read("s1", last_runs=1), ["SELECT"]),
        (lambda storage: storage.read("s1"), ["SELECT"] * 3),
    ],
)
def test_a_call_takes_few_statements(call: Callable[[PostgresStorage], object], expected: list[str]) -> None:
    storage = PostgresStorage(db_url=postgres_url(), schema="counted")
    storage.drop()
    storage.append("s1", answered("r1", created_at="2026-01-01T00:00:00.000Z"), user_id="alice")
    engine = backend_of(storage)._connections._open()
    begun: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        begun.append(statement.split()[0])

    event.listen(engine, "before_cursor_execute", note)
    call(storage)
    assert begun == expected


@ci_only
def test_a_run_that_two_store_at_once_is_stored_once() -> None:
    """The second waits for the lock, and must then see what the first stored, although it began to look before."""
    storage = PostgresStorage(db_url=postgres_url(), schema="twice")
    storage.drop()
    storage.append("s1", answered("r1"))
    run = answered("r2")
    second = threading.Thread(target=lambda: storage.append("s1", run))
    backend = backend_of(storage)
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%FROM twice.%'"
    )

    def first(locked: Locked) -> None:
        second.start()
        while not backend._connections.ask(lambda other: other.execute(waiting).scalar_one()):
            assert second.is_alive()
        assert locked.row is not None
        SessionChange(locked, locked.row, "").append_run(to_json_value(run))

    backend.change("s1", first)
    second.join()
    assert run_ids(storage, "s1") == ["r1", "r2"]
