"""A database for agno 2.x and 3.x that keeps sessions as documents: `Agent(db=LocalDb("tmp/sessions"))`."""

import os
from abc import update_abstractmethods
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Literal

from agno.db.base import BaseDb

from localstore.errors import OwnerMismatch
from localstore.format.agno_db.messages import to_seconds
from localstore.format.agno_db.runs import RunKind
from localstore.format.agno_db.sessions import to_fields, to_record
from localstore.format.values import to_json_value
from localstore.index.row import IndexRow
from localstore.integrations.agno_db import objects
from localstore.integrations.agno_db.listing import page_of, sorted_by
from localstore.integrations.agno_db.memories import Memories
from localstore.integrations.agno_db.memory_sessions import MAIN, MemorySessions
from localstore.integrations.agno_db.objects import RUNS_ARE_SEPARATE
from localstore.integrations.agno_db.reader import Reader, run_position
from localstore.integrations.agno_db.side_files import SideFiles
from localstore.integrations.agno_db.stored_session import StoredSession, is_member_run
from localstore.integrations.agno_db.transcripts import Transcripts
from localstore.integrations.agno_db.unsupported import unsupported_method
from localstore.integrations.agno_db.waiting_runs import WaitingRuns
from localstore.integrations.agno_db.writer import Writer, WriteRequest
from localstore.storage.contract import SessionStorage
from localstore.storage.storage import JsonStorage, Storage, YamlStorage


class LocalDb(Memories, Transcripts, BaseDb):  # type: ignore[misc] # agno may be absent
    """A database for agno that stores each session as one JSON or YAML file in a folder, or in a database.

        agent = Agent(model=..., db=LocalDb("tmp/sessions"), session_id="trip", add_history_to_context=True)

    Many threads and processes may use the same folder or database. A `LocalDb` can be pickled; the copy opens the same
    one. `copy.deepcopy` returns the `LocalDb` itself. The data is stored in these places:

    | agno | here |
    |---|---|
    | sessions, runs | a session, in a folder `sessions/<month>/<session_id>.json` or `.yaml`, with one entry a run |
    | user memories | the session `agno-db/memories/<user>` |
    | schema versions | the session `agno-db` |
    | transcripts of external agents (3.x) | sub-sessions of their session |
    | knowledge, traces, evaluations, metrics, and so on | not stored |

    Methods that read what is not stored return nothing. Methods that write it raise NotImplementedError, which says
    what to use instead.

    agno's own databases log errors and continue. These methods raise them and leave the document unchanged. They may
    raise UnstorableValue for a value that JSON cannot hold, OwnerMismatch for another user's session, DocumentBroken
    for a file that cannot be parsed, LockTimeout, or OSError.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | SessionStorage,
        *,
        format: Literal["json", "yaml"] = "json",  # noqa: A002 - the word that callers expect
        durability: Literal["full", "relaxed"] = "full",
        lock_timeout: float = 10.0,
        id: str | None = None,  # noqa: A002 - the name in the base class
    ) -> None:
        """Open the store in the folder `path`, and create it if it is missing.

        Args:
            path: The folder, or any storage of localstore, such as `PostgresStorage(db_url="postgresql://...")`. Give
                the other options to the storage then.
            format: The format of new sessions. Existing sessions keep their format.
            durability: `"full"` waits until data is on the disk; `"relaxed"` lets the operating system write it later.
            lock_timeout: Seconds to wait for another process that writes to the same session.
            id: The id of this database in agno; by default it is derived from the path or the address.
        """
        if format not in ("json", "yaml"):
            raise ValueError(f'format must be "json" or "yaml", not {format!r}')
        if isinstance(path, str | os.PathLike):
            kind = JsonStorage if format == "json" else YamlStorage
            self.storage: SessionStorage = kind(path, durability=durability, lock_timeout=lock_timeout)
        elif not hasattr(path, "_documents"):
            kind_of_path = type(path).__name__
            raise TypeError(f"path must be a folder, or a storage such as SqliteStorage(...), not {kind_of_path}")
        elif (format, durability, lock_timeout) != ("json", "full", 10.0):
            raise ValueError("format, durability and lock_timeout belong to a folder. Give the options to the storage.")
        else:
            self.storage = path
        folder = self.storage if isinstance(self.storage, Storage) else None
        place = repr(self.storage).encode() if folder is None else os.fsencode(folder.root)
        BaseDb.__init__(self, id=id or f"localstore-{blake2b(place, digest_size=8).hexdigest()}")
        files = None if folder is None else SideFiles(folder)
        Memories.__init__(self, MemorySessions(self.storage, files))
        Transcripts.__init__(self, self.storage)
        waiting = WaitingRuns()
        self._documents = self.storage._documents()
        self._reader = Reader(self._documents, waiting, left_out=MAIN)
        self._writer = Writer(self._documents, waiting)

    def __repr__(self) -> str:
        return (
            f"LocalDb({str(self.storage.root)!r})"
            if isinstance(self.storage, Storage)
            else f"LocalDb({self.storage!r})"
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> "LocalDb":
        """Return the same object: agno copies agents together with their database."""
        return self

    def __reduce__(self) -> tuple[Callable[..., "LocalDb"], tuple[Any, ...]]:
        """Pickle the storage: a copy in another process opens it again."""
        return _opened, (type(self), self.storage, self.id)

    def to_dict(self) -> dict[str, Any]:
        """Return a mapping that describes this database. From that of a folder, `from_dict` opens it again."""
        if not isinstance(self.storage, Storage):
            return {"id": self.id, "storage": repr(self.storage)}
        return {
            "id": self.id,
            "path": str(self.storage.root),
            "format": "json" if isinstance(self.storage, JsonStorage) else "yaml",
            "durability": "full" if self.storage._engine.durable else "relaxed",
            "lock_timeout": self.storage._engine.timeout,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "LocalDb":
        """Open the folder that a mapping from `to_dict` describes. Ignores unknown keys.

        Raises ValueError for the mapping of another storage, because it has no password.
        """
        if "path" not in data:
            raise ValueError("The mapping has no path. Make the database again with LocalDb(storage).")
        names = ("path", "id", "format", "durability", "lock_timeout")
        return cls(**{name: data[name] for name in names if name in data})

    def table_exists(self, table_name: str) -> bool:  # noqa: ARG002 - the signature of the base class
        """Return True, because a folder needs no tables."""
        return True

    # Sessions

    def upsert_session(self, session: Any, deserialize: bool | None = True) -> Any:
        """Store the changes to a session since it was read or last stored, and create it if there is none.

        With agno 2.x, this method also stores new and changed runs. With agno 3.x, `upsert_run` stores them, but agno
        calls it right after this method. So if exactly one run is new in a session that this database has returned,
        stored or just created, this method stores it, and the run and the state that it changed become one entry. Runs
        are never removed.

        A session may have runs of agents, teams and workflows. It stays what it was first: see `get_session`.

        Return `session` itself, or a mapping with all its runs if `deserialize` is false. The stored form is recorded
        in the `_localstore` attribute of `session`.

        Raises TypeError if `session` is not one of agno's sessions, OwnerMismatch if the stored session belongs to
        another user, and UnstorableValue for a value that JSON cannot hold.
        """
        kind = objects.session_kind(session)
        is_known = "_localstore" in session.__dict__
        stored: StoredSession = session.__dict__.setdefault("_localstore", StoredSession())
        record = objects.session_record(session)
        fields = to_fields(record)
        new_runs = stored.new_runs(session.runs or (), or_changed=not RUNS_ARE_SEPARATE)
        to_write = new_runs
        if RUNS_ARE_SEPARATE and (len(new_runs) > 1 or any(is_member_run(run) for _, run in new_runs)):
            to_write = []
        self._writer.write(
            WriteRequest(
                session_id=session.session_id,
                kind=kind,
                fields=fields,
                runs=[to_json_value(objects.run_record(run), "run") for _, run in to_write],
                run_kinds=[objects.run_kind(run) for _, run in to_write],
                positions=[position for position, _ in to_write],
                keeps_positions=RUNS_ARE_SEPARATE,
                stored=stored,
                created_at=session.created_at,
                user_id=session.user_id,
                adds=is_known or not RUNS_ARE_SEPARATE,
                replaces=not RUNS_ARE_SEPARATE,
            )
        )
        stored.fields = fields
        stored.record_runs(run for _, run in new_runs)
        if deserialize:
            return session
        runs = [objects.run_record(run) for run in session.runs or ()]
        return {**objects.empty_record(kind), **record, "session_type": kind, "runs": runs}

    def upsert_sessions(
        self,
        sessions: list[Any],
        deserialize: bool | None = True,
        preserve_updated_at: bool = False,  # noqa: ARG002 - updated_at is the time of the last write
    ) -> list[Any]:
        """Store several sessions in order, skipping None. Return the results of `upsert_session`.

        May raise what `upsert_session` raises; the sessions before the one that failed are stored.
        """
        return [self.upsert_session(session, deserialize) for session in sessions if session is not None]

    def get_session(
        self,
        session_id: str,
        session_type: Any = None,
        user_id: str | None = None,
        deserialize: bool | None = True,
        runs_limit: int | None = None,
    ) -> Any:
        """Return a session, or None if there is none or if it has another user.

            session = db.get_session("trip", SessionType.AGENT, user_id="alice", runs_limit=3)

        Args:
            session_id: The id of the session.
            session_type: The type of the object to return, because an agent and a team may share a session. None
                returns the type that the session was created with. A mapping always names that type.
            user_id: The user the session must belong to; None accepts any.
            deserialize: Whether to return an object of agno; otherwise a mapping.
            runs_limit: Return at most this many runs: the last ones that agno uses as history. None returns all runs.

        Raises DocumentBroken if the file cannot be parsed.
        """
        record = self._record(session_id, lambda row: user_id is None or row.get("user_id") == user_id, runs_limit)
        return _session(record, _value(session_type)) if record is not None and deserialize else record

    def get_sessions(
        self,
        session_type: Any = None,
        user_id: str | None = None,
        component_id: str | None = None,
        session_name: str | None = None,
        start_timestamp: int | None = None,
        end_timestamp: int | None = None,
        limit: int | None = None,
        page: int | None = None,
        sort_by: str | None = None,
        sort_order: str | None = None,
        deserialize: bool | None = True,
        include_runs: bool = True,
    ) -> Any:
        """Return a list of the sessions that match, in the order of their creation unless `sort_by` is set.

        If `deserialize` is false, return a pair: a list of mappings, and the number of matches on all pages.

            sessions = db.get_sessions(SessionType.AGENT, user_id="alice", sort_by="created_at", limit=20)

        Only the documents of returned sessions are read, unless `sort_by` names a field that the index lacks: it has
        `session_id`, `created_at` and `updated_at`.

        Args:
            session_type: Only sessions that were created with this type.
            user_id: Only sessions of this user.
            component_id: Only sessions of this agent, team or workflow.
            session_name: Only sessions whose name contains this text, in upper or lower case.
            start_timestamp: Only sessions created at or after this time, in seconds since 1970.
            end_timestamp: Only sessions created at or before this time.
            limit: The maximum number of sessions to return.
            page: The page of `limit` sessions to return, starting with 1.
            sort_by: The field to sort by.
            sort_order: "asc" for ascending order; anything else is descending.
            deserialize: Whether to return objects of agno.
            include_runs: Whether to read the runs. If not, the `runs` of a mapping are None.

        Raises ValueError if `page` is less than 1 or if it is passed without `limit`.
        """

        def matches(row: IndexRow) -> bool:
            created_at = to_seconds(row["created_at"])
            return (
                (start_timestamp is None or created_at >= start_timestamp)
                and (end_timestamp is None or created_at <= end_timestamp)
                and (session_name is None or session_name.lower() in (row.get("name") or "").lower())
            )

        rows = self._reader.rows(user_id, component_id, _value(session_type))
        rows = [row for row in rows if matches(row)]
        total, runs_limit = len(rows), None if include_runs else 0
        in_index = sort_by in (None, "session_id", "created_at", "updated_at")
        if in_index:
            rows = page_of(self._reader.sorted(rows, sort_by, sort_order), limit, page)
        found = (self._record(row["session_id"], matches, runs_limit) for row in rows)
        records = [record for record in found if record is not None]
        if sort_by is not None and not in_index:
            records = page_of(sorted_by(records, sort_by, sort_order, dict.get), limit, page)
        if deserialize:
            return [_session(record, None) for record in records]
        return (records if include_runs else [{**record, "runs": None} for record in records]), total

    def rename_session(
        self,
        session_id: str,
        session_type: Any = None,
        session_name: str = "",
        user_id: str | None = None,
        deserialize: bool | None = True,
    ) -> Any:
        """Set the name of a session and return the session. An empty name removes it.

        Return None and change nothing if there is no session with this id and user; None as `user_id` accepts any.
        `session_type` is the type of the object to return, as in `get_session`. If `deserialize` is false, return a
        mapping.
        """
        row = self._documents.row(session_id)
        if row is None or user_id not in (None, row.get("user_id")):
            return None
        self.storage.update(session_id, user_id=user_id, name=session_name or None)
        return self.get_session(session_id, session_type, user_id, deserialize)

    def delete_session(self, session_id: str, user_id: str | None = None) -> bool:
        """Delete a session, its runs and its transcripts permanently. Return whether it was deleted.

        Return False if there is no such session, or if it belongs to a user other than `user_id`.
        """
        try:
            is_deleted = self.storage.delete_session(session_id, user_id=user_id)
        except OwnerMismatch:
            return False
        if is_deleted:
            self._delete_transcripts_of(session_id)
        return is_deleted

    def delete_sessions(self, session_ids: list[str], user_id: str | None = None) -> None:
        """Delete several sessions permanently. If `user_id` is not None, sessions of other users remain."""
        for session_id in session_ids:
            self.delete_session(session_id, user_id)

    # Runs

    def upsert_run(self, run: Any, session_id: str, user_id: str | None = None, run_index: int | None = None) -> None:
        """Store one run of a session: append it, or replace the stored run with the same `run_id`.

        Creates the session if there is none. `run_index` is the number of runs before this one, or None if unknown.
        In its session, a new run always comes after the stored ones. `get_runs` sorts the runs by `run_index`.
        If the stored run has messages that the new one lacks, it is kept in the store's rescue folder, or set aside in
        the database, unless this process has read or stored it in that form while it was unfinished.

        Raises ValueError for a run without a `run_id`, OwnerMismatch if the session belongs to another user,
        SessionNotFound for a member's run without a session, and UnstorableValue for a value that JSON cannot hold.
        """
        data = to_json_value(objects.run_record(run), "run")
        if data.get("run_id") is None:
            raise ValueError("Run must have a run_id")

        self._writer.write(
            WriteRequest(
                session_id=session_id,
                kind=objects.run_kind(run),
                fields=None,
                runs=[data],
                run_kinds=[objects.run_kind(run)],
                positions=[run_index],
                keeps_positions=True,
                created_at=data.get("created_at"),
                user_id=user_id,
            )
        )

    def get_run(self, run_id: str, deserialize: bool | None = True) -> Any:
        """Return a run of any session, or None if there is none.

        In a folder, everything that is stored may be searched, most recently active first. In a database, the run alone
        is read, unless it repeats messages of others. If `deserialize` is false, return a row like those of agno's own
        databases, for which the whole session is read.
        """
        row = self._reader.find_run(run_id, with_index=not deserialize)
        if row is None:
            return None
        return objects.run_object(row) if deserialize else row

    def get_runs(
        self,
        session_id: str | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        team_id: str | None = None,
        workflow_id: str | None = None,
        status: Any = None,
        limit: int | None = None,
        page: int | None = None,
        sort_by: str | None = None,
        sort_order: str | None = None,
        deserialize: bool | None = True,
    ) -> Any:
        """Return a list of the runs that match, of one session, or of all sessions if `session_id` is None.

        If `deserialize` is false, return a pair: a list of rows like those of agno's own databases, and the number of
        matches on all pages. `limit`, `page`, `sort_by` and `sort_order` have the same meaning as in `get_sessions`;
        without `sort_by`, the runs are sorted by `run_index`, and then by the time when they began. The other arguments
        are values that the run must have; None accepts any.

        Raises ValueError if `page` is less than 1 or if it is passed without `limit`.
        """
        values = {"agent_id": agent_id, "team_id": team_id, "workflow_id": workflow_id, "status": _value(status)}
        filters = {key: value for key, value in values.items() if value is not None}
        rows = [
            run
            for run in self._reader.run_rows(session_id, user_id)
            if all(run.get(key) == value for key, value in filters.items())
        ]
        total = len(rows)
        if sort_by is None:
            rows.sort(key=run_position)
        else:
            rows = sorted_by(rows, sort_by, sort_order, dict.get)
        rows = page_of(rows, limit, page)
        return [objects.run_object(row) for row in rows] if deserialize else (rows, total)

    def delete_run(self, run_id: str) -> bool:
        """Delete a run. Return whether it existed. The session state that the run set is kept."""
        row = self._reader.find_run(run_id)
        return row is not None and self._writer.delete_run(row["session_id"], run_id)

    def delete_runs(self, run_ids: list[str]) -> None:
        """Delete several runs. Ignores ids of runs that do not exist."""
        for run_id in run_ids:
            self.delete_run(run_id)

    def _record(
        self, session_id: str, matches: Callable[[IndexRow], bool], runs_limit: int | None
    ) -> dict[str, Any] | None:
        """Return a session as agno's mapping, or None if there is none or if `matches` is false for its row."""
        content = self._reader.session(session_id, matches, runs_limit)
        if content is None:
            return None
        empty = objects.empty_record(content.header["kind"])
        return {**empty, **to_record(content.header, content.state, content.updated_at), "runs": content.runs}


def _opened(cls: type[LocalDb], storage: SessionStorage, id: str) -> LocalDb:  # noqa: A002 - the name in the base class
    return cls(storage, id=id)


def _session(record: dict[str, Any], kind: RunKind | None) -> Any:
    """Return the session object for a mapping: of this kind, or for None of the kind that it was created with."""
    return objects.session_object(record, record["runs"], kind or record["session_type"])


def _value(choice: Any) -> Any:
    """Return the value of a member of one of agno's enumerations. Return any other argument unchanged."""
    return getattr(choice, "value", choice)


for _name in sorted(LocalDb.__abstractmethods__):
    setattr(LocalDb, _name, unsupported_method(_name))
update_abstractmethods(LocalDb)
