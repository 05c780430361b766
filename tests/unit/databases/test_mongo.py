"""What is special about MongoDB: its errors, its limits, and servers that are not there."""

from __future__ import annotations

import math
import os
import pickle
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from localstore import (
    Message,
    NewerFormat,
    OlderFormat,
    Run,
    StoreUnavailable,
    UnstorableValue,
)
from localstore.databases.mongo import MongoDbStorage
from tests.contract.runs import answered, run_ids
from tests.contract.storages import name_of
from tests.effort import ci_only
from tests.mongo import mongo_url


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Any]:
    """A database of the server, by the driver alone."""
    with MongoClient[dict[str, Any]](mongo_url()) as client:
        yield client[name_of(tmp_path)]


def opened(database: Any) -> MongoDbStorage:
    return MongoDbStorage(db_url=mongo_url(), db_name=database.name)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"db_url": "mongodb://"}, "db_url is no address of MongoDB"),
        ({"db_url": "postgresql://u:s3cret@h/db"}, "db_url is no address of MongoDB"),
        ({"db_url": "mongodb://u:s3cret@h:port/db"}, "db_url is no address of MongoDB"),
        ({"db_url": "mongodb+srv://u:s3cret/s3cret@h/db"}, "db_url is no address of MongoDB"),
        ({"db_url": "mongodb://h/db?wrong=1"}, "MongoDB: Unknown option"),
        ({"db_url": "mongodb://u:s3cret/x@h/db"}, "write / as %2F"),
        ({"collection_name": ""}, "collection_name must be"),
        ({"collection_name": "$x"}, "collection_name must be"),
        ({"db_name": "a.b"}, "db_name must be"),
        ({"db_name": ""}, "db_name must be"),
        ({"lock_timeout": -1}, "lock_timeout must be"),
        ({"lock_timeout": True}, "lock_timeout must be"),
    ],
)
def test_invalid_arguments_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        MongoDbStorage(**options)
    assert "s3cret" not in str(caught.value)


@ci_only
@pytest.mark.parametrize("name", ["entries", "aside", "aside_texts", "info"])
def test_a_collection_of_another_program_beside_that_of_the_sessions_is_left_alone(database: Any, name: str) -> None:
    """A store was made around it, and its documents were taken for runs that were taken out."""
    database[f"agent_sessions_{name}"].insert_one({"what": "ever"})
    with pytest.raises(StoreUnavailable, match=f"agent_sessions_{name}, which is a collection of another program"):
        opened(database)
    assert database.list_collection_names() == [f"agent_sessions_{name}"]


@ci_only
def test_a_long_time_to_wait_is_one_that_the_driver_takes(database: Any) -> None:
    for seconds in (math.inf, 1e9):
        MongoDbStorage(db_url=mongo_url(), db_name=database.name, lock_timeout=seconds).close()


def test_a_server_that_is_not_there_is_one_error_without_the_password() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    with pytest.raises(StoreUnavailable) as caught:
        MongoDbStorage(db_url=f"mongodb://alice:s3cret@127.0.0.1:{port}/db", lock_timeout=0)
    assert str(caught.value).startswith(f"mongodb://127.0.0.1:{port}/db: ")
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


@ci_only
def test_the_database_is_that_of_the_url(database: Any) -> None:
    with MongoDbStorage(db_url=f"{mongo_url()}/{database.name}") as storage:
        storage.append("s", answered("r1"))
        assert database["agent_sessions"].count_documents({}) == 1
        assert repr(storage) == f"MongoDbStorage('{mongo_url()}/{database.name}, collection agent_sessions')"


@ci_only
def test_a_collection_of_something_else_is_left_alone(database: Any) -> None:
    database["agent_sessions"].insert_one({"x": 1})
    with pytest.raises(StoreUnavailable, match="collection of another program"):
        opened(database)
    database["agent_sessions"].replace_one({}, {"session_id": "s", "session_data": {}})
    with pytest.raises(OlderFormat, match="collection of agno"):
        opened(database)
    assert database.list_collection_names() == ["agent_sessions"]


@ci_only
def test_a_newer_layout_is_refused(database: Any) -> None:
    opened(database).close()
    database["agent_sessions_info"].update_one({}, {"$set": {"value": "99"}})
    with pytest.raises(NewerFormat, match="has layout 99"):
        opened(database)


@ci_only
def test_a_run_that_is_too_large_is_refused(database: Any) -> None:
    with opened(database) as storage:
        storage.append("s", answered("r1"))
        with pytest.raises(UnstorableValue, match="more than the 16 MB"):
            storage.append("s", Run(run_id="r2", messages=[Message(role="user", content="x" * 17_000_000)]))
        storage.append("s", answered("r3"))
        assert run_ids(storage, "s") == ["r1", "r3"]


@ci_only
def test_a_value_that_is_too_large_is_refused(database: Any) -> None:
    """Nine megabytes that are stored twice ended in an error of the driver."""
    large = "x" * 9_000_000
    storage = opened(database)
    storage.append("s", answered("r1"))
    calls: list[Callable[[], object]] = [
        lambda: storage.append(large, answered("r2")),
        lambda: storage.append("s2", answered("r2"), user_id=large),
        lambda: storage.append("s", answered("r2", model=large)),
        lambda: storage.append("s", answered(large)),
        lambda: storage.update("s", name=large),
        lambda: storage.update("s", tags=[large]),
    ]
    for call in calls:
        with pytest.raises(UnstorableValue, match="more than the 16 MB that MongoDB stores"):
            call()
    assert [*storage] == ["s"]
    assert run_ids(storage, "s") == ["r1"]
    storage.close()


@ci_only
def test_a_session_of_many_megabytes_goes_to_the_trash_and_back(database: Any) -> None:
    """The trash of a session is more than one document of MongoDB holds."""
    with opened(database) as storage:
        for number in range(3):
            storage.append("s", answered(f"r{number}", question="é" * 3_000_000))
        (moved,) = storage.trash("s").moved
        assert "s" not in storage
        storage.restore(moved.name)
        assert run_ids(storage, "s") == ["r0", "r1", "r2"]
        assert not database["agent_sessions_aside_texts"].count_documents({})


@ci_only
def test_hostile_texts_come_back(database: Any) -> None:
    with opened(database) as storage:
        for text in ("\0", "$where", "a.b", "{'$gt': ''}", "x" * 1_000_000, "\u2028\ufeff", "🜁"):
            storage.append(text, answered("r1", question=text), user_id=text)
            assert [info.session_id for info in storage.list_sessions(user_id=text)] == [text]
            assert storage.find_sessions(text)[0].session_id == text
            (run,) = (storage.read(text) or storage).runs  # type: ignore[union-attr]
            assert run.question == text
        assert len(storage) == 7


@ci_only
def test_what_an_interrupted_drop_left_does_not_come_back(database: Any) -> None:
    with opened(database) as storage:
        storage.append("s", answered("old"))
        database["agent_sessions"].delete_many({})
        storage.append("s", answered("new"))
        assert run_ids(storage, "s") == ["new"]


@ci_only
def test_a_pickled_and_a_closed_storage_work(database: Any) -> None:
    with opened(database) as storage:
        storage.append("s", answered("r1"))
        storage.close()
        with pickle.loads(pickle.dumps(storage)) as other:  # noqa: S301
            other.append("s", answered("r2"))
        assert run_ids(storage, "s") == ["r1", "r2"]


@ci_only
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore:MongoClient opened before fork:UserWarning")
def test_a_child_has_a_connection_of_its_own(database: Any) -> None:
    with opened(database) as storage:
        storage.append("s", answered("r1"))
        child = os.fork()
        if child == 0:
            try:
                storage.append("s", answered("r2"))
            finally:
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        storage.append("s", answered("r3"))
        assert run_ids(storage, "s") == ["r1", "r2", "r3"]


@ci_only
def test_a_search_goes_on_over_pages_of_matches_of_the_same_time(
    database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localstore.databases.mongo_backend._FIRST", 3)
    monkeypatch.setattr("localstore.databases.mongo_backend._MOST", 4)
    created_at = datetime(2026, 1, 2, tzinfo=UTC)
    with opened(database) as storage:
        for name in ("a", "b"):
            storage.append_many(name, [answered(f"r{number}", created_at=created_at) for number in range(10)])
        found = [(hit.session_id, hit.run_id) for hit in storage.search("hello", limit=100)]
        assert found == [(name, f"r{number}") for name in ("b", "a") for number in reversed(range(10))]
