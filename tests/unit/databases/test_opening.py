"""A store is opened by its path or its URL, and no password is shown."""

from __future__ import annotations

import doctest
import gc
import sqlite3
import sys
import threading
import weakref
from contextlib import closing
from pathlib import Path

import pytest

from localstore import JsonStorage, StoreNotFound, StoreUnavailable, open_storage
from localstore.databases import opening
from localstore.databases.opening import is_url, without_password
from localstore.databases.sql import SqlStorage
from localstore.databases.sql_connections import Connections
from tests.cli.database_urls import URLS
from tests.effort import ci_only


def test_the_examples_give_what_they_say() -> None:
    for name in ("is_url", "without_password"):
        (example,) = doctest.DocTestFinder(recurse=False).find(getattr(opening, name), name, globs=vars(opening))
        assert doctest.DocTestRunner().run(example).failed == 0


def test_a_path_is_a_folder_and_a_url_a_database(tmp_path: Path) -> None:
    assert isinstance(open_storage(tmp_path / "a"), JsonStorage)
    with open_storage(f"sqlite:///{tmp_path}/a.db") as storage:
        assert isinstance(storage, SqlStorage)
    with pytest.raises(StoreNotFound):
        open_storage(tmp_path / "nowhere", create=False)


def test_a_store_that_is_not_there_is_not_created_by_a_look(tmp_path: Path) -> None:
    """A typing mistake in the URL made an empty database."""
    url = f"sqlite:///{tmp_path}/a.db"
    for _ in range(2):
        with pytest.raises(StoreNotFound, match="There is no store in sqlite:///"):
            open_storage(url, create=False)
        assert not (tmp_path / "a.db").exists()
    open_storage(url).close()
    with pytest.raises(StoreNotFound, match="table other"):
        open_storage(f"{url}?table=other", create=False)
    open_storage(url, create=False).close()


@ci_only
@pytest.mark.parametrize("other", ["postgres", "mongo"])
def test_a_server_without_the_store_is_not_changed_by_a_look(tmp_path: Path, other: str) -> None:
    url = URLS[other](tmp_path)
    for _ in range(2):
        with pytest.raises(StoreNotFound, match="There is no store in"):
            open_storage(url, create=False)
    open_storage(url).close()
    open_storage(url, create=False).close()


@pytest.mark.parametrize("url", ["sqlite:///{}/a.db", "postgresql://nobody@localhost/nothing"])
def test_connections_that_nobody_uses_any_more_are_freed(tmp_path: Path, url: str) -> None:
    """Those to PostgreSQL were held by their own engine, and stayed open until the process ended."""
    connections = Connections(url.format(tmp_path), 1.0)
    found = weakref.ref(connections)
    del connections
    gc.collect()
    assert found() is None


def test_connections_that_are_the_first_of_a_file_at_the_same_time_wait_for_each_other(tmp_path: Path) -> None:
    """One of them was refused at once, with an error that said that it had waited for 10 seconds."""
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("CREATE TABLE t (a)")
        other.execute("BEGIN IMMEDIATE")
        end = threading.Timer(0.05, other.rollback)
        end.start()
        connections = Connections(f"sqlite:///{path}", 10.0)
        assert connections.read(lambda one: one.exec_driver_sql("SELECT count(*) FROM t").scalar_one()) == 0
        connections.close()
        end.join()


def test_options_of_ours_are_not_given_to_the_driver(tmp_path: Path) -> None:
    with open_storage(f"sqlite:///{tmp_path}/a.db?table=mine&timeout=3") as storage:
        assert repr(storage).endswith("table mine')")


@pytest.mark.parametrize("text", ["chats", "./a/b", "/chats/a", "C:/chats", "c:\\chats", "", "~/x", "a:b", "1:/x"])
def test_a_path_is_no_url(text: str) -> None:
    assert not is_url(text)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h/db", "postgresql://u:***@h/db"),
        ("postgresql+psycopg://u:p%40@h/db?password=x&sslpassword=y#z", None),
        ("mongodb://u:p@h1:1,h2:2/db", "mongodb://u:***@h1:1,h2:2/db"),
        ("mongodb://u@h/db", "mongodb://u@h/db"),
        ("postgresql://u:p:q@h/db", "postgresql://u:***@h/db"),
        ("sqlite:///a.db", "sqlite:///a.db"),
    ],
)
def test_a_password_is_not_shown(url: str, shown: str | None) -> None:
    expected = "postgresql+psycopg://u:***@h/db?password=***&sslpassword=***#z" if shown is None else shown
    assert without_password(url) == expected


@pytest.mark.parametrize(
    "url", ["redis://u:s3cret@h/1", "http://u:s3cret@h", "postgresql://u:s3cret@h:x/db", "mongodb://"]
)
def test_a_url_of_no_database_is_refused(url: str) -> None:
    with pytest.raises(StoreNotFound, match=r"is not the URL of a store.*mongodb://HOST/DATABASE") as caught:
        open_storage(url)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("pymongo", "localstore.databases.mongo_"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pymongo", None)
    with pytest.raises(StoreUnavailable, match=r"pip install 'localstore-sessions\[mongo\]'"):
        open_storage("mongodb://127.0.0.1/db")


@pytest.mark.parametrize("password", ["s3cret", "s3/cret", "s3?cret", "s3#cret", "s3@cret", "s3:cret", "/@?s3cret"])
def test_a_password_with_any_characters_is_not_shown(password: str) -> None:
    """With a / in it, the whole URL was printed."""
    for scheme in ("postgresql", "mongodb", "mongodb+srv", "http"):
        url = f"{scheme}://alice:{password}@db.example.com/agents"
        assert without_password(url) == f"{scheme}://alice:***@db.example.com/agents"
        assert without_password(f"{url}?sslpassword=x") == f"{scheme}://alice:***@db.example.com/agents?sslpassword=***"


def test_a_password_in_a_mistyped_url_is_not_shown() -> None:
    """One or three slashes in front of the user, and an @ in an option, were not expected."""
    for url in ("postgresql:/u:s3cret@h/db", "postgresql:///u:s3cret@h/db", "mongodb:///u:s3cret@h/db"):
        assert without_password(url) == url.replace("s3cret", "***")
        with pytest.raises(StoreNotFound) as caught:
            open_storage(url)
        assert "s3cret" not in str(caught.value)
    for url in ("postgresql://u:s3cret@h/db?sslpassword=a@s3cret", "postgresql://h:1/db?password=a@s3cret"):
        assert "s3cret" not in without_password(url)


@pytest.mark.parametrize("url", ["sqlite:///{}/a.db?collection=mine", "mongodb://localhost/db?table=mine"])
def test_an_option_of_other_databases_is_refused(tmp_path: Path, url: str) -> None:
    """It was ignored: the sessions were stored in another place than the URL says."""
    with pytest.raises(StoreNotFound, match=r"is not the URL of a store: it takes .*, and not "):
        open_storage(url.format(tmp_path))
    assert not (tmp_path / "a.db").exists()
