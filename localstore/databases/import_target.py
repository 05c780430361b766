"""A store in a database into which sessions of another program are imported."""

from __future__ import annotations

from localstore.databases.backend import Backend, Entry, Locked
from localstore.databases.reading import check_version
from localstore.databases.session_change import SessionChange, create
from localstore.maintenance.importing.importer import planned
from localstore.maintenance.importing.plan import Change
from localstore.maintenance.importing.source import Skipped, SourceSession


class DatabaseTarget:
    """The sessions of a database; see `Target`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def read(self, session_id: str) -> tuple[Entry, list[Entry]] | None:
        stored = self._backend.read(session_id)
        return None if stored is None else (stored.header, stored.entries)

    def store(self, source: SourceSession) -> Change | Skipped | None:
        def work(locked: Locked) -> Change | Skipped | None:
            if locked.row is None:
                create(locked, source.header, source.entries)
                return None
            check_version(locked.row, self._backend.address)
            session = SessionChange(locked, locked.row, self._backend.address)
            change = planned(session.header(), [one.entry for one in session.entries()], source)
            if isinstance(change, Change) and not change.is_empty:
                session.rewrite(change.header, change.entries)
            return change

        return self._backend.change(source.header["session_id"], work)
