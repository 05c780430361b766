"""An SQL storage is opened, and what is wrong with an address, a server or a table is one clear error."""

import math
import os
import pickle
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from localstore import (
    LocalstoreError,
    LockTimeout,
    Message,
    NewerFormat,
    OlderFormat,
    Run,
    StoreNotFound,
    StoreUnavailable,
)
from localstore.databases.sql import PostgresStorage, SqliteStorage, SqlStorage
from localstore.databases.sql_backend import SqlBackend
from localstore.models.times import now
from tests.effort import ci_only, long_only
from tests.mariadb import mariadb_url
from tests.postgres import postgres_url

SECRET = "not-for-eyes"  # noqa: S105


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder}/sessions.db"


def one_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert SECRET not in text
    assert SECRET not in repr(error.value)
    return text


def test_two_handles_and_the_names_that_people_know_see_the_same_sessions(tmp_path: Path) -> None:
    SqlStorage(url_of(tmp_path)).append("s1", Run(run_id="r1"))
    assert [*SqliteStorage(db_file=tmp_path / "sessions.db")] == ["s1"]
    assert [*SqlStorage(url_of(tmp_path), "others")] == []


def test_a_storage_travels_to_another_process(tmp_path: Path) -> None:
    storage = SqliteStorage("chats", tmp_path / "sessions.db", lock_timeout=3)
    storage.append("s1", Run(run_id="r1"))
    copy = pickle.loads(pickle.dumps(storage))  # noqa: S301
    assert type(copy) is SqliteStorage
    assert [*copy] == ["s1"]
    assert repr(copy) == f"SqliteStorage('sqlite:///{tmp_path}/sessions.db, table chats')"


def test_a_search_goes_on_behind_a_session_that_is_deleted_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search found less than it asked for, and took that for the end."""
    storage = SqliteStorage(db_file=tmp_path / "sessions.db")
    for number in range(60):
        storage.append(f"s{number}", Run(messages=[Message(role="user", content="Which train?")]))
    read, session_ids = SqlBackend._entries_at, iter(["s59"])

    def delete_first(backend: SqlBackend, places: Iterable[Any]) -> list[Any]:
        for session_id in session_ids:
            storage.delete_session(session_id)
        return read(backend, places)

    monkeypatch.setattr(SqlBackend, "_entries_at", delete_first)
    assert "s0" in [hit.session_id for hit in storage.search("train", limit=None)]


def test_a_closed_storage_opens_again(tmp_path: Path) -> None:
    with SqlStorage(url_of(tmp_path)) as storage:
        storage.append("s1", Run(run_id="r1"))
    assert "s1" in storage


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", "no address of a database"),
        (f"no url {SECRET}", "no address of a database"),
        (f"postgresql://me:{SECRET}@host:port/db", "no address of a database"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        (f"nosuch://me:{SECRET}@host/db", "does not know: nosuch"),
    ],
)
def test_a_wrong_address_is_a_value_error_without_the_password(url: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected) as caught:
        SqlStorage(url)
    one_line(caught)


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    for options, words in (
        ({"table": "a b"}, "table must be"),
        ({"table": ""}, "table must be"),
        ({"schema": "x;y"}, "schema must be"),
        ({"lock_timeout": -1}, "lock_timeout"),
    ):
        with pytest.raises(ValueError, match=words):
            SqlStorage(url_of(tmp_path), **options)
    with pytest.raises(TypeError, match="auto_upgrade_schema"):
        SqlStorage(url_of(tmp_path), auto_upgrade_schema=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="url"):
        SqlStorage(7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="db_file is empty"):
        SqliteStorage(db_file="")


def test_a_missing_driver_says_what_to_install() -> None:
    """The extra `sql` was named, which has another driver."""
    for driver, advice in (
        ("mysql+mysqldb", "Install the driver"),
        ("postgresql+psycopg2", "begins with postgresql://"),
    ):
        with pytest.raises(StoreUnavailable, match=f"needs the package .*{advice}") as caught:
            SqlStorage(f"{driver}://me:{SECRET}@localhost/db")
        one_line(caught)


def test_without_sqlalchemy_the_error_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "from localstore.databases.sql import SqlStorage\n"
        "try: SqlStorage('sqlite:///x.db')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("StoreUnavailable SqlStorage needs the package sqlalchemy")
    assert "pip install 'localstore-sessions[sql]'" in done.stdout


def test_a_folder_that_does_not_exist_and_a_file_of_something_else_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="unable to open database file") as caught:
        SqliteStorage(db_file=tmp_path / "nowhere" / "x.db")
    assert "nowhere/x.db" in one_line(caught)
    (tmp_path / "text.db").write_text("This is no database. " * 100)
    with pytest.raises(StoreUnavailable, match="not a database") as caught:
        SqliteStorage(db_file=tmp_path / "text.db")
    assert (tmp_path / "text.db").read_text().startswith("This is no database.")


def test_a_table_of_another_program_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "sessions.db") as connection:
        connection.execute("CREATE TABLE agent_sessions(id INTEGER)")
        connection.execute("CREATE TABLE chats(session_id TEXT, session_data TEXT, memory TEXT)")
    connection.close()
    with pytest.raises(StoreUnavailable, match="table of another program"):
        SqlStorage(url_of(tmp_path))
    with pytest.raises(OlderFormat, match="table of agno"):
        SqlStorage(url_of(tmp_path), "chats")


@pytest.mark.parametrize("name", ["entries", "labels", "aside", "info", "words"])
def test_a_table_of_another_program_beside_that_of_the_sessions_is_left_alone(tmp_path: Path, name: str) -> None:
    """A store was made around it, into which no session could be stored or moved to the trash."""
    with sqlite3.connect(tmp_path / "sessions.db") as connection:
        connection.execute(f"CREATE TABLE agent_sessions_{name}(id INTEGER, name TEXT, value TEXT)")
    connection.close()
    for create in (True, False):
        with pytest.raises(StoreUnavailable, match=f"agent_sessions_{name}, which is a table of another program"):
            SqlStorage(url_of(tmp_path), create=create)
    with sqlite3.connect(tmp_path / "sessions.db") as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)
        connection.execute(f"ALTER TABLE agent_sessions_{name} RENAME COLUMN value TO what")
    connection.close()
    with pytest.raises(StoreUnavailable, match=f"agent_sessions_{name}, which is a table of another program"):
        SqlStorage(url_of(tmp_path))


@pytest.mark.parametrize("name", ["a?b.db", "a#b.db", "100%25.db", "a b.db", "é.db"])
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    """Of `a?b.db`, the file `a` was made, and `%25` became another character."""
    storage = SqliteStorage(db_file=tmp_path / name)
    storage.append("s1", Run(run_id="r1"))
    assert [*pickle.loads(pickle.dumps(storage))] == ["s1"]  # noqa: S301
    storage.close()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_name_that_means_no_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with this name was made."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="nothing would be kept"):
        SqliteStorage(db_file=":memory:")
    assert not [*tmp_path.iterdir()]


def test_a_schema_in_sqlite_is_refused(tmp_path: Path) -> None:
    """The error was a wrong statement of SQL."""
    with pytest.raises(ValueError, match="Leave schema out"):
        SqlStorage(url_of(tmp_path), schema="ai")
    with pytest.raises(ValueError, match="Leave schema out"):
        PostgresStorage(db_url=url_of(tmp_path))


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (f"postgresql:///me:{SECRET}@h/db", "three slashes"),
        (f"postgresql://h:1/db?password=@{SECRET}", "Write it as %40"),
        ("sqlite:///sessions.db?tabel=mine", "no option 'tabel'"),
    ],
)
def test_a_mistyped_url_is_refused(url: str, problem: str) -> None:
    """The first two showed the password, or a part of it. With the last, the sessions went to another table."""
    with pytest.raises(ValueError, match=problem) as caught:
        SqlStorage(url)
    one_line(caught)


def test_a_file_that_a_uri_names_is_found(tmp_path: Path) -> None:
    """It was said to be missing."""
    SqlStorage(url_of(tmp_path)).close()
    SqlStorage(f"sqlite:///file:{tmp_path}/sessions.db?uri=true", create=False).close()


def test_a_file_that_is_removed_or_replaced_gets_no_more_writes(tmp_path: Path) -> None:
    """They were acknowledged, and went to a file without a name."""
    storage = SqlStorage(url_of(tmp_path))
    storage.append("s1", Run(run_id="r1"))
    (tmp_path / "old").mkdir()
    for path in tmp_path.glob("sessions.db*"):
        path.rename(tmp_path / "old" / path.name)
    for _ in range(2):
        with pytest.raises(StoreNotFound, match="the file was removed after it had been opened"):
            storage.append("s1", Run(run_id="r2"))
        assert not (tmp_path / "sessions.db").exists()
    with SqlStorage(url_of(tmp_path)) as other:
        storage.append("s2", Run(run_id="r2"))
        assert [*other] == [*storage] == ["s2"]
    with SqlStorage(url_of(tmp_path / "old")) as moved:
        assert [*moved] == ["s1"]
    storage.close()


def test_the_advice_is_about_a_file_and_not_about_a_server(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"unable to open database file\. Check the path of the file, its"):
        SqlStorage(f"sqlite:///{tmp_path}/nowhere/sessions.db")


def test_tables_of_a_newer_release_are_left_alone(tmp_path: Path) -> None:
    SqlStorage(url_of(tmp_path)).close()
    connection = sqlite3.connect(tmp_path / "sessions.db")
    with connection:
        connection.execute("UPDATE agent_sessions_info SET value = '99'")
    connection.close()
    with pytest.raises(NewerFormat, match="layout 99"):
        SqlStorage(url_of(tmp_path))


def test_a_locked_file_is_waited_for_and_then_an_error(tmp_path: Path) -> None:
    storage = SqlStorage(url_of(tmp_path), lock_timeout=0.05)
    connection = sqlite3.connect(tmp_path / "sessions.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(LockTimeout, match=r"longer than 0\.05 s"):
        storage.append("s1", Run(run_id="r1"))
    assert len(storage) == 0
    connection.execute("ROLLBACK")
    connection.close()
    storage.append("s1", Run(run_id="r1"))


def test_a_store_is_opened_and_read_while_another_process_writes(tmp_path: Path) -> None:
    """A look at the tables waited for the writer, for as long as a large copy takes."""
    SqlStorage(url_of(tmp_path)).append("s1", Run(run_id="r1"))
    connection = sqlite3.connect(tmp_path / "sessions.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    assert [*SqlStorage(url_of(tmp_path), lock_timeout=0.05)] == ["s1"]
    connection.close()


def test_a_call_waits_for_a_free_connection_and_then_says_that_there_is_none(tmp_path: Path) -> None:
    storage = SqlStorage(url_of(tmp_path), lock_timeout=0.1)
    storage.append("s1", Run(run_id="r1"))
    engine = storage._backend._connections._open()  # type: ignore[attr-defined]
    with ExitStack() as held:
        for _ in range(15):
            held.enter_context(engine.connect())
        with pytest.raises(LockTimeout, match=r"all connections are in use by other threads for 0\.1 s"):
            storage.append("s1", Run(run_id="r2"))
    storage.append("s1", Run(run_id="r2"))


def test_a_full_disk_is_an_error_and_loses_nothing(tmp_path: Path) -> None:
    storage = SqlStorage(url_of(tmp_path))
    storage.append("s1", Run(run_id="r1"))
    backend = storage._backend
    connections = backend._connections  # type: ignore[attr-defined]
    connections.read(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 1").scalar())
    with pytest.raises(StoreUnavailable, match="full"):
        storage.append("s1", Run(run_id="r2", input="x" * 1_000_000))
    connections.close()
    session = storage.read("s1")
    assert session is not None
    assert [run.run_id for run in session.runs] == ["r1"]


def test_a_session_of_a_newer_release_is_not_read(tmp_path: Path) -> None:
    storage = SqlStorage(url_of(tmp_path))
    storage.append("s1", Run(run_id="r1"))
    connection = sqlite3.connect(tmp_path / "sessions.db")
    with connection:
        connection.execute(
            "UPDATE agent_sessions_entries SET content = replace(content, '\"schema_version\":1', "
            "'\"schema_version\":99') WHERE position = -1"
        )
        connection.execute("UPDATE agent_sessions SET facts = replace(facts, '\"version\":1', '\"version\":99')")
    connection.close()
    with pytest.raises(NewerFormat, match="version 99"):
        storage.read("s1")
    with pytest.raises(NewerFormat, match="version 99"):
        storage.append("s1", Run(run_id="r2"))


# PostgreSQL


@ci_only
def test_wrong_passwords_databases_and_hosts_are_named_without_the_password() -> None:
    right = make_url(postgres_url())
    for wrong, words in (
        (right.set(password=SECRET), "password authentication failed .*Check the user and the password"),
        (right.set(username="nobody-here", password=SECRET), "authentication failed .*Check the user and"),
        (right.set(database="nowhere"), 'database "nowhere" does not exist'),
        (make_url(f"postgresql://me:{SECRET}@127.0.0.1:1/db"), "refused"),
        (make_url(f"postgresql:///db?host=/nowhere&password={SECRET}"), "nowhere"),
    ):
        with pytest.raises(StoreUnavailable, match=words) as caught:
            PostgresStorage(db_url=wrong)
        one_line(caught)
        assert "Check the " in str(caught.value)


@ci_only
def test_the_address_that_people_see_has_no_password() -> None:
    url = make_url(postgres_url())
    storage = PostgresStorage(db_url=url, schema="shown")
    assert url.password
    assert url.password not in repr(storage)
    storage.append("s1", Run(run_id="r1"))
    session = storage.read("s1")
    assert session is not None
    assert url.password not in repr(vars(session))
    storage.close()


@ci_only
def test_the_oldest_names_work_and_schemas_are_apart() -> None:
    one = PostgresStorage(table_name="sessions", db_url=postgres_url(), schema="one")
    other = PostgresStorage("sessions", postgres_url(), "other")
    one.append("s1", Run(run_id="r1"))
    assert (len(one), len(other)) == (1, 0)
    one.close()
    other.close()


@ci_only
def test_a_server_that_only_reads_is_an_error() -> None:
    url = make_url(postgres_url())
    PostgresStorage(db_url=url, schema="reads").append("s1", Run(run_id="r1"))
    reading = PostgresStorage(
        db_url=url.update_query_dict({"options": "-c default_transaction_read_only=on"}), schema="reads"
    )
    assert [*reading] == ["s1"]
    with pytest.raises(StoreUnavailable, match="read-only transaction"):
        reading.append("s1", Run(run_id="r2"))
    reading.close()


@ci_only
def test_a_user_of_one_schema_needs_no_right_to_create_others() -> None:
    """PostgreSQL wants that right for CREATE SCHEMA IF NOT EXISTS, also if the schema exists."""
    url = make_url(postgres_url())
    with psycopg.connect(postgres_url(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE app LOGIN PASSWORD '{SECRET}'")
        connection.execute("CREATE SCHEMA of_app")
        with pytest.raises(StoreUnavailable, match=r"permission denied for schema of_app\. Give the user the rights"):
            PostgresStorage(db_url=url.set(username="app", password=SECRET), schema="of_app")
        connection.execute("GRANT ALL ON SCHEMA of_app TO app")
    with PostgresStorage(db_url=url.set(username="app", password=SECRET), schema="of_app") as storage:
        storage.append("s1", Run(run_id="r1"))
        assert [*storage] == ["s1"]


@ci_only
def test_a_long_time_to_wait_is_one_that_the_server_takes() -> None:
    """An infinite one was an OverflowError, and one of a month an error of the server."""
    for seconds in (math.inf, 1e9):
        PostgresStorage(db_url=postgres_url(), schema="patient", lock_timeout=seconds).close()


def test_a_child_of_a_fork_and_its_parent_write_at_once(tmp_path: Path) -> None:
    _write_on_both_sides(SqlStorage(url_of(tmp_path)))


@ci_only
def test_a_child_of_a_fork_and_its_parent_write_at_once_to_postgres() -> None:
    _write_on_both_sides(PostgresStorage(db_url=postgres_url(), schema="forked"))


def _write_on_both_sides(storage: SqlStorage) -> None:
    storage.append("s1", Run(run_id="before", created_at=now()))
    child = os.fork()
    if not child:
        code = 1
        try:
            for number in range(10):
                storage.append("s1", Run(run_id=f"child-{number}"))
            code = 0
        finally:
            os._exit(code)
    for number in range(10):
        storage.append("s1", Run(run_id=f"parent-{number}"))
    assert os.waitpid(child, 0)[1] == 0
    storage.append("s1", Run(run_id="after"))
    session = storage.read("s1")
    assert session is not None
    stored = [run.run_id for run in session.runs]
    assert (stored[0], stored[-1], len(stored)) == ("before", "after", 22)
    for side in ("child", "parent"):
        assert [one for one in stored if one.startswith(side)] == [f"{side}-{number}" for number in range(10)]
    storage.close()


def run_ids(storage: SqlStorage) -> list[str]:
    session = storage.read("s1")
    assert session is not None
    return [run.run_id for run in session.runs]


@long_only
def test_in_mariadb_a_locked_session_is_waited_for_and_then_an_error(tmp_path: Path) -> None:
    with SqlStorage(mariadb_url(), "locked", lock_timeout=1) as storage:
        storage.append("s1", Run(run_id="r1"))

        def second() -> None:
            with pytest.raises(LockTimeout, match="holds a lock for longer than 1 s"):
                storage.append("s1", Run(run_id="r2"))

        with ThreadPoolExecutor() as threads:
            storage._backend.change("s1", lambda locked: threads.submit(second).result())
        storage.append("s1", Run(run_id="r2"))
        assert run_ids(storage) == ["r1", "r2"]


@long_only
def test_in_mariadb_tables_and_sessions_are_created_at_once() -> None:
    url = mariadb_url()

    def create(number: int) -> None:
        with SqlStorage(url, "at_once") as storage:
            storage.append("s1", Run(run_id=f"r{number}"))

    with ThreadPoolExecutor(8) as threads:
        assert [*threads.map(create, range(8))] == [None] * 8
    with SqlStorage(url, "at_once") as storage:
        assert sorted(run_ids(storage)) == [f"r{number}" for number in range(8)]


@long_only
def test_in_mariadb_ids_are_compared_byte_by_byte() -> None:
    """The collations there take "a" for "a " and, by default, for "A" and "ä"."""
    ids = ["a", "a ", "A", "ä", "🎁", "x" * 400, "x" * 401]
    with SqlStorage(mariadb_url(), "compared") as storage:
        for session_id in ids:
            storage.append(session_id, Run(run_id=session_id), user_id=session_id)
        assert [len(storage.list_sessions(user_id=user)) for user in ids] == [1] * len(ids)
        assert sorted(storage) == sorted(ids)


@long_only
def test_in_mariadb_a_wrong_password_is_named_without_the_password() -> None:
    url = make_url(mariadb_url()).set(username="nobody", password=SECRET)
    with pytest.raises(StoreUnavailable) as caught:
        SqlStorage(url)
    assert "Access denied" in one_line(caught)


def test_every_error_is_one_of_localstore() -> None:
    assert issubclass(StoreUnavailable, LocalstoreError)
    assert issubclass(StoreUnavailable, OSError)
