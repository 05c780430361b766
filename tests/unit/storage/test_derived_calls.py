"""The calls that storages in folders and in databases share."""

import asyncio
from pathlib import Path

import pytest

from localstore import Filter, JsonStorage
from localstore.databases.sql import SqliteStorage
from tests.unit.raw import answered


@pytest.fixture(params=["folder", "database"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> JsonStorage | SqliteStorage:
    return JsonStorage(tmp_path) if request.param == "folder" else SqliteStorage(db_file=tmp_path / "sessions.db")


def test_sessions_and_its_async_form_yield_all_pages(storage: JsonStorage | SqliteStorage) -> None:
    for number in range(60):
        storage.append(f"s{number}", answered(f"r{number}"), user_id="alice" if number else "bob")
    expected = storage.get_all_session_ids()

    async def listed() -> list[str]:
        return [info.session_id async for info in storage.asessions()]

    assert asyncio.run(listed()) == [info.session_id for info in storage.sessions()] == [*storage] == expected
    assert [info.session_id for info in storage.sessions(Filter(user="bob"))] == ["s0"]
    assert len(storage) == len(storage.get_all_sessions()) == 60


def test_an_async_iteration_that_is_left_lists_no_further_page(storage: JsonStorage | SqliteStorage) -> None:
    for number in range(60):
        storage.append(f"s{number}", answered(f"r{number}"))

    async def first() -> str:
        async for info in storage.asessions():
            return info.session_id
        raise AssertionError

    assert asyncio.run(first()) == storage.get_all_session_ids()[0]
