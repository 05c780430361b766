"""A storage in a database has everything that the contract asks for, also for async code."""

import asyncio
import inspect
import re
from pathlib import Path

import localstore
from localstore import JsonStorage, Run, SessionStorage
from localstore.databases.database_storage import DatabaseStorage
from localstore.databases.sql import SqlStorage

WITHOUT_TWIN = {"close", "sessions", "export", "path", "unreadable_files"}


def public(kind: type) -> set[str]:
    return {name for name, member in inspect.getmembers(kind) if callable(member) and not name.startswith("_")}


def test_every_method_of_the_contract_is_there_with_its_twin() -> None:
    wanted = public(SessionStorage)
    assert wanted <= public(DatabaseStorage)
    missing = {f"a{name}" for name in wanted - WITHOUT_TWIN} - public(DatabaseStorage)
    assert missing == set()


def test_the_page_names_the_calls_that_are_only_for_folders() -> None:
    """Some of them were on the page of the library, as if every storage had them."""
    page = Path(localstore.__file__).with_name("databases").joinpath("README.md").read_text("utf-8")
    named = re.search(r"These calls of the library are only for folders:\n(.*?)\.\n", page, re.DOTALL)
    assert named is not None
    missing = {name for name in public(JsonStorage) - public(DatabaseStorage) if f"a{name}" in dir(JsonStorage)}
    assert {*re.findall(r"`(\w+)`", named[1])} == missing | {"bulk"}


def test_twins_do_what_their_methods_do(tmp_path: Path) -> None:
    storage = SqlStorage(f"sqlite:///{tmp_path}/sessions.db")

    async def use() -> None:
        await asyncio.gather(*(storage.aappend("s1", Run(run_id=f"r{number}")) for number in range(8)))
        session = await storage.aread("s1")
        assert session is not None
        assert sorted(run.run_id for run in session.runs) == [f"r{number}" for number in range(8)]
        assert [info.session_id for info in await storage.alist_sessions()] == ["s1"]

    asyncio.run(use())
