"""An open store: what people use."""

import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from localstore.disk import store_tree
from localstore.engine.engine import Engine
from localstore.engine.transaction import Transaction
from localstore.errors import DocumentBroken, KindMismatch, OlderFormat, OwnerMismatch, SessionNotFound
from localstore.format.document import order_header
from localstore.format.values import to_json_value
from localstore.index.row import IndexRow
from localstore.models.schema import SESSION_KEYS
from localstore.models.session_info import SessionInfo, session_info
from localstore.storage.arguments import UNSET, Unset, check_id, check_kind, check_text, check_update
from localstore.storage.rating import Rating, RatingChange
from localstore.storage.update import SessionChange, new_header

if TYPE_CHECKING:
    from localstore.maintenance.upgrade import Upgraded
    from localstore.models.session import Message, Run, Session, Step


class Storage:
    """Sessions in a directory tree. Use `JsonStorage` or `YamlStorage`.

    Many threads and processes of one machine may use a store at the same time, also across a fork. A method that writes
    returns when the change is on the disk (`durability="full"`), or when it survives a crash of the process but not of
    the machine (`"relaxed"`).

    Methods raise LockTimeout if another process holds a lock for longer than `lock_timeout` seconds; DocumentBroken,
    NewerFormat or OlderFormat for a document that cannot be read; and OSError if the system refuses. Nothing is written
    then.
    """

    _suffix: str

    def __init__(
        self,
        dir_path: str | os.PathLike[str],
        *,
        durability: Literal["full", "relaxed"] = "full",
        lock_timeout: float = 10.0,
        create: bool = True,
        auto_upgrade_schema: bool = False,
    ) -> None:
        """Open the store in a folder.

        Args:
            dir_path: The folder. It is created if it does not exist.
            durability: Whether a write survives a crash of the machine ("full") or of the process alone ("relaxed").
            lock_timeout: Seconds to wait for another process that writes to the same session.
            create: Whether to create a missing store. If False, StoreNotFound is raised.
            auto_upgrade_schema: Whether the first write to a document of an older schema version upgrades it, and a
                folder of agno 1.x is converted to a store at once. The old documents are kept, see `localstore
                backups`; a warning names what could not be upgraded. If False, older documents can be read, and a
                write raises OlderFormat.

        Raises StoreNotFound, NewerFormat, OlderFormat (a folder of agno 1.x), ValueError, OSError.
        """
        if durability not in ("full", "relaxed"):
            raise ValueError(f'durability must be "full" or "relaxed", not {durability!r}')
        if isinstance(lock_timeout, bool) or not isinstance(lock_timeout, (int, float)) or not lock_timeout >= 0:
            raise ValueError(f"lock_timeout must be a number of seconds from 0 on, not {lock_timeout!r}")
        if not os.fspath(dir_path):
            raise ValueError("dir_path is empty. Name a folder; '.' is the working directory.")
        if str(dir_path).startswith("~"):
            raise ValueError(f"dir_path {str(dir_path)!r} is not expanded. Use pathlib.Path(...).expanduser().")
        try:
            self.root = store_tree.open_store(Path(dir_path), create=create)
        except OlderFormat:
            if not auto_upgrade_schema:
                raise
            self._convert(Path(dir_path), float(lock_timeout))
            self.root = store_tree.open_store(Path(dir_path), create=create)
        self._engine = Engine(
            self.root, durable=durability == "full", timeout=float(lock_timeout), upgrades=auto_upgrade_schema
        )

    @staticmethod
    def _convert(folder: Path, lock_timeout: float) -> None:
        from localstore.maintenance.upgrade import upgrade

        for problem in upgrade(folder, lock_timeout=lock_timeout).problems:
            warnings.warn(f"Not upgraded: {problem}", stacklevel=3)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.root)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles as the path and the options: another process opens the same store."""
        return _open, (type(self), str(self.root), self._engine.durable, self._engine.timeout, self._engine.upgrades)

    # Writing

    def append(
        self,
        session_id: str,
        run: "Run",
        *,
        user_id: str | None = None,
        entity_id: str | None = None,
        kind: str | None = None,
        create: bool = True,
        state_base: dict[str, Any] | None = None,
        strict_state: bool = False,
    ) -> None:
        """Add a run to a session, and create the session if it does not exist. This costs the run, not the session.

            >>> storage.append("trip", Run(messages=[Message(role="user", content="Where is Linz?")]))

        A run with the `run_id` of an unfinished run takes its place. It has to contain what is stored: all messages,
        member runs and steps, and the beginning of the text that the assistant was speaking; a finished run may have
        another text there, since the model may have been asked again. An older form of the stored run is a repetition,
        and nothing is written. A form that lacks something of the stored run, and says something else, raises Conflict;
        it is kept in `.localstore/rescue/`, and the error names the file in `rescued`.

        The cost is what is added as long as no other entry followed; else the document is rewritten.

        A finished run that was stored before is recognised among the last 64 entries, and is not written again. One
        that says something else raises Conflict. Further back, the ids of finished runs are not looked at.

        Args:
            session_id: The session.
            run: The run. Unless it is `unfinished`, it is over.
            user_id: The owner of the session. An existing session must belong to this user.
            entity_id: The agent, team or workflow of a session that is created.
            kind: The kind of the session; "agent" for one that is created without it.
            create: Whether to create a missing session. If False, SessionNotFound is raised.
            state_base: The state from which the run's `session_state` was made. Its changes are merged with those of
                other runs by top-level key. The run then has the stored state, and in `state_conflicts` the keys that
                both changed: there, the value of this run counts.
            strict_state: Whether such a key raises StateConflict instead.

        Raises Conflict, StateConflict, SessionNotFound, OwnerMismatch, KindMismatch, UnstorableValue, and TypeError
        for an invalid run. If the document is broken, the run is kept in `.localstore/rescue/`.
        """
        from localstore.storage.upsert import run_of

        check_id(session_id)
        check_kind(kind)
        check_text("user_id", user_id)
        check_text("entity_id", entity_id)
        entry = run_of(run)
        merge = None
        if state_base is not None and run.session_state is not None:
            from localstore.storage.state_merge import StateMerge

            merge = StateMerge(run, state_base, strict=strict_state)

        try:
            for attempt in self._engine.edit(session_id):
                with attempt as document:
                    if document is None:
                        if not create:
                            raise _not_found(session_id)
                        header = new_header(session_id, kind or "agent", entity_id, user_id, entry["created_at"])
                        self._engine.create(header, [entry], self._suffix)
                        continue
                    self._check_access(document.row, user_id, kind)
                    if merge is None:
                        self._engine.runs.append(document, entry)
                    else:
                        self._engine.runs.append(document, *merge.entries(document))
        except DocumentBroken as error:
            raise self._engine.keep_run(error, session_id, entry) from None
        if merge is not None:
            merge.tell()

    def add_step(self, session_id: str, run_id: str, step: "Step", *, number: int, user_id: str | None = None) -> None:
        """Add a step to an unfinished run of a workflow.

            >>> storage.append("flow", Run(run_id="r1", status="unfinished"), kind="workflow")
            >>> storage.add_step("flow", "r1", Step(name="draft", output="..."), number=0)

        This costs the step, however many there are, if this storage added the one before it and the run is the last
        entry. Otherwise the run is read, and the document is rewritten if other entries follow the run (in YAML also
        for about one step in a hundred). A step that is stored already is not written again.

        Args:
            session_id: The session.
            run_id: The run.
            step: The step.
            number: Its position in the run, from 0. The steps before it must be stored.
            user_id: The owner of the session, if it is to be checked.

        Raises SessionNotFound, RunNotFound, OwnerMismatch, UnstorableValue, TypeError for an invalid step, and Conflict
        if the run is finished, has another step at this position, or has too few steps.
        """
        from localstore.storage.upsert import step_of

        check_id(session_id)
        check_text("run_id", run_id)
        if type(number) is not int or number < 0:
            raise ValueError(f"number must be a whole number from 0 on, not {number!r}")
        added = step_of(step)

        for attempt in self._engine.edit(session_id):
            with attempt as document:
                self._engine.runs.add_step(self._allowed(document, session_id, user_id), run_id, number, added)

    def update(
        self,
        session_id: str,
        *,
        user_id: str | None = None,
        session_state: dict[str, Any] | None = None,
        session_summary: Any = None,
        session_data: dict[str, Any] | None = None,
        instructions: str | None = None,
        name: str | Unset | None = UNSET,
        tags: list[str] | Unset | None = UNSET,
        metadata: dict[str, Any] | Unset | None = UNSET,
        add_tags: Iterable[str] = (),
        remove_tags: Iterable[str] = (),
    ) -> None:
        """Change the state of a session, its name, its tags or its metadata.

            >>> storage.update("trip", name="Trip to Linz", add_tags=["travel"])

        State is added to the history as an entry, and costs the entry. `name`, `tags` and `metadata` are in the header:
        the document is rewritten.

        Args:
            session_id: The session.
            user_id: The owner of the session, if it is to be checked.
            session_state: The new state. It replaces the old one.
            session_summary: The new summary.
            session_data: The new extra data. It replaces the old data.
            instructions: The new instructions.
            name: The new name; None removes it.
            tags: The new tags; None removes all.
            metadata: The new metadata; None removes it.
            add_tags: Tags to add to those that the session has at that moment.
            remove_tags: Tags to remove.

        Raises SessionNotFound, OwnerMismatch, UnstorableValue, TypeError.
        """
        check_id(session_id)
        named = zip(SESSION_KEYS, (instructions, session_state, session_summary, session_data), strict=True)
        state: dict[str, Any] = to_json_value({key: value for key, value in named if value is not None})
        values = {"name": name, "tags": tags, "metadata": metadata}
        header: dict[str, Any] = to_json_value({key: value for key, value in values.items() if value is not UNSET})
        check_update(state, header)
        change = SessionChange.of(state, header, add_tags, remove_tags)
        for attempt in self._engine.edit(session_id):
            with attempt as document:
                change.apply(self._allowed(document, session_id, user_id), may_be_there=attempt.is_repeated)

    def rate(
        self,
        session_id: str,
        run_id: str,
        rating: Rating | None,
        note: str | None = None,
        *,
        user_id: str | None = None,
    ) -> None:
        """Rate a run, or remove its rating. The document is rewritten, and nothing else in it changes.

            >>> storage.append("trip", Run(run_id="r1"))
            >>> storage.rate("trip", "r1", "bad", note="Linz is in Austria.")

        Args:
            session_id: The session.
            run_id: The run. If several have this id, the newest one is rated.
            rating: "good" or "bad"; None removes the rating and the note.
            note: Why. Omit it to remove the note.
            user_id: The owner of the session, if it is to be checked.

        Raises SessionNotFound, RunNotFound, OwnerMismatch, ValueError for another rating, UnstorableValue.
        """
        check_id(session_id)
        change = RatingChange.of(run_id, rating, note)
        for attempt in self._engine.edit(session_id):
            with attempt as document:
                change.apply(self._allowed(document, session_id, user_id))

    def upsert(self, session: "Session") -> None:
        """Store a session that was read and changed, or a new one.

            >>> session = storage.read("trip")
            >>> session.metadata["budget"] = 500
            >>> storage.upsert(session)

        What others added since stays. Runs that were read and are no longer in the history are removed; no other run
        ever is. New entries come last, in their order. The order of the other entries and `created_at` do not change.

        Raises Conflict if the same run, field or state was changed here and in the store, SessionNotFound if the
        session was deleted since it was read, OwnerMismatch, KindMismatch, UnstorableValue, and TypeError for an
        invalid session.
        """
        from localstore.models.session import Session
        from localstore.storage.upsert import LocalSession, upsert_into

        if not isinstance(session, Session):
            raise TypeError(f"upsert takes a Session, not {type(session).__name__}")
        check_id(session.session_id)
        local, base = LocalSession.of(session), session._base
        if base is not None and base.header["session_id"] != session.session_id:
            base = None  # a copy under another id is a new session

        for attempt in self._engine.edit(session.session_id):
            with attempt as document:
                if document is not None:
                    self._check_access(document.row, None, session.kind)
                    session._base = upsert_into(self._engine, document, local, base)
                elif base is not None:
                    raise _not_found(session.session_id, " It was deleted since it was read.")
                else:
                    row = self._engine.create(order_header(local.header), local.new_entries(), self._suffix)
                    session._base = local.stored(row)

    def delete_session(self, session_id: str, *, user_id: str | None = None) -> bool:
        """Delete a session for good. Return False if it does not exist.

            >>> storage.delete_session("nowhere")
            False

        Raises OwnerMismatch, NewerFormat.
        """
        check_id(session_id)
        return self._engine.delete(session_id, lambda row: self._check_access(row, user_id, None))

    def drop(self) -> None:
        """Delete all sessions of this store for good. Files that are not sessions stay.

        Raises NewerFormat, before any session is deleted, if one was written by a newer localstore.
        """
        self._engine.drop()

    def upgrade_schema(self) -> "Upgraded":
        """Upgrade every document of an older schema version. Other threads and processes may write meanwhile.

        A document that cannot be upgraded stays byte for byte as it was, and is among the `problems` of the result.
        The old documents are kept: `localstore upgrade --undo` brings them back. After an interruption, call it again.

        Raises LockTimeout if another upgrade is running, and OSError, before anything is written, if there is too
        little space.
        """
        from localstore.maintenance.upgrade import upgrade

        return upgrade(self.root, lock_timeout=self._engine.timeout)

    # Reading

    def read(self, session_id: str, *, user_id: str | None = None, last_runs: int | None = None) -> "Session | None":
        """Read a session. Return None if it does not exist or, with `user_id`, belongs to somebody else.

            >>> storage.read("nowhere") is None
            True

        With `last_runs`, the history has the entries from the last so many runs on, and only these are read; 0 reads
        the header and the state alone. Reading never changes a byte, and takes no lock unless somebody is writing.
        """
        check_id(session_id)
        if last_runs is not None and (type(last_runs) is not int or last_runs < 0):
            raise ValueError(f"last_runs must be None or a whole number from 0 on, not {last_runs!r}")
        snapshot = self._engine.look(
            session_id, lambda row: user_id is None or row.get("user_id") == user_id, last_runs
        )
        if snapshot is None:
            return None
        from localstore.storage.upsert import session_of

        return session_of(snapshot)

    def list_sessions(
        self,
        user_id: str | None = None,
        entity_id: str | None = None,
        kind: str | None = None,
        limit: int | None = None,
    ) -> list[SessionInfo]:
        """List the sessions that match, newest activity first.

            >>> [info.session_id for info in storage.list_sessions(kind="workflow")]
            ['flow']

        No document is opened, unless its file was changed by hand. Raises ValueError.
        """
        check_kind(kind)
        if limit is not None and (type(limit) is not int or limit < 0):
            raise ValueError(f"limit must be None or a whole number from 0 on, not {limit!r}")
        rows = self._engine.index.rows(user_id, entity_id, kind, limit)
        return [session_info(row, store_tree.full_path(self._engine.root, row["path"])) for row in rows]

    def unreadable_files(self) -> dict[Path, str]:
        """Return the files that cannot be read as sessions and the folders that cannot be listed, with the reasons.

        They are as of the last listing.
        """
        index = self._engine.index
        problems = index.unreadable_files() | index.unreadable_folders
        return {self.root / path: problem for path, problem in problems.items()}

    def get_all_session_ids(
        self, user_id: str | None = None, entity_id: str | None = None, kind: str | None = None
    ) -> list[str]:
        """Return the ids of the sessions that match, newest activity first."""
        return [info.session_id for info in self.list_sessions(user_id, entity_id, kind)]

    def get_all_sessions(
        self, user_id: str | None = None, entity_id: str | None = None, kind: str | None = None
    ) -> "list[Session]":
        """Read the sessions that match, newest activity first. Raises DocumentBroken if one is broken."""
        return self.get_recent_sessions(user_id, entity_id, kind, limit=None)

    def get_recent_sessions(
        self,
        user_id: str | None = None,
        entity_id: str | None = None,
        kind: str | None = None,
        limit: int | None = 2,
    ) -> "list[Session]":
        """Read the `limit` newest of the sessions that match, newest activity first."""
        infos = self.list_sessions(user_id, entity_id, kind, limit)
        sessions = (self.read(info.session_id, user_id=user_id) for info in infos)
        return [session for session in sessions if session is not None]

    def examples(
        self,
        rating: Rating = "good",
        limit: int = 5,
        *,
        user_id: str | None = None,
        entity_id: str | None = None,
    ) -> "list[Message]":
        """Return pairs of a question and its answer for a prompt: those of the newest completed runs with this rating.

            >>> storage.examples("good", limit=3)
            []

        They stand between the system prompt and the history, oldest first, without tool calls. Runs whose question is
        more than text are left out, and so are documents that cannot be read. This costs a listing and the newest
        documents, until no other one can have a newer run. Raises ValueError.
        """
        from localstore.storage.examples import newest_examples

        return newest_examples(self, rating, limit, user_id=user_id, entity_id=entity_id)

    def path(self, session_id: str) -> Path:
        """Return the path of a session's document. Raises SessionNotFound.

        >>> storage.path("trip").name
        'trip.json'
        """
        check_id(session_id)
        row = self._engine.locate(session_id)
        if row is None:
            self._engine.refuse_unreadable(session_id)
            raise _not_found(session_id)
        return self.root / row["path"]

    def _allowed(self, document: Transaction | None, session_id: str, user_id: str | None) -> Transaction:
        """Return the document, if there is one and the user may write to it. Raises SessionNotFound, OwnerMismatch."""
        if document is None:
            raise _not_found(session_id)
        self._check_access(document.row, user_id, None)
        return document

    def _check_access(self, row: IndexRow, user_id: str | None, kind: str | None) -> None:
        session_id = row["session_id"]
        if user_id is not None and row.get("user_id") != user_id:
            advice = "the user_id that it was created with" if "user_id" in row else "no user_id: it has no owner"
            raise OwnerMismatch(
                f"Session {session_id!r} does not belong to user {user_id!r}. Nothing was written. "
                f"Use another session_id, or {advice}.",
                path=str(self.root / row["path"]),
                session_id=session_id,
            )
        if kind is not None and row["kind"] != kind:
            raise KindMismatch(
                f"Session {session_id!r} is of kind {row['kind']}, not {kind}. Nothing was written. "
                "Use another session_id.",
                path=str(self.root / row["path"]),
                session_id=session_id,
            )


class JsonStorage(Storage):
    """A store whose new sessions are JSON documents. Documents of both formats are read and written as they are."""

    _suffix = ".json"


class YamlStorage(Storage):
    """A store whose new sessions are YAML documents. Documents of both formats are read and written as they are."""

    _suffix = ".yaml"


def _open(kind: type[Storage], root: str, durable: bool, timeout: float, upgrades: bool) -> Storage:
    durability: Literal["full", "relaxed"] = "full" if durable else "relaxed"
    return kind(root, durability=durability, lock_timeout=timeout, create=False, auto_upgrade_schema=upgrades)


def _not_found(session_id: str, why: str = "") -> SessionNotFound:
    return SessionNotFound(
        f"There is no session {session_id!r}.{why} Check the id, or store a new session.", session_id=session_id
    )
