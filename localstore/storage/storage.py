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
    """Sessions in a directory tree. Safe for many threads and processes of one machine, also across a fork.

    Every method that writes returns when the change is on the disk (`durability="full"`), or when it is safe from a
    crash of the process but not of the machine (`"relaxed"`). Methods raise LockTimeout when another process holds a
    lock for longer than `lock_timeout` seconds, DocumentBroken, NewerFormat and OlderFormat for a document that
    cannot be read, and OSError for what the system refuses; nothing is written then.
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
        """Open the store in the folder `dir_path`; it is made when missing, unless `create` is False.

        With `auto_upgrade_schema` a document of an older schema version is upgraded by the first write to it, and a
        folder of agno 1.x is turned into a store at once; what could not be is a UserWarning. Their old selves are
        kept, see `localstore backups`. Without it, older documents can be read, and a write raises OlderFormat.

        Raises StoreNotFound, NewerFormat, OlderFormat (a folder of agno 1.x), OSError.
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
        """Add a run to a session; costs the run, whatever the session's length.

        A run with the `run_id` of an unfinished run finishes it, or, unfinished itself, lets it grow: by more messages,
        steps or member runs, or by more text in the last message, while the assistant is still speaking. As long as no
        other entry followed, both cost what is added (and reading and writing this run in memory); else, and where
        earlier bytes of the run change, the document is rewritten. An unfinished form that is older than the stored
        one is answered without writing; one whose messages, steps or member runs say something else raises Conflict.

        Among the last 64 entries, a run that was stored before is a repetition, and nothing is written; one that says
        something else than the finished run of the same `run_id` raises Conflict. Further back, the ids of finished
        runs are not looked at.

        With `state_base` the run's `session_state` is what that state became: its changes come together with those of
        other runs by top-level key, in one moment. The run then says what was stored, and in `state_conflicts` which
        keys both changed; the run's own values count, or with `strict_state` StateConflict is raised.

        A missing session is created, of `kind` (agent when None), `entity_id` and `user_id`; with `create=False` it
        raises SessionNotFound. Raises OwnerMismatch, KindMismatch, UnstorableValue, and TypeError for what is no valid
        run. When the document is broken the run is kept in `.localstore/rescue/`.
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
        """Add the `number`-th step (from 0) to an unfinished run of a workflow, whose steps before it are stored.

        Costs the step, however many there are before it, when this storage added the one before it and the run is the
        last entry; else the run is read, and where other entries follow it (in YAML also with one step of a hundred
        or so) the document is rewritten. A step that is there already is a repetition, and nothing is written.

        Raises SessionNotFound, RunNotFound, OwnerMismatch, UnstorableValue, TypeError for what is no valid step; and
        Conflict when the run is finished, has another step there (somebody else goes on with it), or has fewer.
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
        """Replace what is named. State is added to the history as an entry (costs the entry); `name`, `tags` and
        `metadata` stand in the header, so that the document is written anew; None removes them.

        `add_tags` and `remove_tags` change the tags that the session has at that moment, or that `tags` gives it: of
        two processes that add one each, neither loses its own. Added ones come last, each once.

        Raises SessionNotFound, OwnerMismatch, UnstorableValue.
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
        """Say that a run was "good" or "bad", and in `note` why, instead of what was said of it before; None takes
        both away. Nothing else changes, and nothing that others write meanwhile is lost. The document is written anew.

        Raises SessionNotFound, RunNotFound, OwnerMismatch, ValueError for another word, UnstorableValue.
        """
        check_id(session_id)
        change = RatingChange.of(run_id, rating, note)
        for attempt in self._engine.edit(session_id):
            with attempt as document:
                change.apply(self._allowed(document, session_id, user_id))

    def upsert(self, session: "Session") -> None:
        """Store a session that was read and changed, or a new one.

        Runs that others added since stay. Runs that were read and are now missing are removed; no other run ever is.
        New entries come last, in their order; the order of the others and `created_at` do not change. Raises Conflict
        when the same run, field or state was changed here and in the store, SessionNotFound when the session was
        deleted since it was read, OwnerMismatch, KindMismatch, UnstorableValue, TypeError for what is no valid session.
        """
        from localstore.models.session import Session
        from localstore.storage.upsert import Mine, upsert_into

        if not isinstance(session, Session):
            raise TypeError(f"upsert takes a Session, not {type(session).__name__}")
        check_id(session.session_id)
        mine, base = Mine.of(session), session._base
        if base is not None and base.header["session_id"] != session.session_id:
            base = None  # a copy under another id is a new session

        for attempt in self._engine.edit(session.session_id):
            with attempt as document:
                if document is not None:
                    self._check_access(document.row, None, session.kind)
                    session._base = upsert_into(self._engine, document, mine, base)
                elif base is not None:
                    raise _not_found(session.session_id, " It was deleted since it was read.")
                else:
                    row = self._engine.create(order_header(mine.header), mine.new_entries(), self._suffix)
                    session._base = mine.stored(row)

    def delete_session(self, session_id: str, *, user_id: str | None = None) -> bool:
        """Remove a session for good; False when there is none. Raises OwnerMismatch."""
        check_id(session_id)
        return self._engine.delete(session_id, lambda row: self._check_access(row, user_id, None))

    def drop(self) -> None:
        """Remove all sessions of this store for good, and nothing else: files that are no sessions stay.

        Raises NewerFormat, before it removes any, when one of them is of a newer localstore.
        """
        self._engine.drop()

    def upgrade_schema(self) -> "Upgraded":
        """Upgrade every document of an older schema version. Other threads and processes may work meanwhile.

        One that cannot be upgraded stays byte for byte as it was and stops no other one; it is among the `problems`
        of what is returned. The old selves are kept, and `localstore upgrade --undo` brings them back. Interrupted and
        called again, it goes on. Raises LockTimeout when another upgrade is at work, OSError when there is too little
        room, before anything is written.
        """
        from localstore.maintenance.upgrade import upgrade

        return upgrade(self.root, lock_timeout=self._engine.timeout)

    # Reading

    def read(self, session_id: str, *, user_id: str | None = None, last_runs: int | None = None) -> "Session | None":
        """A session, or None when there is none or (with `user_id`) it belongs to somebody else.

        With `last_runs` its history holds the entries from the last so many runs on, at the cost of these; 0 reads
        the header and the state alone. Reading takes no lock in the common case and never changes a byte.
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
        """The sessions that fit, newest activity first, from the manifest: no document is opened unless its file
        was changed by hand."""
        check_kind(kind)
        if limit is not None and (type(limit) is not int or limit < 0):
            raise ValueError(f"limit must be None or a whole number from 0 on, not {limit!r}")
        rows = self._engine.index.rows(user_id, entity_id, kind, limit)
        return [session_info(row, store_tree.full_path(self._engine.root, row["path"])) for row in rows]

    def unreadable_files(self) -> dict[Path, str]:
        """Files where documents belong that hold no session that can be told, folders that cannot be looked into, and
        why, as of the last listing."""
        index = self._engine.index
        problems = index.unreadable_files() | index.unreadable_folders
        return {self.root / path: problem for path, problem in problems.items()}

    def get_all_session_ids(
        self, user_id: str | None = None, entity_id: str | None = None, kind: str | None = None
    ) -> list[str]:
        """The ids of the sessions that fit, newest activity first."""
        return [info.session_id for info in self.list_sessions(user_id, entity_id, kind)]

    def get_all_sessions(
        self, user_id: str | None = None, entity_id: str | None = None, kind: str | None = None
    ) -> "list[Session]":
        """The sessions that fit, read whole, newest activity first. Raises DocumentBroken when one is broken."""
        return self.get_recent_sessions(user_id, entity_id, kind, limit=None)

    def get_recent_sessions(
        self,
        user_id: str | None = None,
        entity_id: str | None = None,
        kind: str | None = None,
        limit: int | None = 2,
    ) -> "list[Session]":
        """The `limit` newest of the sessions that fit, read whole, newest activity first."""
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
        """Pairs of a question and its last answer for a prompt, to stand between the system prompt and the history:
        those of the `limit` newest completed runs with this rating, oldest first, without tools.

        Runs whose question is more than text are left out, and so are documents that cannot be read. Costs a listing
        and the documents, newest activity first, of which no more are read once none can have a newer such run; of
        each, the last runs alone when these are enough. Raises ValueError.
        """
        from localstore.storage.examples import newest_examples

        return newest_examples(self, rating, limit, user_id=user_id, entity_id=entity_id)

    def path(self, session_id: str) -> Path:
        """The document of a session. Raises SessionNotFound."""
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
    """A store whose new sessions are JSON documents. Documents of either format are read and written as they are."""

    _suffix = ".json"


class YamlStorage(Storage):
    """A store whose new sessions are YAML documents. Documents of either format are read and written as they are."""

    _suffix = ".yaml"


def _open(kind: type[Storage], root: str, durable: bool, timeout: float, upgrades: bool) -> Storage:
    durability: Literal["full", "relaxed"] = "full" if durable else "relaxed"
    return kind(root, durability=durability, lock_timeout=timeout, create=False, auto_upgrade_schema=upgrades)


def _not_found(session_id: str, why: str = "") -> SessionNotFound:
    return SessionNotFound(
        f"There is no session {session_id!r}.{why} Check the id, or store a new session.", session_id=session_id
    )
