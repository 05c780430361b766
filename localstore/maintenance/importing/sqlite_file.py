"""Read SQLite databases of other programs, which may be in use."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from localstore.maintenance.importing.source import open_file

DATABASE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What reading a damaged database raises."""
_WAL = b"\x02\x02"
"""The bytes 18 and 19 of a database with a write-ahead log."""


def is_idle(path: Path) -> bool:
    """Return whether a database has a log when it is in use, and has none now. Raises OSError if it cannot be opened.

    To read such a database, SQLite would make a log, unless it is told that the file is immutable.
    """
    with open_file(path) as file:
        return file.read(20)[18:] == _WAL and not Path(f"{path}-wal").exists()


def reading_address(path: Path, *, immutable: bool) -> str:
    """Return the URI by which SQLite opens a database for reading, so that the file does not change."""
    return f"{path.absolute().as_uri()}?{'immutable=1' if immutable else 'mode=ro'}"


def opened(path: Path) -> closing[sqlite3.Connection]:
    """Open a database for reading. The file does not change. Raises OSError if it cannot be opened."""
    database = sqlite3.connect(reading_address(path, immutable=is_idle(path)), uri=True, timeout=10)
    database.row_factory = sqlite3.Row
    database.text_factory = _text
    return closing(database)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def columns(database: sqlite3.Connection, table: str) -> list[str]:
    """Return the columns of a table, none if there is no such table. Raises sqlite3.Error."""
    return [row["name"] for row in database.execute("SELECT name FROM pragma_table_info(?)", (table,))]


def tables(database: sqlite3.Connection) -> list[str]:
    """Return the names of all tables. Raises sqlite3.Error."""
    return [
        row["name"] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    ]


def rows(
    database: sqlite3.Connection, table: str, *, order: str = "", where: str = "", values: tuple[Any, ...] = ()
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table, one at a time; none if there is no such table.

    Args:
        database: The database.
        table: The name of the table.
        order: The SQL after ORDER BY, if the order counts.
        where: The SQL after WHERE, to select rows.
        values: The values for the placeholders in `where`.

    Raises sqlite3.Error.
    """
    if not columns(database, table):
        return
    name = table.replace('"', '""')
    condition = f" WHERE {where}" if where else ""
    ending = f" ORDER BY {order}" if order else ""
    for row in database.execute(f'SELECT * FROM "{name}"{condition}{ending}', values):  # noqa: S608 (quoted above)
        yield dict(row)
