"""The calls of a storage that look after all of it: trash, pruning, upgrades, redaction, imports, copies, merges."""

import os
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from localstore.models.session_info import SessionInfo
from localstore.storage.arguments import (
    check_age,
    check_flag,
    check_id,
    check_ids,
    check_patterns,
    expected_fingerprints,
)
from localstore.storage.async_twins import async_twin
from localstore.storage.documents import StorageDocuments

if TYPE_CHECKING:
    from localstore.disk.trash_folder import Trashed
    from localstore.maintenance.copy_sides import Copyable, Side
    from localstore.maintenance.importing import Imported
    from localstore.maintenance.importing import Kind as ImportKind
    from localstore.maintenance.merge_copies import MergedSession
    from localstore.maintenance.merging import StoresMerged
    from localstore.maintenance.redact import Redacted
    from localstore.maintenance.trash import Removal, Restoration
    from localstore.maintenance.upgrade import Upgraded
    from localstore.models.progress import Progress
    from localstore.storage.session_edit import Documents


class StorageHousekeeping(StorageDocuments):
    """Looks after a whole store. See `Storage`."""

    def trash(self, sessions: "str | SessionInfo | Iterable[str | SessionInfo]") -> "Removal":
        """Move sessions to the trash of the store, from where `restore` brings them back, and return what was moved.

            >>> storage.trash("flow").moved[0].session_id
            'flow'

        Documents move as they are, broken ones too, and sub-sessions behind their session. The trash is never emptied
        automatically. Sessions are moved in groups; while a group is moved, writers of its sessions, and of some
        others, wait.

        Args:
            sessions: Ids, or rows of a listing. Of a row, the session is moved only if its document did not change
                since the listing.

        The others are moved if one cannot be: `problems` of the result has its error, by session id. That is
        SessionNotFound, Conflict if the document changed since it was listed, NewerFormat, DocumentBroken, LockTimeout
        or OSError.
        """
        from localstore.maintenance.trash import move_to_trash

        return move_to_trash(self._engine, expected_fingerprints(sessions))

    def trashed(self, *, older_than: timedelta | str | None = None) -> "list[Trashed]":
        """Return the documents in the trash, newest first.

            >>> storage.trashed(older_than="30d")
            []

        `older_than` leaves out what was moved there since: a `timedelta`, or text such as `12h`, `30d` or `8w`. Raises
        ValueError for anything else, and DocumentBroken if the trash folder is a link.
        """
        from localstore.maintenance.trash import trashed

        age = check_age("older_than", older_than)
        return trashed(self, older_than=0.0 if age is None else age.total_seconds())

    def restore(self, name: str, *, new_id: str | None = None) -> Path:
        """Move a document from the trash back into the store, and return its path.

            >>> storage.append("gone", Run(run_id="r1"))
            >>> (one,) = storage.trash("gone").moved
            >>> storage.restore(one.name).name
            'gone.json'

        The document goes back to its former place, and never replaces another one. Sub-sessions that were moved to the
        trash with it come back too, unless it gets another id.

        Args:
            name: The name of the document in the trash: `name` of what `trash` or `trashed` returned.
            new_id: If given, the document becomes the session with this id. Nothing else in it changes.

        Raises FileNotFoundError if it is not in the trash; Conflict, before anything is changed, if the session exists
        again or another file has its place; DocumentBroken.
        """
        from localstore.maintenance.trash import restore, restore_as

        check_id(name)
        if new_id is None:
            return restore(self._engine, name)
        check_id(new_id)
        return restore_as(self._engine, name, new_id)

    def restore_all(self, names: Iterable[str]) -> "Restoration":
        """Move documents from the trash back to their former places, many of them with few syncs.

            >>> storage.restore_all(one.name for one in storage.trashed()).problems
            {}

        `restored` of the result has the path of each document, by its name in the trash. The others are restored if one
        cannot be: `problems` has its error, which is one that `restore` raises, LockTimeout or OSError. Of several
        documents of one session, the first one is restored. While a group is moved, writers of its sessions wait.
        """
        from localstore.maintenance.trash import restore_all

        chosen = list(names)
        for name in chosen:
            check_id(name)
        return restore_all(self._engine, chosen)

    def empty_trash(self, *, older_than: timedelta | str | None = None) -> "list[Trashed]":
        """Delete the documents in the trash permanently, and return them. `older_than` is that of `trashed`.

        >>> storage.empty_trash(older_than="30d")
        []
        """
        from localstore.maintenance.trash import empty

        return empty(self, self.trashed(older_than=older_than))

    def drop(self) -> None:
        """Delete all sessions of this store permanently, and what was set aside from them. Other files stay.

        Raises NewerFormat, before anything is deleted, if a newer localstore wrote one of the sessions.
        """
        self._engine.drop()

    def upgrade_schema(self) -> "Upgraded":
        """Upgrade every document in an older schema version, and return the result.

        Other threads and processes may write to the store in the meantime. A document that cannot be upgraded keeps its
        bytes, and `problems` of the result names it. The old documents are kept in a backup; `localstore upgrade
        --undo` restores them. If a call is interrupted, the next call continues.

        Raises LockTimeout if another upgrade is running, and OSError, before any document is changed, if the disk has
        too little free space.
        """
        from localstore.maintenance.upgrade import upgrade

        return upgrade(self.root, lock_timeout=self._engine.timeout)

    def redact(
        self,
        sessions: str | Iterable[str],
        patterns: Iterable[str] = (),
        *,
        secrets: bool = False,
        dry_run: bool = False,
    ) -> "Redacted":
        """Replace secrets in sessions by marks such as `[redacted email]`, and return where they were.

            >>> storage.append("trip", Run(run_id="r7", messages=[Message(role="user", content="I am a@b.com")]))
            >>> [one.place for one in storage.redact("trip", secrets=True, dry_run=True).sessions[0].redactions]
            ['history[2].messages[0].content']

        All text is searched: messages, arguments and results of tools, the state, the runs of members, steps, names,
        tags, metadata, and numbers in values of the application. Ids stay as they are, because they connect sessions,
        runs and users; the result names those with a secret. What is replaced takes no part in a search any more.

        The old documents are kept in a backup, with the secrets in them; `localstore restore --kind backup` brings them
        back. Earlier backups, the trash and the rescue folder may have the secrets too. An agent that is in the middle
        of a run cannot finish it once it is redacted: its run goes to the rescue folder.

        Args:
            sessions: The id of a session, or several ids.
            patterns: Regular expressions of the `re` module. All of a match is replaced or, if the expression has a
                group named `secret`, what that group matched. An expression that takes very long is not interrupted.
            secrets: If True, replace keys and tokens of common providers, private keys, passwords in URLs,
                authorization headers and e-mail addresses too. The forms are those for which gitleaks
                (https://github.com/gitleaks/gitleaks) has rules. A secret without a form, such as a short password, is
                not found.
            dry_run: If True, nothing is written. The result says what would be replaced.

        A document that cannot be redacted stays as it is, and `problems` of the result names it. Raises SessionNotFound
        before anything is changed; ValueError if a pattern is not valid, or if there is nothing to look for;
        LockTimeout if an upgrade or another redaction is running; and OSError, before any document is changed, if the
        disk has too little free space.
        """
        from localstore.maintenance.redact import redact, redaction_rules

        session_ids = check_ids(sessions)
        chosen = check_patterns(patterns)
        check_flag("secrets", secrets)
        check_flag("dry_run", dry_run)
        return redact(self._engine, session_ids, redaction_rules(chosen, secrets=secrets), dry_run=dry_run)

    def import_from(self, kind: "ImportKind", path: str | os.PathLike[str], *, dry_run: bool = False) -> "Imported":
        """Import the sessions of another program, and return what was imported and what was not.

            >>> storage.import_from("claude-code", "projects", dry_run=True).added
            ('0c5a1f9e-6f0e-4f4e-9f5c-3f1d2b7a8c10',)

        Only what the store does not have yet is written: a second import of the same source writes nothing, and a later
        one adds what is new. A run that you have changed in the store stays as it is. Where the source has several
        branches of a conversation, the current one becomes the session and each other one a fork of it. What a document
        has no field for is kept in the key `imported` of the messages and runs, and in the session's metadata, whose
        `imported_from` is the kind of the source. The source does not change.

        Args:
            kind: `claude-code`, `codex`, `llm`, `chatgpt`, `openai-agents`, `agno` or `atif`.
            path: The file or the folder of that program.
            dry_run: If True, nothing is written. The result says what an import would do. Of a session that the source
                has several times, each counts.

        Sessions and lines that cannot be read are left out, and `skipped` of the result names them. Raises ValueError
        for another kind, and OSError if the source cannot be opened. If the store cannot be written, OSError is raised,
        too; repeat the call to import the rest.
        """
        from localstore.maintenance.importing import FolderTarget, import_from

        check_flag("dry_run", dry_run)
        with self.bulk():
            return import_from(FolderTarget(self._engine, self._suffix), kind, Path(path), dry_run=dry_run)

    def merge_from(
        self, other: "Copyable | Path | str", *, dry_run: bool = False, progress: "Progress | None" = None
    ) -> "StoresMerged":
        """Merge the sessions of another store into this one, and return what was merged and what was not.

            >>> storage.merge_from("copies").unchanged
            1

        Afterwards, this store has everything that both have: sessions that only the other one has, and in sessions of
        both, the runs of both. `differences` of the result names what both have in different forms: the form of the
        store with the newer history counts, and one that is replaced here is kept in the rescue folder. A run that was
        removed on purpose in one of the stores is removed here too, and kept in the rescue folder. Merging again
        changes nothing. If a merge is interrupted, the next one continues.

        The other store is only read. Its trash, rescue files and backups stay there. A session that is in the trash of
        this store stays there unless the other store has more of it. Of documents that this store has, the format and
        the name do not change; a new one has the bytes of the other store, also if that is of the other format.

        Args:
            other: The other storage, in a folder or a database, or the path of a folder.
            dry_run: If True, nothing is written. The result says what a merge would do.
            progress: Called with the number of sessions done so far and the total.

        A session that cannot be read there, or written here, is left out, and `skipped` of the result names it. So is
        one with the id of a session here that belongs to another user. Raises StoreNotFound, ValueError if both are the
        same store, and OSError if this store cannot be written.
        """
        from localstore.maintenance.merging import merge_from
        from localstore.storage.folder_side import FolderSide

        check_flag("dry_run", dry_run)
        if isinstance(other, (str, os.PathLike)):
            with type(self)(other, create=False) as opened:
                return self.merge_from(opened, dry_run=dry_run, progress=progress)
        if not hasattr(other, "_copy_side"):
            raise TypeError(f"other must be a storage or the path of one, not {type(other).__name__}")
        side = FolderSide(self._engine, None)
        return merge_from(other._copy_side(), side, self._engine, dry_run=dry_run, progress=progress)

    def merge_copies(self, session_id: str | None = None, *, dry_run: bool = False) -> "list[MergedSession]":
        """Unite the copies of sessions with their documents, and return what was done with each.

            >>> storage.merge_copies()
            []

        The document gets everything that only a copy has: runs by their id, other entries by their content, in the
        order of their creation. Of two forms of a run, the later one counts. Of two names, tags or states, that of the
        file with the newer history counts, and the result names the difference. Then the copy is moved to
        `.localstore/rescue/`, unchanged. A document that loses something is kept there as it was, too. If a session has
        nothing but a copy, the copy gets the name of the document.

        Other programs may write to the sessions meanwhile. If the call is interrupted, each run is in the document, in
        a copy or in the rescue folder, and the next call does the rest.

        Args:
            session_id: The session whose copies are united; None unites those of all sessions.
            dry_run: If True, nothing is changed. The result says what would be.

        A copy that cannot be read, or not be written again without a loss, stays: its `problem` says why. So does that
        of a session whose document cannot be changed. Raises SessionNotFound if there is no session with the id, and
        DocumentBroken if a folder of the store cannot be listed.
        """
        from localstore.maintenance.merge_copies import merge_copies

        check_flag("dry_run", dry_run)
        if session_id is not None:
            check_id(session_id)
        return merge_copies(self._engine, session_id, dry_run=dry_run)

    def _copy_side(self) -> "Side":
        from localstore.storage.folder_side import FolderSide

        return FolderSide(self._engine, self._suffix)

    def _documents(self) -> "Documents":
        from localstore.storage.folder_documents import FolderDocuments

        return FolderDocuments(self)

    # The same calls for async code

    atrash = async_twin(trash, writes=True)
    atrashed = async_twin(trashed, writes=False)
    arestore = async_twin(restore, writes=True)
    arestore_all = async_twin(restore_all, writes=True)
    aempty_trash = async_twin(empty_trash, writes=True)
    adrop = async_twin(drop, writes=True)
    aupgrade_schema = async_twin(upgrade_schema, writes=True)
    aredact = async_twin(redact, writes=True)
    aimport_from = async_twin(import_from, writes=True)
    amerge_from = async_twin(merge_from, writes=True)
    amerge_copies = async_twin(merge_copies, writes=True)
