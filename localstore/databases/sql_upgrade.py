"""Upgrade a table of agno to the tables of a store, preview that, and undo it.

The first transaction renames the tables of agno and creates those of the store. Each further one converts a few
sessions and notes how far it came, so an interrupted upgrade is continued by the next one, and several may be at work.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from sqlalchemy import Connection, delete, func, insert, inspect, select, text, update
from sqlalchemy import Table as AnyTable
from sqlalchemy.schema import MetaData

from localstore.databases.backend import HEADER, entry_of, store_not_found
from localstore.databases.session_change import new_session
from localstore.databases.sql_agno import AgnoTables, Converted, old_values
from localstore.databases.sql_connections import Connections
from localstore.databases.sql_layout import UNFINISHED, UPGRADE, create_tables, drop_tables, state_of
from localstore.databases.sql_session import Statements, create_many
from localstore.databases.sql_tables import Tables, key
from localstore.errors import BackupNotFound, Conflict, LocalstoreError, OlderFormat
from localstore.format.document import LAYOUTS
from localstore.format.values import json_equal
from localstore.maintenance.upgrade import Change, Problem, Undone, Upgraded
from localstore.models.schema import SCHEMA_VERSION

_AT_ONCE = 50
"""How many sessions a transaction converts at most."""
_ENOUGH = 8_000_000
"""After how many bytes of converted sessions a transaction ends."""
_SUFFIX = "_agno"
_NAMED = 3


@dataclass(frozen=True, slots=True)
class DatabasePlan:
    """What an upgrade has to do. `documents` is the number of sessions to upgrade, `current` that of the others.

    `source` is what made the table: "agno 1.x", or "agno 2.x and 3.x".
    """

    store: str
    documents: int
    current: int
    source: str

    @property
    def versions(self) -> dict[int, int]:
        """The number of sessions by schema version. Those of agno have version 0."""
        counts = {0: self.documents, SCHEMA_VERSION: self.current}
        return {version: count for version, count in counts.items() if count}

    @property
    def steps(self) -> list[tuple[int, str, int]]:
        """The steps to run, each with its version, its title and the number of sessions."""
        title = f"Sessions of {self.source} become localstore documents"
        return [(SCHEMA_VERSION, title, self.documents)] if self.documents else []

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain JSON values."""
        return {
            "store": self.store,
            "versions": {str(version): count for version, count in self.versions.items()},
            "steps": [{"version": version, "title": title, "documents": n} for version, title, n in self.steps],
            "documents": self.documents,
        }


@dataclass(slots=True)
class _Progress:
    """How far an upgrade came: the new names of the tables of agno by their old ones, and the id of the last session.

    `left` has the ids of sessions that could not be converted.
    """

    tables: dict[str, str]
    after: str | None
    left: list[str]

    def as_text(self) -> str:
        return orjson.dumps({"tables": self.tables, "after": self.after, "left": self.left}).decode()


class SqlUpgrade:
    """The upgrade of one table. The tables of the store need not exist yet."""

    def __init__(self, connections: Connections, tables: Tables) -> None:
        self._connections = connections
        self._tables = tables
        self._statements = Statements(tables)
        self._address = tables.address(connections.address)

    # Upgrade

    def upgrade(self) -> Upgraded:
        """Convert all sessions of agno that are not converted yet, and those that could not be converted before.

        Raises StoreNotFound, StoreUnavailable, LockTimeout, NewerFormat and OlderFormat, if the database cannot rename
        tables in a transaction.
        """
        self._check_file()
        is_new = self._connections.write(self._begin)
        progress = self._connections.read(self._progress)
        if progress is None:
            return Upgraded()
        documents = 0
        problems: list[Problem] = []
        if not is_new and progress.left:
            documents, problems = self._connections.write(self._try_again)
        while (step := self._connections.write(self._step)) is not None:
            documents += step[0]
            problems += step[1]
        is_idle = not documents and not problems and not is_new
        return Upgraded(documents, problems, None if is_idle else progress.tables[self._tables.name])

    def _check_file(self) -> None:
        if self._connections.has_no_file():
            raise store_not_found(self._address)

    def _begin(self, connection: Connection) -> bool:
        """Rename the tables of agno, and create those of the store. Return False if that was done before."""
        tables = self._tables
        if tables.is_postgres:  # another upgrade may rename the tables at the same time
            connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"localstore {tables.name}"))))
        state = state_of(connection, tables, self._address)
        if state == "missing":
            raise store_not_found(self._address)
        if state != "agno":
            return False
        if not (tables.is_sqlite or tables.is_postgres):
            raise OlderFormat(
                f"{self._address} is a table of agno, which is upgraded in SQLite and PostgreSQL alone. Nothing was "
                "changed. Use another table name.",
                path=self._address,
            )
        there = {*inspect(connection).get_table_names(schema=tables.schema)}
        taken = there & {one.name for one in tables.metadata.tables.values()} - {tables.name}
        if taken:
            raise Conflict(
                f"{self._address} is a table of agno, and the table {min(taken)} is in the way. Nothing was changed. "
                "Rename or delete it."
            )
        runs = AgnoTables(connection, tables.name, tables.schema, self._address).run_tables()
        is_later = "session_type" in {
            one["name"] for one in inspect(connection).get_columns(tables.name, schema=tables.schema)
        }
        old = [tables.name, *(name for name in runs if is_later and not name.endswith(_SUFFIX))]
        renamed: dict[str, str] = {}
        for name in old:
            renamed[name] = next(new for new in _names(name) if new not in there)
            self._rename(connection, name, renamed[name])
        create_tables(connection, tables)
        values = {UPGRADE: _Progress(renamed, None, []).as_text(), UNFINISHED: ""}
        connection.execute(insert(tables.info), [{"name": name, "value": value} for name, value in values.items()])
        return True

    def _rename(self, connection: Connection, old: str, new: str) -> None:
        preparer = connection.dialect.identifier_preparer
        name = preparer.format_table(AnyTable(old, MetaData(), schema=self._tables.schema))
        connection.execute(text(f"ALTER TABLE {name} RENAME TO {preparer.quote(new)}"))

    def _progress(self, connection: Connection) -> _Progress | None:
        """Return how far an upgrade came, and hold a lock on it in a transaction that writes; None without one."""
        info = self._tables.info.c
        statement = select(info.value).where(info.name == UPGRADE)
        found = connection.execute(statement).scalar_one_or_none()
        return None if found is None else _Progress(**orjson.loads(found))

    def _locked(self, connection: Connection) -> _Progress | None:
        info = self._tables.info.c
        connection.execute(select(info.name).where(info.name == UPGRADE).with_for_update()).all()
        return self._progress(connection)

    def _agno(self, connection: Connection, progress: _Progress) -> AgnoTables:
        return AgnoTables(connection, progress.tables[self._tables.name], self._tables.schema, self._address)

    def _step(self, connection: Connection) -> tuple[int, list[Problem]] | None:
        """Convert the next sessions, and return how many, and the problems. Return None if all are converted."""
        info = self._tables.info
        progress = self._locked(connection)
        unfinished = connection.execute(select(info.c.name).where(info.c.name == UNFINISHED)).one_or_none()
        if progress is None or unfinished is None:
            return None
        agno = self._agno(connection, progress)
        ids = agno.ids(connection, progress.after, _AT_ONCE)
        documents, problems, done, left = self._convert(connection, agno, ids)
        if done:
            progress.after = done[-1]
            progress.left += left
            self._write(connection, progress)
        else:
            connection.execute(delete(info).where(info.c.name == UNFINISHED))
        return documents, problems

    def _write(self, connection: Connection, progress: _Progress) -> None:
        info = self._tables.info
        connection.execute(update(info).where(info.c.name == UPGRADE).values(value=progress.as_text()))

    def _try_again(self, connection: Connection) -> tuple[int, list[Problem]]:
        progress = self._locked(connection)
        if progress is None:
            return 0, []
        agno = self._agno(connection, progress)
        documents, problems, done, left = self._convert(connection, agno, progress.left)
        progress.left = [*left, *progress.left[len(done) :]]
        self._write(connection, progress)
        return documents, problems

    def _convert(
        self, connection: Connection, agno: AgnoTables, ids: list[str]
    ) -> tuple[int, list[Problem], list[str], list[str]]:
        """Store sessions. Return how many, the problems, the ids that were looked at, and those that were left out."""
        problems: list[Problem] = []
        done: list[str] = []
        left: list[str] = []
        size = 0
        changes = []
        for one in agno.converted(connection, ids):
            done.append(one.session_id)
            problems += one.problems
            if one.session is None:
                left.append(one.session_id)
                continue
            changes.append(new_session(*one.session))
            size += sum(entry.size for entry in changes[-1].put)
            if size > _ENOUGH:
                break
        existing = create_many(connection, self._statements, changes)
        for session_id in existing:
            problem = "it was stored in the meantime: the table of agno has another session with this id"
            problems.append(Problem(f"{self._address}, session {session_id!r}", problem))
        return len(changes) - len(existing), problems, done, left

    # Preview

    def plan(self) -> DatabasePlan:
        """Return what an upgrade has to do. Nothing is changed. Raises as `upgrade`."""

        self._check_file()

        def look(connection: Connection) -> DatabasePlan:
            state = state_of(connection, self._tables, self._address)
            if state == "missing":
                raise store_not_found(self._address)
            current = 0
            if state != "agno":
                current = connection.execute(select(func.count()).select_from(self._tables.sessions)).scalar_one()
            if state == "ready":
                return DatabasePlan(self._address, 0, current, "")
            agno = self._old(connection)
            return DatabasePlan(self._address, agno.count(connection) - current, current, agno.version)

        return self._connections.read(look)

    def _old(self, connection: Connection) -> AgnoTables:
        """Return the tables of agno, which may be renamed already."""
        if state_of(connection, self._tables, self._address) == "agno":
            return AgnoTables(connection, self._tables.name, self._tables.schema, self._address)
        progress = self._progress(connection)
        if progress is None:
            raise BackupNotFound(f"{self._address} was not upgraded, so there is nothing to undo.")
        return self._agno(connection, progress)

    def preview(self) -> Iterator[Change | Problem]:
        """Yield how each session that is not upgraded yet would change, and what cannot be upgraded."""
        if not self.plan().documents:
            return
        after = self._connections.read(self._start)
        while (some := self._connections.read(partial(self._read, after=after)))[0]:
            ids, found = some
            after = ids[-1]
            for one in found:
                yield from one.problems
                if one.session is not None:
                    yield _change(one.old, *one.session)

    def _start(self, connection: Connection) -> str | None:
        """Return the id after which sessions are not upgraded yet; None if none is."""
        if state_of(connection, self._tables, self._address) == "agno":
            return None
        progress = self._progress(connection)
        return None if progress is None else progress.after

    def _read(self, connection: Connection, after: str | None) -> tuple[list[str], list[Converted]]:
        agno = self._old(connection)
        ids = agno.ids(connection, after, _AT_ONCE)
        return ids, [*agno.converted(connection, ids)]

    # Undo

    def undo(self) -> Undone:
        """Drop the tables of the store, and give those of agno their names back.

        Raises Conflict if a session was added, changed or moved to the trash since the upgrade, BackupNotFound if the
        store was not upgraded, and as `upgrade`. Then nothing is changed.
        """
        self._check_file()
        before = self._connections.read(self._checked)

        def change(connection: Connection) -> Undone:
            tables = self._tables
            if tables.is_postgres:  # writers wait, and find no tables
                name = connection.dialect.identifier_preparer.format_table(tables.sessions)
                connection.execute(text(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE"))
            progress = self._locked(connection)
            if progress is None or self._revisions(connection) != before:
                raise Conflict(f"{self._address} was changed meanwhile. Nothing was undone. Try again.")
            old = progress.tables[tables.name]
            drop_tables(connection, tables)
            for name, renamed in progress.tables.items():
                self._rename(connection, renamed, name)
            agno = AgnoTables(connection, tables.name, tables.schema, self._address)
            return Undone(old, agno.count(connection), 0, [])

        return self._connections.first(change, writes=True)

    def _revisions(self, connection: Connection) -> int:
        """Return a hash of the revisions of all sessions."""
        sessions = self._tables.sessions.c
        found = connection.execute(select(sessions.session_id, sessions.facts).order_by(sessions.session_id))
        return hash(tuple((session_id, facts) for session_id, facts in found))

    def _checked(self, connection: Connection) -> int:
        """Return the revisions of the sessions, all of which must be as the upgrade stored them."""
        state = state_of(connection, self._tables, self._address)
        if state == "missing":
            raise store_not_found(self._address)
        if state == "agno":
            raise BackupNotFound(f"{self._address} was not upgraded, so there is nothing to undo.")
        agno = self._old(connection)
        kept: set[str] = set()
        after: str | None = None
        while ids := agno.ids(connection, after, _AT_ONCE):
            after = ids[-1]
            for one in agno.converted(connection, ids):
                if one.session is not None and self._is_stored(connection, *one.session):
                    kept.add(key(one.session_id))
        stored = connection.execute(select(self._tables.sessions.c.session_id)).scalars()
        changed = sorted({*stored} - kept)
        if changed:
            named = ", ".join(map(repr, changed[:_NAMED])) + (" and others" if len(changed) > _NAMED else "")
            raise self._has_changed(f"These sessions were added or changed since the upgrade: {named}")
        if connection.execute(select(func.count()).select_from(self._tables.aside)).scalar_one():
            raise self._has_changed("Sessions are in the trash, or runs were taken out of sessions")
        return self._revisions(connection)

    def _has_changed(self, what: str) -> LocalstoreError:
        return Conflict(
            f"{what}. An undo would lose that, so nothing was changed. Copy the sessions to another store with "
            "'localstore copy', delete those permanently, and undo again."
        )

    def _is_stored(self, connection: Connection, header: dict[str, Any], entries: list[dict[str, Any]]) -> bool:
        found = connection.execute(self._statements.entries, {"key": key(header["session_id"]), "begin": HEADER})
        return json_equal([entry_of(content) for _, content in found], [header, *entries])


def _names(name: str) -> Iterator[str]:
    """Yield the names that a table of agno may get."""
    yield f"{name}{_SUFFIX}"
    number = 2
    while True:
        yield f"{name}{_SUFFIX}_{number}"
        number += 1


def _change(row: dict[str, Any], header: dict[str, Any], entries: list[dict[str, Any]]) -> Change:
    """Return the change of a session, both forms as the text of a JSON document."""
    layout = LAYOUTS[".json"]
    new = layout.assemble(layout.head(header), [layout.entry(entry) for entry in entries])
    old = orjson.dumps(old_values(row), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE, default=str)
    path = f"{header['session_id']}.json"
    return Change(path, path, old, new)
