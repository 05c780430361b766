"""Databases and users of PostgreSQL may have settings of their own: an encoding, a level of isolation, limits."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL, make_url

from localstore import Message, Run, StoreUnavailable
from localstore.databases.sql import SqlStorage
from localstore.databases.sql_connections import Connections
from tests.effort import ci_only
from tests.postgres import postgres_url

pytestmark = ci_only


@contextmanager
def database(name: str, encoding: str) -> Iterator[URL]:
    """Make a database with an encoding, and drop it at the end."""
    with psycopg.connect(postgres_url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 LOCALE 'C' ENCODING '{encoding}'")
        yield make_url(postgres_url()).set(database=name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def with_options(options: str) -> URL:
    return make_url(postgres_url()).update_query_dict({"options": options})


def asked(question: str) -> Run:
    return Run(messages=[Message(role="user", content=question)])


def test_a_database_that_takes_any_bytes_holds_all_text() -> None:
    """The driver returned bytes, and opening the storage was a TypeError."""
    with database("any_bytes", "SQL_ASCII") as url, SqlStorage(url) as storage:
        storage.append("trip", asked("Grüße aus 東京 🚆"), user_id="ädda")
        session = storage.read("trip")
        assert session is not None
        assert session.runs[0].question == "Grüße aus 東京 🚆"
        assert [hit.snippet for hit in storage.search("東京")] == ["Grüße aus 東京 🚆"]
        assert [info.session_id for info in storage.list_sessions(user_id="ädda")] == ["trip"]


def test_a_database_that_cannot_hold_all_text_is_refused_before_anything_is_made() -> None:
    """A store could be made there, and an answer with a character that it lacks was a UnicodeEncodeError."""
    with database("western", "LATIN1") as url:
        with pytest.raises(
            StoreUnavailable, match=r"encoding LATIN1, which .* Use a database with the encoding UTF8\."
        ):
            SqlStorage(url)
        with pytest.raises(StoreUnavailable, match="encoding LATIN1"):
            SqlStorage(url, schema="own")
        address = url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(address) as connection:
            made = "SELECT count(*) FROM pg_class, pg_namespace n WHERE relnamespace = n.oid AND nspname = ANY(%s)"
            assert connection.execute(made, [["public", "own"]]).fetchone() == (0,)


@pytest.mark.parametrize("level", ["serializable", "repeatable\\ read"])
def test_writers_to_one_session_wait_for_each_other_whatever_level_of_isolation_is_the_default(level: str) -> None:
    """They collided and were called again, at most five times, which took several times as long."""
    connections = Connections(with_options(f"-c default_transaction_isolation={level}"), 10.0)
    show = text("SHOW transaction_isolation")
    assert connections.write(lambda connection: connection.execute(show).scalar_one()) == "read committed"
    assert connections.read(lambda connection: connection.execute(show).scalar_one()) == "repeatable read"
    assert connections.write(lambda connection: connection.execute(show).scalar_one()) == "read committed"
    connections.close()


def test_a_search_path_without_a_schema_is_named_with_what_to_do() -> None:
    """The advice was to open the store again, which fails in the same way."""
    with pytest.raises(StoreUnavailable, match=r"no schema .* name its schema in the URL: \?schema=NAME\."):
        SqlStorage(with_options("-c search_path=nowhere"))


def test_a_statement_that_the_server_ends_is_named_with_what_to_do() -> None:
    """The advice was to check the address."""
    connections = Connections(with_options("-c statement_timeout=20"), 10.0)
    with pytest.raises(StoreUnavailable, match=r"statement timeout\. Raise the statement_timeout of the user"):
        connections.write(lambda connection: connection.execute(text("SELECT pg_sleep(60)")).scalar_one())
    connections.close()
