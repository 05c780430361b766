"""The index: the rows of all sessions in SQLite, so that a question costs what its answer does.

It is folded from the manifest: it has the last usable line of each session, up to an offset in that file. It also has
what was found in the month folders: their times, and the files in them that are not the document of a session.

The tables are those of `row_table`, which `row_queries` reads, those of `found_table`, and the offset, which is here.
Each function of these modules works on a connection. Those that change something need an open transaction.
"""

import sqlite3
from typing import NamedTuple

from localstore.index import found_table, row_table
from localstore.index.sqlite_file import Layout

LAYOUT = Layout(
    application=0x6C73_6978,
    format=3,
    statements=f"""
    CREATE TABLE folded(manifest BLOB NOT NULL, offset INTEGER NOT NULL, tail BLOB NOT NULL, lines INTEGER NOT NULL);
{row_table.STATEMENTS}
{found_table.STATEMENTS}
    """,
)


class Position(NamedTuple):
    """How far the manifest is folded."""

    manifest: bytes
    """What identifies the manifest."""
    offset: int
    tail: bytes
    """The last bytes before the offset; see `ManifestFile.tail`."""
    lines: int
    """The number of lines before the offset."""


def position(connection: sqlite3.Connection) -> Position | None:
    """Return how far the manifest is folded, or None if nothing was folded yet."""
    found = connection.execute("SELECT manifest, offset, tail, lines FROM folded").fetchone()
    return None if found is None else Position(*found)


def set_position(connection: sqlite3.Connection, at: Position) -> None:
    """Store how far the manifest is folded."""
    connection.execute("DELETE FROM folded")
    connection.execute("INSERT INTO folded VALUES (?, ?, ?, ?)", at)


def clear(connection: sqlite3.Connection) -> None:
    """Remove everything, because it does not come from the current manifest."""
    for table in ("folded", "session", "usage", "label", "folder", "exception", "sweep"):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 (no input)


def verify(connection: sqlite3.Connection) -> None:
    """Raise DatabaseError if a page is damaged, as it may be after a power cut."""
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)
