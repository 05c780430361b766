"""Change one session in a folder under its lock; see `localstore.storage.session_edit`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from localstore.disk import filesystem, rescue_folder
from localstore.engine.open_document import Recent
from localstore.engine.snapshot import Part
from localstore.models.filter import Filter
from localstore.storage.session_edit import Create, Entry, OpenSession, Whole

if TYPE_CHECKING:
    from localstore.engine.engine import Engine
    from localstore.engine.snapshot import Snapshot
    from localstore.engine.transaction import Transaction
    from localstore.errors import DocumentBroken
    from localstore.index.row import IndexRow
    from localstore.storage.base import StorageBase

Result = TypeVar("Result")
_PLAIN_ID = re.compile(r"[0-9A-Za-z_-]+\Z")
"""An id that contains no characters that are escaped in a document."""


class FolderDocuments:
    """Sessions in a folder."""

    def __init__(self, storage: StorageBase) -> None:
        self._storage = storage
        self._engine = storage._engine

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._storage,)

    def edit(self, session_id: str, work: Callable[[OpenSession], Result], make: Callable[[Create], Result]) -> Result:
        result: list[Result] = []
        for attempt in self._engine.edit(session_id):
            with attempt as transaction:
                result[:] = [
                    make(self._create) if transaction is None else work(FolderSession(self._engine, transaction))
                ]
        return result[0]

    def _create(self, header: Entry, entries: list[Entry]) -> IndexRow:
        return self._engine.create(header, entries, self._storage._suffix)

    def snapshot(self, session_id: str, matches: Callable[[IndexRow], bool], last_runs: int | None) -> Snapshot | None:
        return self._engine.snapshot(session_id, matches, Part(last_runs))

    def look_at_run(self, session_id: str, run_id: str) -> Snapshot | None:  # noqa: ARG002
        return None

    def check_access(self, row: IndexRow, user_id: str | None, kind: str | None) -> None:
        self._storage._check_access(row, user_id, kind)

    def row(self, session_id: str) -> IndexRow | None:
        row = self._engine.locate(session_id)
        if row is None:
            self._engine.refuse_unreadable(session_id)
        return row

    def rows(self, where: Filter) -> list[IndexRow]:
        return self._engine.rows(where)

    def with_run(self, run_id: str) -> Iterator[str]:
        """Read the documents one after the other. Only bytes are compared, except where the id may be escaped."""
        data = run_id.encode(errors="replace")
        for row in self._engine.rows(Filter()):
            try:
                if _PLAIN_ID.match(run_id) and data not in filesystem.read_file(f"{self._engine.root}/{row['path']}"):
                    continue
            except FileNotFoundError:
                continue
            yield row["session_id"]

    def keep_run(self, error: DocumentBroken, session_id: str, entry: Entry) -> DocumentBroken:
        return self._engine.keep_run(error, session_id, entry)


class FolderSession:
    """A session in a folder whose lock is held. The places are offsets in bytes."""

    def __init__(self, engine: Engine, transaction: Transaction) -> None:
        self._engine = engine
        self._open = transaction

    @property
    def row(self) -> IndexRow:
        return self._open.row

    def header(self) -> Entry:
        return self._open.header()

    def whole(self) -> Whole:
        return self._open.whole()

    def entry(self, place: int) -> Entry:
        return self._open.entry(Recent(place, unfinished=False))

    def newest_runs(self) -> Iterator[tuple[int, Entry]]:
        for run in reversed(self._engine.runs.recent(self._open).values()):
            yield run.offset, self._open.entry(run)

    def place_of(self, run_id: str, *, far: bool = True) -> int | None:
        if not self.row.get("other_layout"):
            if (recent := self._engine.runs.recent(self._open).get(run_id)) is not None:
                return recent.offset
            if (offset := self.row.get("unfinished_offsets", {}).get(run_id)) is not None:
                return offset
            if not far or (_PLAIN_ID.match(run_id) and run_id.encode() not in self._open.file.read_all()):
                return None
        parsed = self._open.whole()
        for offset, entry in zip(parsed.starts, parsed.entries, strict=True):
            if entry.get("run_id") == run_id:
                return offset
        return None

    def append(self, entries: list[Entry]) -> None:
        self._open.append(entries)

    def append_run(self, entry: Entry) -> None:
        self._engine.runs.append(self._open, entry)

    def finish(self, place: int, entry: Entry) -> None:
        self._open.finish(Recent(place, unfinished=True), entry)

    def change(self, header: Entry, replaced: dict[int, Entry | None], added: list[Entry]) -> None:
        self._open.change(header, replaced, added)

    def set_aside(self, places: list[int], reason: str) -> None:
        self._open.check_replaceable(places)
        for place in places:
            content = {"entry": self.entry(place)}
            rescue_folder.set_aside(self._engine.root, self.row["path"], self.row["session_id"], reason, content)

    def sync(self) -> None:
        self._open.sync()
