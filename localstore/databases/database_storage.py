"""A storage that keeps its sessions in a database: what is not in its parts, the trash and the items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from localstore.databases.backend import TRASH, Aside, Locked
from localstore.databases.reading import DatabaseReader, check_version
from localstore.databases.session_change import SessionChange, create
from localstore.databases.session_edit import DatabaseDocuments
from localstore.databases.writing import DatabaseWriter
from localstore.disk.rescue_folder import Rescued
from localstore.disk.trash_folder import Trashed
from localstore.engine.removal import with_removal
from localstore.errors import Conflict, LocalstoreError
from localstore.format.values import json_equal
from localstore.index.row import revision_of
from localstore.maintenance.trash import Removal, gone
from localstore.models.filter import Filter
from localstore.models.session_info import SessionInfo
from localstore.models.times import now, parse_time
from localstore.storage.arguments import (
    check_age,
    check_bytes,
    check_flag,
    check_id,
    check_ids,
    check_part_of,
    check_patterns,
    check_text,
    expected_fingerprints,
    not_found,
)
from localstore.storage.async_twins import async_twin
from localstore.storage.items import (
    REMEMBERED_ITEMS,
    Item,
    check_revision,
    entries_of,
    is_item,
    item_of,
    new_items,
)
from localstore.storage.update import new_header

if TYPE_CHECKING:
    import os

    from localstore.databases.checking import DatabaseCheck
    from localstore.maintenance.importing import Imported
    from localstore.maintenance.importing import Kind as ImportKind
    from localstore.maintenance.redact import Redacted
    from localstore.storage.edited_document import Replaced
    from localstore.storage.session_edit import Documents


_AT_ONCE = 500
"""Of how many sessions the sub-sessions are looked up at once."""


class DatabaseStorage(DatabaseWriter):
    """The methods of `SessionStorage` on a database. See there, and `Storage` for details.

    Every write is one short transaction that locks its session, and is durable when the method returns. If the
    connection breaks, the write is tried again, and never made twice.
    """

    def check(self) -> DatabaseCheck:
        """Return an iterable of what is wrong with the sessions: with their counts, their values or their entries.

        Nothing is changed. Sessions that are written to meanwhile are checked as they are at one moment.
        """
        from localstore.databases.checking import DatabaseCheck

        return DatabaseCheck(self._backend)

    def _documents(self) -> Documents:
        """Return what changes one session under its lock."""
        return DatabaseDocuments(self)

    # Documents

    def read_document(self, session_id: str) -> bytes:
        """Return the JSON document that the session would have in a folder. Raises SessionNotFound."""
        from localstore.databases.document_text import document_of

        check_id(session_id)
        stored = self._backend.read(session_id)
        if stored is None:
            raise not_found(session_id)
        check_version(stored.row, self._backend.address)
        return document_of(stored)

    def replace_document(self, session_id: str, text: bytes, *, base: bytes) -> Replaced:
        """Change a session to the text that a person made of its document `base`, and say what changed.

        What others wrote since `base` was read is merged. Where both sides changed the same run or the header, the
        session keeps the form of the others, and the other form is kept aside, like runs that are not in `text` any
        more; `restore` takes the names. The values are stored, and not how the text is formatted.

        Raises DocumentBroken, with the line if it is known, if `text` is no valid document of this session, or has a
        number with more digits than 64 bits hold; OlderFormat or NewerFormat if it is one of another schema version;
        SessionNotFound. Nothing is written then.
        """
        from localstore.databases.document_text import DocumentEdit

        check_id(session_id)
        check_bytes("text", text)
        check_bytes("base", base)
        return self._change(session_id, None, DocumentEdit.of(session_id, text, base).apply)

    def redact(
        self,
        sessions: str | Iterable[str],
        patterns: Iterable[str] = (),
        *,
        secrets: bool = False,
        dry_run: bool = False,
    ) -> Redacted:
        """Replace secrets in sessions by marks such as `[redacted email]`, and return where they were.

        Each session is rewritten in one transaction. The old sessions go to the trash, with the secrets in them, under
        the names in `trashed` of the result. See `Storage.redact`.
        """
        from localstore.databases.redaction import redact
        from localstore.maintenance.redact import redaction_rules

        session_ids, chosen = check_ids(sessions), check_patterns(patterns)
        check_flag("secrets", secrets)
        check_flag("dry_run", dry_run)
        return redact(self, session_ids, redaction_rules(chosen, secrets=secrets), dry_run=dry_run)

    # The trash

    def trash(self, sessions: str | SessionInfo | Iterable[str | SessionInfo]) -> Removal:
        """Move sessions to the trash. A row of a listing is moved only if its session did not change since."""
        moved: list[Trashed] = []
        problems: dict[str, LocalstoreError | OSError] = {}
        at = now()

        def move(expected: Mapping[str, list[int] | None]) -> None:
            for session_id, fingerprint in expected.items():
                try:
                    moved.append(_trashed(self._throw_away(session_id, fingerprint, at)))
                except (LocalstoreError, OSError) as error:
                    problems[session_id] = error

        chosen = expected_fingerprints(sessions)
        move(chosen)
        parts = self._sub_sessions(gone(chosen, Removal(tuple(moved), problems)))
        move(dict.fromkeys(session_id for session_id in parts if session_id not in chosen))
        return Removal(tuple(moved), problems)

    def _sub_sessions(self, session_ids: list[str]) -> list[str]:
        """Return the ids of the sub-sessions of these sessions."""
        found: list[str] = []
        for at in range(0, len(session_ids), _AT_ONCE):
            where = Filter(part_of=(*session_ids[at : at + _AT_ONCE],))
            found += (row["session_id"] for _, row in self._backend.page(where, None, None, newest_first=True))
        return found

    def _throw_away(self, session_id: str, expected: list[int] | None, at: str) -> Aside:
        done: list[Aside] = []

        def work(change: SessionChange) -> Aside:
            if expected is not None and change.row["fingerprint"] != expected:
                raise Conflict(
                    f"Session {session_id!r} was changed since it was selected. It was not moved. Look at it, and try "
                    "again.",
                    session_id=session_id,
                )
            done[:] = [change.throw_away(TRASH, at)]
            return done[0]

        def missing(_: Locked) -> Aside:
            if not done:
                raise not_found(session_id)
            return done[0]  # the call before the connection broke has moved it

        return self._change(session_id, None, work, make=missing)

    def trashed(self, *, older_than: timedelta | str | None = None) -> list[Trashed]:
        """Return the sessions in the trash, newest first."""
        age = check_age("older_than", older_than)
        limit = None if age is None else datetime.now(UTC) - age
        return [
            _trashed(one)
            for one in self._backend.asides()
            if one.reason == TRASH and (limit is None or (parse_time(one.made_at) or limit) <= limit)
        ]

    def taken_out(self) -> list[Rescued]:
        """Return the runs that were taken out of their sessions, newest first; `restore` puts them back."""
        return [
            Rescued(one.name, one.session_id, "", f"run {one.run_id}: {one.reason}", one.made_at, one.size, "")
            for one in self._backend.asides()
            if one.run_id is not None
        ]

    def restore(self, name: str, *, new_id: str | None = None) -> str:
        """Put a session from the trash, or a run that was taken out, back. Return the id of the session.

        Sub-sessions that were moved to the trash with the session come back too, unless it gets another id. With
        `new_id`, a run becomes a session of its own.

        Raises FileNotFoundError if nothing has this name, Conflict if the session exists again, and SessionNotFound if
        the session of a run does not exist.
        """
        check_id(name)
        if new_id is not None:
            check_id(new_id)
        one = self._backend.aside(name)
        if one is None:
            raise FileNotFoundError(f"{name} is not in the trash. 'localstore restore' lists what is.")
        first, *entries = orjson.loads(one.text)
        if one.run_id is not None and new_id is None:
            self._change(one.session_id, None, lambda change: change.append_runs([first]))
            self._backend.forget([name])
            return one.session_id
        if one.run_id is not None:
            row = self._backend.row(one.session_id)
            owner = (row["kind"], row.get("entity_id"), row.get("user_id")) if row else ("agent", None, None)
            first, entries = new_header(one.session_id, *owner, first["created_at"]), [first]
        header = first if new_id is None else {**first, "session_id": new_id}
        tried: list[bool] = []

        def check(change: SessionChange) -> None:
            if not tried or not json_equal(change.header(), header):
                raise Conflict(
                    f"There is a session {header['session_id']!r}. {name} was not restored. Give it another id.",
                    session_id=header["session_id"],
                )

        def make(locked: Locked) -> None:
            tried.append(True)
            create(locked, header, entries)
            locked.forget([name])

        self._change(header["session_id"], None, check, make=make)
        for other in self._backend.asides() if new_id is None else ():
            if (other.reason, other.made_at) == (TRASH, one.made_at) and self._is_part(other.name, one.session_id):
                self.restore(other.name)
        return str(header["session_id"])

    def _is_part(self, name: str, session_id: str) -> bool:
        """Return whether what has this name in the trash is a sub-session of a session."""
        found = self._backend.aside(name)
        return found is not None and orjson.loads(found.text)[0].get("part_of") == session_id

    def empty_trash(self, *, older_than: timedelta | str | None = None) -> list[Trashed]:
        """Delete the sessions in the trash permanently, and return them."""
        found = self.trashed(older_than=older_than)
        self._backend.forget([one.name for one in found])
        return found

    def import_from(self, kind: ImportKind, path: str | os.PathLike[str], *, dry_run: bool = False) -> Imported:
        """Import the sessions of another program, and return what was imported and what was not."""
        from localstore.databases.import_target import DatabaseTarget
        from localstore.maintenance.importing import import_from

        check_flag("dry_run", dry_run)
        return import_from(DatabaseTarget(self._backend), kind, Path(path), dry_run=dry_run)

    # Items of other frameworks

    def append_items(
        self,
        session_id: str,
        items: Iterable[Item],
        *,
        user_id: str | None = None,
        entity_id: str | None = None,
        kind: str | None = None,
        part_of: str | None = None,
        expected_revision: str | None = None,
    ) -> str:
        """Add items to a session, and create it if it does not exist. Return the new revision."""
        entries = entries_of(items)
        made = self._maker(session_id, entries, user_id, entity_id, kind, may_create=True)
        check_part_of(session_id, part_of)
        if made is None:
            return self.revision(session_id)
        header = new_header(session_id, kind or "agent", entity_id, user_id, entries[0]["created_at"], part_of)

        def make(locked: Locked) -> str:
            check_revision(session_id, "", expected_revision)
            return revision_of(create(locked, header, entries)["fingerprint"])

        def work(change: SessionChange) -> str:
            begin = max(0, change.next - REMEMBERED_ITEMS - len(entries))
            stored = change.may_have([entry["item_id"] for entry in entries], begin)
            if new := new_items(session_id, stored, entries):
                check_revision(session_id, change.revision, expected_revision)
                change.change(None, {}, new)
            return change.revision

        return self._change(session_id, user_id, work, kind=kind, make=make)

    def pop_item(self, session_id: str, *, user_id: str | None = None, source: str | None = None) -> Item | None:
        """Remove the last item of a session, or of a framework in it, and return it, or None if there is none."""
        check_id(session_id)
        check_text("user_id", user_id)
        check_text("source", source)
        chosen: list[Item] = []

        def work(change: SessionChange) -> Item | None:
            for one in reversed(change.entries()):
                if is_item(one.entry, source) and (not chosen or one.entry["item_id"] == chosen[0].item_id):
                    chosen[:] = [item_of(one.entry)]
                    header = with_removal(change.header(), [chosen[0].item_id])
                    change.change(header, {one.position: None}, [])
                    break
            return chosen[0] if chosen else None

        return self._change(session_id, user_id, work)

    def replace_items(
        self,
        session_id: str,
        items: Iterable[Item],
        *,
        user_id: str | None = None,
        expected_revision: str | None = None,
        source: str | None = None,
    ) -> str:
        """Replace all items of a session, or of a framework in it, and return the new revision. Other entries stay."""
        check_id(session_id)
        check_text("user_id", user_id)
        check_text("source", source)
        entries = entries_of(items)

        def work(change: SessionChange) -> str:
            stored = {one.position: one.entry for one in change.entries() if is_item(one.entry, source)}
            if [*stored.values()] != entries:
                check_revision(session_id, change.revision, expected_revision)
                new = {entry["item_id"] for entry in entries}
                gone = [entry["item_id"] for entry in stored.values() if entry["item_id"] not in new]
                change.change(with_removal(change.header(), gone), dict.fromkeys(stored), entries)
            return change.revision

        return self._change(session_id, user_id, work)

    # The same calls for async code

    aappend = async_twin(DatabaseWriter.append, writes=True)
    aappend_many = async_twin(DatabaseWriter.append_many, writes=True)
    aadd_step = async_twin(DatabaseWriter.add_step, writes=True)
    aupdate = async_twin(DatabaseWriter.update, writes=True)
    aarchive = async_twin(DatabaseWriter.archive, writes=True)
    aunarchive = async_twin(DatabaseWriter.unarchive, writes=True)
    arate = async_twin(DatabaseWriter.rate, writes=True)
    aupsert = async_twin(DatabaseWriter.upsert, writes=True)
    afork = async_twin(DatabaseWriter.fork, writes=True)
    aundo = async_twin(DatabaseWriter.undo, writes=True)
    aremove_run = async_twin(DatabaseWriter.remove_run, writes=True)
    adelete_session = async_twin(DatabaseWriter.delete_session, writes=True)
    atrash = async_twin(trash, writes=True)
    arestore = async_twin(restore, writes=True)
    aempty_trash = async_twin(empty_trash, writes=True)
    aimport_from = async_twin(import_from, writes=True)
    adrop = async_twin(DatabaseWriter.drop, writes=True)
    aupgrade_schema = async_twin(DatabaseWriter.upgrade_schema, writes=True)
    areplace_document = async_twin(replace_document, writes=True)
    aredact = async_twin(redact, writes=True)
    aappend_items = async_twin(append_items, writes=True)
    apop_item = async_twin(pop_item, writes=True)
    areplace_items = async_twin(replace_items, writes=True)
    atrashed = async_twin(trashed, writes=False)
    ataken_out = async_twin(taken_out, writes=False)
    aread_document = async_twin(read_document, writes=False)
    aread = async_twin(DatabaseReader.read, writes=False)
    aitems = async_twin(DatabaseReader.items, writes=False)
    arevision = async_twin(DatabaseReader.revision, writes=False)
    alist_sessions = async_twin(DatabaseReader.list_sessions, writes=False)
    asearch = async_twin(DatabaseReader.search, writes=False)
    afind_sessions = async_twin(DatabaseReader.find_sessions, writes=False)
    asessions_containing = async_twin(DatabaseReader.sessions_containing, writes=False)
    asessions_beginning_with = async_twin(DatabaseReader.sessions_beginning_with, writes=False)
    ashort_ids = async_twin(DatabaseReader.short_ids, writes=False)
    acount = async_twin(DatabaseReader.count, writes=False)
    astats = async_twin(DatabaseReader.stats, writes=False)


def _trashed(one: Aside) -> Trashed:
    return Trashed(one.name, one.session_id, "", one.made_at, one.size, "")
