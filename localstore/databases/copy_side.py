"""A store in a database as one side of a copy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from localstore.databases.backend import TRASH, Backend, Change, Locked, Stored, read_each, text_of
from localstore.databases.session_change import SessionChange, aside, create, new_session
from localstore.engine.merged_rewrite import loses_more, lost_entries
from localstore.errors import DocumentBroken, LocalstoreError
from localstore.maintenance.copy_sides import (
    OF_ONE_SESSION,
    REPLACED,
    Copyable,
    Form,
    Found,
    Listed,
    Revision,
    Side,
    Written,
    known_revision,
    merged_with,
    new,
    written,
)
from localstore.models.filter import Filter


class DatabaseSide:
    """A store in a database as one side of a copy; see `Side`."""

    def __init__(self, storage: Copyable, backend: Backend) -> None:
        self._storage = storage
        self._backend = backend

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the storage, so that another process can open the same store."""
        return _side_of, (self._storage,)

    @property
    def name(self) -> str:
        """The address, without the password."""
        return self._backend.address

    @property
    def shares_writes(self) -> bool:
        """Whether several processes store sessions faster than one."""
        return self._backend.shares_writes

    def listed(self, where: Filter) -> Sequence[Listed]:
        """Return the sessions that match the filter, most recently updated first."""
        rows = self._backend.page(where, None, None, newest_first=True)
        return [Listed(row["session_id"], known_revision(row["fingerprint"]), row["fingerprint"][0]) for _, row in rows]

    def unreadable(self) -> Mapping[str, str]:
        """Return {}: there are no files."""
        return {}

    def revisions(self, session_ids: Iterable[str]) -> dict[str, Revision | None]:
        """Return the revision of each of these sessions that the store has."""
        asked = [*session_ids]
        rows = self._backend.rows(asked) if asked else []
        return {row["session_id"]: known_revision(row["fingerprint"]) for row in rows}

    def read(self, sessions: Sequence[Listed]) -> Iterator[Found]:
        """Yield each of these sessions: None if there is none, or the error if it cannot be read."""
        found = self._stored([one.session_id for one in sessions])
        yield from (found.get(one.session_id) for one in sessions)

    def _stored(self, session_ids: Sequence[str]) -> dict[str, Form | DocumentBroken]:
        found = read_each(self._backend, session_ids) if session_ids else {}
        return {key: one if isinstance(one, DocumentBroken) else _form_of(one) for key, one in found.items()}

    def write(self, forms: Sequence[Form]) -> Iterator[Written | LocalstoreError | PermissionError]:
        """Add what the store lacks of each session, durably, and yield what was done, or the error."""
        fresh: dict[str, Revision | None] = {}

        def changes() -> Iterator[Change]:
            for form in forms:
                if form.problem is None and form.session_id not in fresh:
                    change = new_session(form.header, form.entries)
                    fresh[form.session_id] = known_revision(change.row["fingerprint"])
                    yield change

        try:
            existing = self._backend.create_many(changes())
        except OF_ONE_SESSION:  # one by one, to find out which is refused
            existing = {form.session_id for form in forms if form.problem is None}
        before = self._stored([*existing])
        for form in forms:
            if form.session_id in fresh and form.session_id not in existing:
                yield new(form, fresh[form.session_id])
                continue
            if isinstance(stored := before.get(form.session_id), Form) and stored.digest == form.digest:
                yield Written("unchanged", 0, revision=stored.revision)
                continue
            try:
                yield self._write(form)
            except OF_ONE_SESSION as error:
                yield error

    def _write(self, form: Form) -> Written:
        def change(locked: Locked) -> Written:
            if locked.row is not None:
                return _merge(locked, SessionChange(locked, locked.row, self._backend.address), form)
            if (error := self.refusal(form)) is not None:
                raise error
            return new(form, known_revision(create(locked, form.header, form.entries)["fingerprint"]))

        return self._backend.change(form.session_id, change)

    def refusal(self, form: Form) -> LocalstoreError | None:
        """Return the error with which a session is not created, or None if it can be; see `Side.refusal`."""
        return form.problem

    def digests(self, session_ids: Sequence[str]) -> dict[str, bytes]:
        """Return the digests of those of these sessions that exist."""
        return self._backend.digests(session_ids) if session_ids else {}

    def load_record(self, _: str, /) -> bytes | None:
        """Return None: a database has no records."""
        return None

    def save_record(self, _: str, __: bytes, /) -> bool:
        """Return False: a database has no records."""
        return False


def _side_of(storage: Copyable) -> Side:
    return storage._copy_side()


def _form_of(stored: Stored) -> Form:
    return Form(stored.header, stored.entries, known_revision(stored.row["fingerprint"]))


def _merge(locked: Locked, change: SessionChange, form: Form) -> Written:
    """Merge a session into the stored one. What the stored one loses is kept."""
    entries = change.entries()
    stored = Form(change.header(), [one.entry for one in entries])
    merged = merged_with(stored, form)
    done = written(stored, merged)
    if done.state != "unchanged":
        lost = lost_entries(stored.version, merged)
        for entry in lost:
            if "run_id" in entry:
                locked.set_aside(aside(form.session_id, REPLACED, [text_of(entry)], run_id=entry["run_id"]))
        if loses_more(merged) or not all("run_id" in entry for entry in lost):
            texts = [text_of(stored.header), *(one.text for one in entries)]
            locked.set_aside(aside(form.session_id, TRASH, texts))
        change.rewrite(merged.header, merged.entries)
    return replace(done, revision=known_revision(change.row["fingerprint"]))
