"""The tables of a store in an SQL database.

The session comes first in every key, so that the tables can be distributed by it.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    column,
    table,
)
from sqlalchemy import text as sql_text
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.types import VARBINARY, TypeDecorator, TypeEngine

LAYOUT = "1"
"""The version of the tables."""
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}\Z")
"""The names of tables and schemas: with a suffix, databases take them."""

_KEY_BYTES, _KEY_START = 400, 100
_MARK = "\x01"
_KEY_LENGTH = 512
MYSQL = ("mysql", "mariadb")
"""The names that SQLAlchemy has for MySQL and MariaDB."""


def key(text: str) -> str:
    """Return a text as databases compare and index it. It is the text itself, unless that is long or has a NUL."""
    if "\0" not in text and _MARK not in text and (len(text) <= _KEY_START or len(text.encode()) <= _KEY_BYTES):
        return text
    return f"{start_of_key(text)}{_MARK}{sha256(text.encode()).hexdigest()}"


def start_of_key(text: str) -> str:
    """Return what the keys of all texts with this beginning begin with."""
    return plain_start(text)[:_KEY_START]


def plain_start(text: str) -> str:
    """Return a text up to the first character that its key cannot have."""
    return re.split("[\0\x01]", text, maxsplit=1)[0]


def hashed_keys(text: str) -> tuple[str, str]:
    """Return between which texts the keys with a hash are that begin like the key of this text."""
    return start_of_key(text) + _MARK, start_of_key(text) + chr(ord(_MARK) + 1)


def optional_key(text: str | None) -> str | None:
    """Return the key of a text, or None for None."""
    return None if text is None else key(text)


class _KeyBytes(TypeDecorator[str]):
    """A key as its bytes in UTF-8, for MySQL and MariaDB.

    Their collations ignore spaces at the end, and an index takes fewer characters than bytes.
    """

    impl = VARBINARY
    cache_ok = True

    def process_bind_param(self, value: str | None, _: Any) -> bytes | None:
        return None if value is None else value.encode()

    def process_result_value(self, value: bytes | None, _: Any) -> str | None:
        return None if value is None else value.decode()


def _key_type(dialect: str) -> TypeEngine[str]:
    """Return the type of keys, which are ordered by their code points. SQLite does so without a collation."""
    if dialect in MYSQL:
        return _KeyBytes(_KEY_LENGTH)
    return String(_KEY_LENGTH, collation="C" if dialect == "postgresql" else None)


class Tables:
    """The tables of one store."""

    def __init__(self, name: str, schema: str | None, dialect: str) -> None:
        self.metadata = metadata = MetaData(schema=schema)
        self.name = name
        self.schema = schema
        self.is_postgres = dialect == "postgresql"
        self.is_sqlite = dialect == "sqlite"
        self.is_mysql = dialect in MYSQL
        text = Text().with_variant(LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), *MYSQL)

        def key_column(column: str, **options: Any) -> Column[Any]:
            return Column(column, _key_type(dialect), **options)

        def session_id() -> Column[Any]:
            return key_column("session_id", nullable=False)

        def where_given(index: str, *columns: str, given: str) -> Index:
            """Return an index of the rows that have a value in a column, where the database has such indexes."""
            condition = sql_text(f"{given} IS NOT NULL")
            return Index(f"{name}_{index}", *columns, postgresql_where=condition, sqlite_where=condition)

        self.sessions = Table(
            name,
            metadata,
            key_column("session_id", primary_key=True),
            key_column("kind", nullable=False),
            key_column("user_id"),
            key_column("entity_id"),
            key_column("name"),
            key_column("status"),
            key_column("created_at", nullable=False),
            key_column("active_at", nullable=False),
            Column("runs", BigInteger, nullable=False),
            Column("next_position", BigInteger, nullable=False),
            Column("facts", text, nullable=False),
            Index(f"{name}_by_time", "active_at", "session_id"),
            Index(f"{name}_of_user", "user_id", "active_at", "session_id"),
            where_given("of_entity", "entity_id", "active_at", "session_id", given="entity_id"),
            where_given("by_name", "name", given="name"),
        )
        number: list[Any] = [Column("number", Integer, primary_key=True)] if self.is_sqlite else []
        words: list[Any] = [Column("words", TSVECTOR)] if self.is_postgres else []
        place = Index(f"{name}_place", "session_id", "position", unique=True)
        self.entries = Table(
            f"{name}_entries",
            metadata,
            *number,
            session_id(),
            Column("position", BigInteger, nullable=False),
            key_column("run_id"),
            key_column("created_at", nullable=False),
            Column("content", text, nullable=False),
            *words,
            place if self.is_sqlite else PrimaryKeyConstraint("session_id", "position"),
            where_given("run", "session_id", "run_id", "position", given="run_id"),
            Index(f"{name}_newest", "created_at", "session_id", "position"),
            *([Index(f"{name}_search", "words", postgresql_using="gin")] if self.is_postgres else []),
            sqlite_autoincrement=True,
        )
        self.labels = Table(
            f"{name}_labels",
            metadata,
            session_id(),
            key_column("kind", nullable=False),
            key_column("value", nullable=False),
            PrimaryKeyConstraint("session_id", "kind", "value"),
            Index(f"{name}_label", "kind", "value", "session_id"),
        )
        self.aside = Table(
            f"{name}_aside",
            metadata,
            key_column("name", primary_key=True),
            session_id(),
            key_column("made_at", nullable=False),
            Column("about", text, nullable=False),
            Column("content", text, nullable=False),
            Index(f"{name}_aside_of", "session_id"),
        )
        self.info = Table(
            f"{name}_info",
            metadata,
            key_column("name", primary_key=True),
            Column("value", text, nullable=False),
        )

        self.words: Any = None
        """The column with the words of an entry in PostgreSQL. In SQLite, the rowid in a table of words: the number of
        an entry. None in other databases."""
        if self.is_postgres:
            self.words = self.entries.c.words
        elif self.is_sqlite:
            self.words = table(self.words_table, column("rowid")).c.rowid

    def address(self, database: str) -> str:
        """Return where the sessions are, for people, given the address of the database."""
        return f"{database}, table {self.name if self.schema is None else f'{self.schema}.{self.name}'}"

    @property
    def words_table(self) -> str:
        """The name of the table with the words of all entries, in SQLite."""
        return f"{self.name}_words"
