"""The calls of a storage that change parts of documents: their text, single runs, items of other frameworks."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from localstore.engine.snapshot import Part
from localstore.index.row import revision_of
from localstore.storage.arguments import (
    check_bytes,
    check_count,
    check_id,
    check_kind,
    check_part_of,
    check_text,
    optional,
)
from localstore.storage.async_twins import async_twin
from localstore.storage.update import new_header
from localstore.storage.writing import StorageWriting

if TYPE_CHECKING:
    from localstore.storage.edited_document import Replaced
    from localstore.storage.items import Item


class StorageDocuments(StorageWriting):
    """Changes documents as people and other frameworks need it. See `Storage`."""

    def read_document(self, session_id: str) -> bytes:
        """Return the bytes of a session's document, also if they cannot be read as a session.

            >>> storage.read_document("trip").splitlines()[0]
            b'{'

        A document that a crash tore is repaired first, as the next write would do. Raises SessionNotFound, and
        DocumentBroken if a file that is named after the session cannot be read, and its session is unknown.
        """
        from localstore.storage.document_text import read_document

        check_id(session_id)
        return read_document(self._engine, session_id)

    def replace_document(self, session_id: str, text: bytes, *, base: bytes) -> "Replaced":
        """Replace the bytes of a session's document by a text that a person made of them, and say what changed.

            >>> base = storage.read_document("trip")
            >>> storage.replace_document("trip", base.replace(b"Linz", b"Graz"), base=base).changes
            ('name was changed',)

        If nobody wrote to the document since `base` was read, it gets exactly the bytes of `text`. Otherwise the two
        changes are merged: the header and each run keep the bytes of the side that changed them. Where both sides
        changed the same run or the header in ways that do not fit together, the document keeps the form of the others,
        and the form in `text` is kept in `.localstore/rescue/`; the result names both. Runs and other entries that are
        not in `text` any more are kept there, too. A broken document is replaced if it still has the bytes of `base`.

        Args:
            session_id: The session, which stays the same.
            text: The new document, in any formatting.
            base: The bytes of the document from which `text` was made; see `read_document`.

        Raises DocumentBroken, with the line if it is known, if `text` is no valid document of this session; OlderFormat
        or NewerFormat if it is one of another schema version; Conflict if a merge is not possible; SessionNotFound.
        Nothing is written then.
        """
        from localstore.storage.document_text import replace_document

        check_id(session_id)
        check_bytes("text", text)
        check_bytes("base", base)
        return replace_document(self._engine, session_id, text, base)

    def replace_unreadable(self, path: str | os.PathLike[str], text: bytes, *, base: bytes) -> str:
        """Replace a file in which no session can be read by a document that a person made of it; return its session id.

        Args:
            path: The file, which is one of `unreadable_files`.
            text: The new document, in any formatting.
            base: The bytes of the file from which `text` was made. They are not kept.

        Raises DocumentBroken, with the line where it is known, if the text is not valid or another document has its
        session; SessionNotFound if the file is not an unreadable one; Conflict if it was changed since; OlderFormat or
        NewerFormat if the text has another schema version.
        """
        from localstore.storage.document_text import replace_unreadable

        check_bytes("text", text)
        check_bytes("base", base)
        return replace_unreadable(self._engine, os.fspath(path), text, base)

    def remove_run(self, session_id: str, run_id: str, *, user_id: str | None = None) -> str:
        """Take a run out of a session, and return the name of the rescue file that holds it.

            >>> storage.append("trip", Run(run_id="wrong"))
            >>> name = storage.remove_run("trip", "wrong")

        State that the run set is removed with it. `localstore rescue NAME --restore` puts it back. The document is
        rewritten. If an earlier call removed the run already, nothing is written, and the result is the same.

        Args:
            session_id: The session.
            run_id: The id of the run. If several runs have this id, the newest one is removed.
            user_id: If given, the session must belong to this user.

        Raises SessionNotFound, RunNotFound, OwnerMismatch, and DocumentBroken if a value in the run would be rounded.
        """
        from localstore.storage.run_removal import REMOVED, RunRemoval

        check_id(session_id)
        check_id(run_id)
        check_text("user_id", user_id)
        removal = RunRemoval(self._engine.root, session_id, run_id, reason=REMOVED, is_last=False)
        done = removal.remove(self._engine, lambda row: self._check_access(row, user_id, None))
        assert done is not None  # noqa: S101 (for the type checker: a run was named)
        return done.name

    def append_items(
        self,
        session_id: str,
        items: "Iterable[Item]",
        *,
        user_id: str | None = None,
        entity_id: str | None = None,
        kind: str | None = None,
        part_of: str | None = None,
        expected_revision: str | None = None,
    ) -> str:
        """Add items of another framework to a session, create it if it does not exist, and return its new revision.

            >>> before = storage.revision("items")
            >>> after = storage.append_items("items", [Item({"text": "hi"}, item_id="i1")], expected_revision=before)
            >>> after == storage.revision("items")
            True

        All items are stored with one write, or none. An item that is among the last 64 entries already is not stored
        again, and its revision is not compared: a call can be repeated. Items cost their own size, however long the
        session is.

        Args:
            session_id: The session.
            items: The items, oldest first, each with an `item_id` of its own.
            user_id: The owner of a new session. If given, an existing session must belong to this user.
            entity_id: The id of the agent, team or workflow of a new session. Ignored for an existing one.
            kind: The kind of a new session; None means "agent". If given, an existing session must be of this kind.
            part_of: The session of which a new one is a sub-session, see `sub_sessions`. Ignored for an existing one.
            expected_revision: The revision that the session must have, "" if it must be new; None accepts any.

        Raises Conflict if the session has another revision, or another item with one of the ids; OwnerMismatch,
        KindMismatch, UnstorableValue, TypeError, and ValueError if two of the items have the same id.
        """
        from localstore.storage.items import append_items, check_revision, entries_of

        check_id(session_id)
        check_kind(kind)
        check_text("user_id", user_id)
        check_text("entity_id", entity_id)
        check_part_of(session_id, part_of)
        entries = entries_of(items)
        if not entries:
            return self.revision(session_id)
        for attempt in self._engine.edit(session_id):
            with attempt as document:
                if document is None:
                    check_revision(session_id, "", expected_revision)
                    began = entries[0]["created_at"]
                    header = new_header(session_id, kind or "agent", entity_id, user_id, began, part_of)
                    return revision_of(self._engine.create(header, entries, self._suffix)["fingerprint"])
                self._check_access(document.row, user_id, kind)
                revision = append_items(document, entries, expected_revision, self._engine.recent_items)
        return revision

    def items(
        self, session_id: str, last: int | None = None, *, user_id: str | None = None, source: str | None = None
    ) -> "list[Item]":
        """Return the last `last` items of a session, or all, oldest first.

            >>> [item.data for item in storage.items("items", last=1)]
            [{'text': 'hi'}]

        The result is empty if the session does not exist, or if `user_id` is given and is not its owner. With `last`,
        only the end of the document is read. With `source`, only items of this framework count.

        Raises ValueError if `last` is neither None nor an integer of at least 0.
        """
        from localstore.storage.items import items_in

        check_id(session_id)
        check_text("user_id", user_id)
        check_text("source", source)
        optional(check_count)("last", last)
        wanted = last
        while True:
            part = Part(wanted, of="item", entries_only=True)
            snapshot = self._engine.snapshot(
                session_id, lambda row: user_id is None or row.get("user_id") == user_id, part
            )
            entries = [] if snapshot is None else snapshot.entries
            found = items_in(entries, last, source)
            if wanted is None or len(found) == last or len(items_in(entries, None)) < wanted:
                return found
            wanted *= 4

    def pop_item(self, session_id: str, *, user_id: str | None = None, source: str | None = None) -> "Item | None":
        """Remove the last item of a session and return it, or return None if there is none. The document is rewritten.

            >>> storage.append_items("items", [Item(1, item_id="i2")]) == storage.revision("items")
            True
            >>> storage.pop_item("items").item_id
            'i2'

        With `source`, it is the last item of this framework. Raises SessionNotFound and OwnerMismatch.
        """
        from localstore.storage.items import PoppedItem

        check_id(session_id)
        check_text("user_id", user_id)
        check_text("source", source)
        popped = PoppedItem(source)
        for attempt in self._engine.edit(session_id):
            with attempt as document:
                popped.apply(self._allowed(document, session_id, user_id))
        return popped.item

    def replace_items(
        self,
        session_id: str,
        items: "Iterable[Item]",
        *,
        user_id: str | None = None,
        expected_revision: str | None = None,
        source: str | None = None,
    ) -> str:
        """Replace all items of a session by others, and return its new revision. Other entries stay.

            >>> storage.replace_items("items", [Item(2)]) == storage.revision("items")
            True

        The new items come last in the history. The document is rewritten, unless it has these items already.

        Args:
            session_id: The session.
            items: The items, oldest first, each with an `item_id` of its own.
            user_id: If given, the session must belong to this user.
            expected_revision: The revision that the session must have; None accepts any.
            source: If given, only the items of this framework are replaced.

        Raises SessionNotFound, OwnerMismatch, UnstorableValue, TypeError, Conflict if the session has another revision,
        and ValueError if two of the items have the same id.
        """
        from localstore.storage.items import entries_of, replace_items

        check_id(session_id)
        check_text("user_id", user_id)
        check_text("source", source)
        entries = entries_of(items)
        for attempt in self._engine.edit(session_id):
            with attempt as document:
                allowed = self._allowed(document, session_id, user_id)
                revision = replace_items(allowed, entries, expected_revision, source)
        return revision

    # The same calls for async code

    aread_document = async_twin(read_document, writes=False)
    areplace_document = async_twin(replace_document, writes=True)
    areplace_unreadable = async_twin(replace_unreadable, writes=True)
    aremove_run = async_twin(remove_run, writes=True)
    aappend_items = async_twin(append_items, writes=True)
    aitems = async_twin(items, writes=False)
    apop_item = async_twin(pop_item, writes=True)
    areplace_items = async_twin(replace_items, writes=True)
