"""The tables of what scans found in the month folders, and of the last sweep."""

import json
import sqlite3
from collections.abc import Iterable

from localstore.index.manifest_lines import FolderNote
from localstore.index.selection import Found

STATEMENTS = """
    CREATE TABLE folder(folder TEXT PRIMARY KEY, changed INTEGER NOT NULL);
    CREATE TABLE exception(path BLOB PRIMARY KEY, kind TEXT NOT NULL, detail TEXT NOT NULL);
    CREATE TABLE sweep(boot TEXT NOT NULL);
"""


def found_in_folders(connection: sqlite3.Connection) -> Found:
    """Return what the last scans found."""
    return Found(
        dict(connection.execute("SELECT folder, changed FROM folder")),
        {
            path.decode(errors="surrogateescape"): (kind, json.loads(detail))
            for path, kind, detail in connection.execute("SELECT path, kind, detail FROM exception")
        },
    )


def set_found(connection: sqlite3.Connection, found: Found) -> None:
    """Store what a scan found, instead of everything that was stored before."""
    connection.execute("DELETE FROM folder")
    connection.executemany("INSERT INTO folder VALUES (?, ?)", found.folders.items())
    connection.execute("DELETE FROM exception")
    connection.executemany(
        "INSERT INTO exception VALUES (?, ?, ?)",
        (
            (path.encode(errors="surrogateescape"), kind, json.dumps(detail))
            for path, (kind, detail) in found.exceptions.items()
        ),
    )


def apply_notes(connection: sqlite3.Connection, notes: Iterable[FolderNote], left: set[str]) -> None:
    """Change the times of folders as the notes say, and forget those of the folders `left`.

    The documents at paths without a row may be there all the same: the manifest may be from another copy of the store.
    A writer that removes a document leaves a note.
    """
    for note in notes:
        if connection.execute(
            "UPDATE folder SET changed = ? WHERE folder = ? AND changed = ?", (note.after, note.folder, note.before)
        ).rowcount:
            left.discard(note.folder)
    connection.executemany("DELETE FROM folder WHERE folder = ?", ((folder,) for folder in left))


def last_sweep(connection: sqlite3.Connection) -> str | None:
    """Return the boot in which all documents were compared with their rows, or None."""
    found = connection.execute("SELECT boot FROM sweep").fetchone()
    return None if found is None else found[0]


def set_last_sweep(connection: sqlite3.Connection, boot: str) -> None:
    """Store that all documents were compared with their rows in this boot."""
    connection.execute("DELETE FROM sweep")
    connection.execute("INSERT INTO sweep VALUES (?)", (boot,))
