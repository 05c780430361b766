"""The last runs of a session are the same, in however many statements they are read."""

from pathlib import Path

import pytest

from localstore import Item
from localstore.databases import sql_backend
from localstore.databases.sql import PostgresStorage, SqlStorage
from tests.contract.runs import answered
from tests.effort import ci_only
from tests.postgres import postgres_url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=ci_only)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> SqlStorage:
    if request.param == "sqlite":
        return SqlStorage(f"sqlite:///{tmp_path}/sessions.db")
    storage = PostgresStorage(db_url=postgres_url(), schema="ends")
    storage.drop()
    return storage


def test_the_last_runs_are_those_of_the_whole_session(storage: SqlStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other entries stand between the runs, a run was removed, and a state is older than the last runs, or newer."""
    storage.append_many("s1", [answered("r1", session_state={"a": 1}), answered("r2"), answered("r3"), answered("r4")])
    storage.append_items("s1", [Item({"n": 1}), Item({"n": 2})])
    storage.append_many("s1", [answered("r5"), answered("r6")])
    storage.remove_run("s1", "r4")
    storage.append("new", answered("r1"))
    for _ in range(2):
        for session_id in ("s1", "new", "none"):
            for count in range(9):
                with monkeypatch.context() as one_by_one:
                    one_by_one.setattr(sql_backend, "_stored_end", lambda *_: None)
                    expected = storage.read(session_id, last_runs=count)
                assert storage.read(session_id, last_runs=count) == expected
        storage.update("s1", session_state={"a": 2})
