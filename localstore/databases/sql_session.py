"""One session in a transaction of an SQL database."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, Select, Text, and_, bindparam, cast, delete, func, insert, or_, select, text, update
from sqlalchemy.dialects.postgresql import TSVECTOR

from localstore.databases.backend import HEADER, Aside, Change, StoredEntry, entry_of, stored_row
from localstore.databases.sql_tables import Tables, key, optional_key
from localstore.databases.words import words_of
from localstore.format.words import spaced
from localstore.index.row import IndexRow, activity, latest_plausible_time
from localstore.storage.arguments import is_valid

LONGEST_WORD = 300
"""How many characters of a word PostgreSQL indexes."""
_AT_ONCE = 500
"""How many values a statement gets at once."""
_SPECIAL = re.compile("[%_!]")
"""The characters that mean something in a pattern of LIKE, or escape those that do."""


class Statements:
    """The statements for single sessions, built once."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        sessions, entries, labels, aside = tables.sessions.c, tables.entries.c, tables.labels.c, tables.aside.c
        of_session = entries.session_id == bindparam("key")
        self.row = select(sessions.facts, sessions.next_position).where(sessions.session_id == bindparam("key"))
        self.locked_row = self.row.with_for_update()
        before = tables.sessions.alias("before")
        as_before = select(before.c.facts).where(before.c.session_id == bindparam("key")).scalar_subquery()
        position = select(func.max(entries.position)).where(of_session, entries.run_id == bindparam("run"))
        self.locked_row_and_run = self.locked_row.add_columns(
            position.scalar_subquery(), as_before == sessions.facts
        ).with_for_update(of=tables.sessions)
        self.entry = select(entries.content).where(of_session, entries.position == bindparam("place"))
        self.entries = (
            select(entries.position, entries.content)
            .where(of_session, entries.position >= bindparam("begin"))
            .order_by(entries.position)
        )
        self._entries_with = {0: self.entries}
        self.tail = (
            select(entries.position, entries.content, entries.run_id)
            .where(of_session, entries.position >= bindparam("begin"))
            .order_by(entries.position)
        )
        top = tables.entries.alias("top")
        header = select(top.c.content).where(top.c.session_id == bindparam("key"), top.c.position == HEADER)
        own, first = entries.session_id == sessions.session_id, sessions.next_position - bindparam("count")
        end = tables.sessions.outerjoin(tables.entries, and_(own, entries.position >= 0, entries.position >= first))
        self.end = (
            select(sessions.facts, header.scalar_subquery(), entries.position, entries.content, entries.run_id)
            .select_from(end)
            .where(sessions.session_id == bindparam("key"))
            .order_by(entries.position)
        )
        self.entries_at = select(entries.position, entries.content).where(
            of_session, entries.position.in_(bindparam("places", expanding=True))
        )
        self.runs = (
            select(entries.run_id, func.max(entries.position))
            .where(of_session, entries.run_id.in_(bindparam("runs", expanding=True)))
            .group_by(entries.run_id)
        )
        self.last_run = select(func.max(entries.position)).where(of_session, entries.run_id.is_not(None))
        self.insert_session = insert(tables.sessions)
        self.update_session = update(tables.sessions).where(sessions.session_id == bindparam("key"))
        self.insert_entries = insert(tables.entries)
        if tables.is_postgres:
            self.insert_entries = self.insert_entries.values(_entry_columns(""))
            own = sessions.session_id == bindparam("key")
            new: dict[str, Any] = {
                one.name: bindparam(f"new_{one.name}") for one in sessions if one.name != "session_id"
            }
            changed = update(tables.sessions).where(own).values(new).cte("changed")
            self.put_entry = insert(tables.entries).values(_entry_columns("entry_")).add_cte(changed)
        self.remove_entries = delete(tables.entries).where(
            of_session, entries.position.in_(bindparam("places", expanding=True))
        )
        self.remove_all = delete(tables.entries).where(of_session)
        self.remove_session = delete(tables.sessions).where(sessions.session_id == bindparam("key"))
        self.insert_labels = insert(tables.labels)
        self.remove_labels = delete(tables.labels).where(labels.session_id == bindparam("key"))
        self.remove_label = self.remove_labels.where(
            labels.kind == bindparam("of_kind"), labels.value == bindparam("of_value")
        )
        self.insert_aside = insert(tables.aside)
        self.asides = (
            select(aside.name, aside.made_at, aside.about, aside.content)
            .where(aside.session_id == bindparam("key"))
            .order_by(aside.name.desc())
        )
        self.forget = delete(tables.aside).where(aside.name.in_(bindparam("names", expanding=True)))
        if tables.is_sqlite:
            self.numbers = select(entries.number, entries.content, entries.position).where(of_session)
            self.numbers_at = self.numbers.where(entries.position.in_(bindparam("places", expanding=True)))
            self.insert_words = text(f"INSERT INTO {tables.words_table}(rowid, body) VALUES (:number, :body)")  # noqa: S608
            self.remove_words = text(
                f"INSERT INTO {tables.words_table}({tables.words_table}, rowid, body) VALUES ('delete', :number, :body)"  # noqa: S608
            )

    def entries_with(self, count: int) -> Select[Any]:
        """Return the statement for the entries with one of so many patterns in their text; with 0, for all."""
        if count not in self._entries_with:
            text = self.tables.entries.c.content
            matches = [text.like(bindparam(f"pattern_{number}"), escape="!") for number in range(count)]
            self._entries_with[count] = self.entries.where(or_(*matches))
        return self._entries_with[count]


def _entry_columns(prefix: str) -> dict[str, Any]:
    """Return the columns of an entry in PostgreSQL with their parameters, whose names begin with `prefix`."""
    names = ("session_id", "position", "run_id", "created_at", "content")
    vector = cast(bindparam(f"{prefix}words", type_=Text), TSVECTOR)
    return {**{name: bindparam(f"{prefix}{name}") for name in names}, "words": vector}


class LockedSession:
    """One session, whose row is locked if it exists; see `Locked`."""

    def __init__(self, connection: Connection, statements: Statements, session_id: str, run_id: str | None) -> None:
        """Lock the session. `run_id` is the run whose position is needed, if there is one: it costs no statement."""
        self._connection = connection
        self._statements = statements
        self._key = {"key": key(session_id)}
        self._position_of_run: tuple[str, int | None] | None = None
        found: Any
        if run_id is None or not is_valid(run_id) or statements.tables.is_mysql:
            found = connection.execute(statements.locked_row, self._key).one_or_none()
        else:
            values = {**self._key, "run": key(run_id)}
            found = connection.execute(statements.locked_row_and_run, values).one_or_none()
            # If it waited for the lock, the row is that of now, but the position is that of before.
            if found is not None and found[3]:
                self._position_of_run = run_id, found[2]
        self.row = None if found is None else stored_row(found[0], session_id)
        self.next: int = 0 if found is None else found[1]

    def entry(self, position: int) -> StoredEntry:
        found = self._connection.execute(self._statements.entry, {**self._key, "place": position}).scalar_one()
        return StoredEntry(position, entry_of(found, self._key["key"]), found)

    def entries(self, begin: int = 0, texts: Sequence[str] = ()) -> list[StoredEntry]:
        escaped = [_SPECIAL.sub(r"!\g<0>", text) for text in texts]
        patterns = {f"pattern_{number}": f"%{text}%" for number, text in enumerate(escaped)}
        statement = self._statements.entries_with(len(texts))
        found = self._connection.execute(statement, {**self._key, "begin": begin, **patterns})
        return [StoredEntry(position, entry_of(content, self._key["key"]), content) for position, content in found]

    def positions(self, run_ids: Iterable[str]) -> dict[str, int]:
        by_key = {key(run_id): run_id for run_id in run_ids}
        if self._position_of_run is not None and [*by_key.values()] == [self._position_of_run[0]]:
            run_id, position = self._position_of_run
            return {} if position is None else {run_id: position}
        found: dict[str, int] = {}
        for some in parts([*by_key]):
            rows = self._connection.execute(self._statements.runs, {**self._key, "runs": some})
            found |= {by_key[run_key]: position for run_key, position in rows}
        return found

    def last_run(self) -> int | None:
        position: int | None = self._connection.execute(self._statements.last_run, self._key).scalar_one()
        return position

    def write(self, change: Change) -> None:
        row = change.row
        values = session_values(change, latest_plausible_time())
        new = {name: value for name, value in values.items() if name != "session_id"}
        replaced = [*change.removed, *(one.position for one in change.put if one.position < self.next)]
        self._position_of_run = None
        if self._statements.tables.is_postgres and self.row is not None and not replaced and len(change.put) == 1:
            # The usual case, an append, in one statement: each one waits for the server.
            entry = entry_values(self._statements.tables, self._key["key"], change.put[0])
            both = {f"new_{name}": value for name, value in new.items()}
            both |= {f"entry_{name}": value for name, value in entry.items()}
            self._connection.execute(self._statements.put_entry, {**self._key, **both})
        else:
            if self.row is None:
                self._connection.execute(self._statements.insert_session, values)
            else:
                self._connection.execute(self._statements.update_session, {**self._key, **new})
            self._remove(replaced)
            self._put(change.put)
        self._label(row)
        self.row, self.next = row, change.next

    def _remove(self, positions: list[int]) -> None:
        """Remove entries. None of them may exist: the session may be new."""
        if self.row is None or not positions:
            return
        for some in parts(positions):
            values = {**self._key, "places": some}
            if self._statements.tables.is_sqlite:
                self._remove_words([*self._connection.execute(self._statements.numbers_at, values)])
            self._connection.execute(self._statements.remove_entries, values)

    def _remove_words(self, found: list[Any]) -> None:
        if found:
            values = [
                {
                    "number": number,
                    "body": body(StoredEntry(position, entry_of(content, self._key["key"]), content)),
                }
                for number, content, position in found
            ]
            self._connection.execute(self._statements.remove_words, values)

    def _put(self, put: list[StoredEntry]) -> None:
        if not put:
            return
        rows = [entry_values(self._statements.tables, self._key["key"], one) for one in put]
        if not self._statements.tables.is_sqlite:
            self._connection.execute(self._statements.insert_entries, rows)
            return
        for row, one in zip(rows, put, strict=True):
            number = self._connection.execute(self._statements.insert_entries, row).lastrowid
            self._connection.execute(self._statements.insert_words, {"number": number, "body": body(one)})

    def _label(self, row: IndexRow) -> None:
        """Store the labels of a row: what sessions are selected by, and have several of."""
        before, after = labels_of(self.row), labels_of(row)
        for kind, value in before - after:
            self._connection.execute(self._statements.remove_label, {**self._key, "of_kind": kind, "of_value": value})
        if added := [
            {"session_id": self._key["key"], "kind": kind, "value": value} for kind, value in sorted(after - before)
        ]:
            self._connection.execute(self._statements.insert_labels, added)

    def delete(self) -> None:
        if self._statements.tables.is_sqlite:
            self._remove_words([*self._connection.execute(self._statements.numbers, self._key)])
        for statement in (self._statements.remove_all, self._statements.remove_labels, self._statements.remove_session):
            self._connection.execute(statement, self._key)

    def set_aside(self, one: Aside) -> None:
        about = {"session_id": one.session_id, "reason": one.reason, "size": one.size, "run_id": one.run_id}
        self._connection.execute(
            self._statements.insert_aside,
            {
                "name": one.name,
                "session_id": key(one.session_id),
                "made_at": one.made_at,
                "about": orjson.dumps(about).decode(),
                "content": one.text,
            },
        )

    def asides(self) -> list[Aside]:
        return [aside_of(*found) for found in self._connection.execute(self._statements.asides, self._key)]

    def forget(self, names: Iterable[str]) -> None:
        forget(self._connection, self._statements, names)


def session_values(change: Change, latest: str) -> dict[str, Any]:
    """Return the values of the columns of a session. `latest` is `latest_plausible_time()`."""
    row = change.row
    return {
        "session_id": key(row["session_id"]),
        "kind": row["kind"],
        "user_id": optional_key(row.get("user_id")),
        "entity_id": optional_key(row.get("entity_id")),
        "name": optional_key(row.get("name")),
        "status": optional_key(row.get("overview", {}).get("status")),
        "created_at": key(row["created_at"]),
        "active_at": key(activity(row, latest)),
        "runs": row["runs"],
        "next_position": change.next,
        "facts": orjson.dumps(row).decode(),
    }


def entry_values(tables: Tables, session_key: str, one: StoredEntry) -> dict[str, Any]:
    """Return the values of the columns of an entry, and its words for PostgreSQL."""
    values = {
        "session_id": session_key,
        "position": one.position,
        "run_id": optional_key(one.run_id),
        "created_at": key(one.created_at),
        "content": one.text,
    }
    if tables.is_postgres:
        values["words"] = _vector(one)
    return values


def forget(connection: Connection, statements: Statements, names: Iterable[str]) -> None:
    """Delete what was set aside under these names."""
    for some in parts([*map(key, names)]):
        connection.execute(statements.forget, {"names": some})


def aside_of(name: str, made_at: str, about: str, content: str = "") -> Aside:
    """Return what a row of the table describes."""
    facts = orjson.loads(about)
    return Aside(name, facts["session_id"], facts["reason"], made_at, facts["size"], facts["run_id"], content)


def labels_of(row: IndexRow | None) -> set[tuple[str, str]]:
    """Return what few sessions have, or several of, and are selected by: tags, models, ratings, and `part_of`."""
    if row is None:
        return set()
    overview = row.get("overview", {})
    models = {model for models in overview.get("usage", {}).values() for model in models}
    part_of = (row["part_of"],) if "part_of" in row else ()
    named = {"tag": row.get("tags", ()), "model": models, "rating": overview.get("ratings", {}), "part_of": part_of}
    return {(kind, key(value)) for kind, values in named.items() for value in values}


def body(one: StoredEntry) -> str:
    """Return the words of an entry for SQLite, which splits them at spaces and punctuation."""
    return "\n".join([spaced(found.text) for found in one.texts])


def _vector(one: StoredEntry) -> str:
    """Return the words of an entry for PostgreSQL, as the text of a tsvector.

    Words have only letters and digits, so nothing needs a quote or an escape.
    """
    return " ".join(words_of(one, LONGEST_WORD))


def parts(values: list[Any]) -> list[list[Any]]:
    """Return the values in lists of as many as a statement gets at once."""
    return [values[at : at + _AT_ONCE] for at in range(0, len(values), _AT_ONCE)]
