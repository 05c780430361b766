"""A database for agno 2.x and 3.x that keeps sessions as documents: `Agent(db=LocalDb("tmp/sessions"))`."""

import copy
import dataclasses
import os
from abc import update_abstractmethods
from collections.abc import Callable, Iterable
from functools import cache
from hashlib import blake2b
from typing import Any, Literal

from agno.db.base import BaseDb
from agno.run.agent import RunOutput
from agno.run.team import TeamRunOutput
from agno.run.workflow import WorkflowRunOutput
from agno.session import AgentSession, TeamSession, WorkflowSession

from localstore.errors import OwnerMismatch
from localstore.format.values import to_json_value
from localstore.index.row import IndexRow
from localstore.integrations.agno_db.memories import Memories
from localstore.integrations.agno_db.messages import to_seconds
from localstore.integrations.agno_db.reader import Reader, kind_of, sorted_by
from localstore.integrations.agno_db.sessions import to_fields, to_record
from localstore.integrations.agno_db.stored_session import StoredSession, is_member_run
from localstore.integrations.agno_db.unsupported import unsupported_method
from localstore.integrations.agno_db.writer import Writer, WriteRequest
from localstore.storage.storage import JsonStorage, YamlStorage

_SESSIONS = {"agent": AgentSession, "team": TeamSession, "workflow": WorkflowSession}
_RUNS = {"agent": RunOutput, "team": TeamRunOutput, "workflow": WorkflowRunOutput}
_FIELDS = {kind: [f.name for f in dataclasses.fields(cls) if f.name != "runs"] for kind, cls in _SESSIONS.items()}
_RUNS_ARE_SEPARATE = hasattr(BaseDb, "upsert_run")
"""Whether agno stores each run with `upsert_run` (3.x) instead of with its session (2.x)."""


class LocalDb(Memories, BaseDb):  # type: ignore[misc] # agno may be absent
    """A database for agno that stores each session as one JSON or YAML file in a folder.

        agent = Agent(model=..., db=LocalDb("tmp/sessions"), session_id="trip", add_history_to_context=True)

    Many threads and processes on one machine may use the same folder. The data is stored in these places:

    | agno | in the folder |
    |---|---|
    | sessions, runs | `sessions/<month>/<session_id>.json` or `.yaml`: `upsert_run` appends one entry |
    | user memories | `memories/<user>.json` |
    | schema versions | `agno.json` |
    | knowledge, traces, evaluations, metrics, and so on | not stored: NotImplementedError says what to use instead |

    agno's own databases log errors and continue. These methods raise them and leave the document unchanged. They may
    raise UnstorableValue for a value that JSON cannot hold, OwnerMismatch for another user's session, DocumentBroken
    for a file that cannot be parsed, LockTimeout, or OSError.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        format: Literal["json", "yaml"] = "json",  # noqa: A002 - the word that callers expect
        durability: Literal["full", "relaxed"] = "full",
        lock_timeout: float = 10.0,
        id: str | None = None,  # noqa: A002 - the name in the base class
    ) -> None:
        """Open the store in the folder `path`, and create it if it is missing.

        Args:
            path: The folder.
            format: The format of new sessions. Existing sessions keep their format.
            durability: `"full"` waits until data is on the disk; `"relaxed"` lets the operating system write it later.
            lock_timeout: Seconds to wait for another process that writes to the same session.
            id: The id of this database in agno; by default it is derived from the path.
        """
        if format not in ("json", "yaml"):
            raise ValueError(f'format must be "json" or "yaml", not {format!r}')
        kind = JsonStorage if format == "json" else YamlStorage
        self.storage = kind(path, durability=durability, lock_timeout=lock_timeout)
        digest = blake2b(os.fsencode(self.storage.root), digest_size=8).hexdigest()
        BaseDb.__init__(self, id=id or f"localstore-{digest}")
        Memories.__init__(self, self.storage._engine)
        self._options = {"format": format, "durability": durability, "lock_timeout": lock_timeout}
        self._reader = Reader(self.storage._engine)
        self._writer = Writer(self.storage._engine, self.storage._suffix)

    def __repr__(self) -> str:
        return f"LocalDb({str(self.storage.root)!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> "LocalDb":
        """Return the same object: agno copies agents together with their database."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return a mapping of the constructor's arguments, from which `from_dict` opens the same store."""
        return {"id": self.id, "path": str(self.storage.root), **self._options}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "LocalDb":
        """Open the store that a mapping from `to_dict` describes. Ignores unknown keys."""
        names = ("path", "id", "format", "durability", "lock_timeout")
        return cls(**{name: data[name] for name in names if name in data})

    def table_exists(self, table_name: str) -> bool:  # noqa: ARG002 - the signature of the base class
        """Return True, because a folder needs no tables."""
        return True

    # Sessions

    def upsert_session(self, session: Any, deserialize: bool | None = True) -> Any:
        """Store the changes to a session since it was read or last stored, and create it if there is none.

        With agno 2.x, this method also stores new and changed runs. With agno 3.x, `upsert_run` stores them, but agno
        calls it right after this method. So if exactly one run is new, this method stores it, and the run and the state
        that it changed become one entry. Runs are never removed.

        Return `session` itself, or a mapping with all its runs if `deserialize` is false. The stored form is recorded
        in the `_localstore` attribute of `session`.

        Raises OwnerMismatch or KindMismatch if the session belongs to another user or is of another kind, and
        UnstorableValue for a value that JSON cannot hold.
        """
        kind = next(kind for kind, cls in _SESSIONS.items() if isinstance(session, cls))
        stored: StoredSession = session.__dict__.setdefault("_localstore", StoredSession())
        record = _record(session)
        fields = to_fields(record)
        new_runs = stored.new_runs(session.runs or (), or_changed=not _RUNS_ARE_SEPARATE)
        to_write = new_runs
        if _RUNS_ARE_SEPARATE and (len(new_runs) > 1 or any(is_member_run(run) for _, run in new_runs)):
            to_write = []
        self._writer.write(
            WriteRequest(
                session_id=session.session_id,
                kind=kind,
                fields=fields,
                runs=[to_json_value(_to_dict(run), "run") for _, run in to_write],
                positions=[position for position, _ in to_write],
                stored=stored,
                created_at=session.created_at,
                user_id=session.user_id,
                replaces=not _RUNS_ARE_SEPARATE,
            )
        )
        stored.fields = fields
        stored.record_runs(run for _, run in new_runs)
        if deserialize:
            return session
        return {**record, "session_type": kind, "runs": [_to_dict(run) for run in session.runs or ()]}

    def upsert_sessions(
        self,
        sessions: list[Any],
        deserialize: bool | None = True,
        preserve_updated_at: bool = False,  # noqa: ARG002 - updated_at is always the time of the file
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
        """Return a session, or None if there is none or if it has another user or type.

            session = db.get_session("trip", SessionType.AGENT, user_id="alice", runs_limit=3)

        Args:
            session_id: The id of the session.
            session_type: The type the session must have; None accepts any.
            user_id: The user the session must belong to; None accepts any.
            deserialize: Whether to return an object of agno; otherwise a mapping.
            runs_limit: Return at most this many runs: the last ones that agno uses as history. None returns all runs.

        Raises DocumentBroken if the file cannot be parsed.
        """
        kind = _value(session_type)

        def matches(row: IndexRow) -> bool:
            return (user_id is None or row.get("user_id") == user_id) and kind in (None, row["kind"])

        return self._session(session_id, matches, deserialize, runs_limit)

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
        """Return a list of the sessions that match, oldest first unless `sort_by` is set.

        If `deserialize` is false, return a pair: a list of mappings, and the number of matches on all pages.

            sessions = db.get_sessions(SessionType.AGENT, user_id="alice", sort_by="created_at", limit=20)

        Only the documents of returned sessions are read, unless `sort_by` names a field that the index lacks: it has
        `session_id`, `created_at` and `updated_at`.

        Args:
            session_type: Only sessions of this type.
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
            include_runs: Whether to read the runs.

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
        total, runs = len(rows), None if include_runs else 0

        def read(rows: Iterable[IndexRow], deserialize: bool | None) -> list[Any]:
            sessions = [self._session(row["session_id"], matches, deserialize, runs) for row in rows]
            return [session for session in sessions if session is not None]

        if sort_by is not None and sort_by not in ("session_id", "created_at", "updated_at"):
            records = sorted_by(read(rows, False), sort_by, sort_order, dict.get)
            records = _page(records, limit, page)
            if not deserialize:
                return records, total
            return [self._object(record, record.pop("runs")) for record in records]
        rows = _page(self._reader.sorted(rows, sort_by, sort_order), limit, page)
        return read(rows, True) if deserialize else (read(rows, False), total)

    def rename_session(
        self,
        session_id: str,
        session_type: Any = None,
        session_name: str = "",
        user_id: str | None = None,
        deserialize: bool | None = True,
    ) -> Any:
        """Set the name of a session and return the session. An empty name removes it.

        Return None and change nothing if there is no session with this id, user and type; None as `user_id` or
        `session_type` accepts any. If `deserialize` is false, return a mapping.
        """
        kind = _value(session_type)
        row = self._reader.row(session_id)
        if row is None or kind not in (None, row["kind"]) or user_id not in (None, row.get("user_id")):
            return None
        self.storage.update(session_id, user_id=user_id, name=session_name or None)
        return self.get_session(session_id, None, user_id, deserialize)

    def delete_session(self, session_id: str, user_id: str | None = None) -> bool:
        """Delete a session and its runs permanently. Return whether it was deleted.

        Return False if there is no such session, or if it belongs to a user other than `user_id`.
        """
        try:
            return self.storage.delete_session(session_id, user_id=user_id)
        except OwnerMismatch:
            return False

    def delete_sessions(self, session_ids: list[str], user_id: str | None = None) -> None:
        """Delete several sessions permanently. If `user_id` is not None, sessions of other users remain."""
        for session_id in session_ids:
            self.delete_session(session_id, user_id)

    # Runs

    def upsert_run(self, run: Any, session_id: str, user_id: str | None = None, run_index: int | None = None) -> None:
        """Store one run of a session: append it, or replace the stored run with the same `run_id`.

        Creates the session if there is none. `run_index` is the number of runs before this one, or None if unknown.

        Raises ValueError for a run without a `run_id`, OwnerMismatch if the session belongs to another user,
        SessionNotFound for a member's run without a session, and UnstorableValue for a value that JSON cannot hold.
        """
        data = to_json_value(_to_dict(run), "run")
        if data.get("run_id") is None:
            raise ValueError("Run must have a run_id")

        self._writer.write(
            WriteRequest(
                session_id=session_id,
                kind=kind_of(data),
                fields=None,
                runs=[data],
                positions=[run_index],
                created_at=data.get("created_at"),
                user_id=user_id,
            )
        )

    def get_run(self, run_id: str, deserialize: bool | None = True) -> Any:
        """Return a run of any session, or None if there is none.

        Searches all documents, most recently active first. If `deserialize` is false, return a row like those of agno's
        own databases.
        """
        row = self._reader.find_run(run_id)
        if row is None:
            return None
        return _run_object(row["run_data"]) if deserialize else row

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
        matches on all pages. `limit`, `page`, `sort_by` and `sort_order` have the same meaning as in `get_sessions`.
        The other arguments are values that the run must have; None accepts any.

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
        if sort_by is not None:
            rows = sorted_by(rows, sort_by, sort_order, dict.get)
        rows = _page(rows, limit, page)
        return [_run_object(row["run_data"]) for row in rows] if deserialize else (rows, total)

    def delete_run(self, run_id: str) -> bool:
        """Delete a run. Return whether it existed. The session state that the run set is kept."""
        row = self._reader.find_run(run_id)
        return row is not None and self._writer.delete_run(row["session_id"], run_id)

    def delete_runs(self, run_ids: list[str]) -> None:
        """Delete several runs. Ignores ids of runs that do not exist."""
        for run_id in run_ids:
            self.delete_run(run_id)

    # Documents as sessions of agno

    def _session(
        self, session_id: str, matches: Callable[[IndexRow], bool], deserialize: bool | None, runs_limit: int | None
    ) -> Any:
        content = self._reader.session(session_id, matches, runs_limit)
        if content is None:
            return None
        kind = content.header["kind"]
        record = to_record(content.header, content.state, content.updated_at, _FIELDS[kind])
        runs = content.runs or _no_runs(kind)
        return self._object(record, runs) if deserialize else {**record, "runs": runs}

    @staticmethod
    def _object(record: dict[str, Any], runs: list[dict[str, Any]] | None) -> Any:
        session = _SESSIONS[record["session_type"]].from_dict({**record, "runs": runs})
        stored = StoredSession(to_fields(_record(session)))
        stored.record_runs(session.runs or ())
        session.__dict__["_localstore"] = stored
        return session


@cache
def _no_runs(kind: str) -> list[Any] | None:
    """Return the value that this release of agno accepts for a session without runs.

    Some releases fail for an empty list, and some for None.
    """
    try:
        _SESSIONS[kind].from_dict({"session_id": "s", "runs": [] if _RUNS_ARE_SEPARATE else None})
    except (IndexError, TypeError):
        return None if _RUNS_ARE_SEPARATE else []
    return [] if _RUNS_ARE_SEPARATE else None


def _record(session: Any) -> dict[str, Any]:
    """Return the mapping that agno's `to_dict` makes of a session, without its runs. Does not change `session`."""
    without_runs = copy.copy(session)
    without_runs.runs = None  # there may be thousands
    record: dict[str, Any] = without_runs.to_dict()
    record.pop("runs", None)
    return record


def _run_object(data: dict[str, Any]) -> Any:
    return _RUNS[kind_of(data)].from_dict(data)


def _to_dict(run: Any) -> Any:
    return run if isinstance(run, dict) else run.to_dict()


def _value(choice: Any) -> Any:
    """Return the value of a member of one of agno's enumerations. Return any other argument unchanged."""
    return getattr(choice, "value", choice)


def _page(items: list[Any], limit: int | None, page: int | None) -> list[Any]:
    """Return page number `page` (from 1) of `limit` items each. Without a limit, return `items` itself.

    Raises ValueError if `page` is less than 1 or if it is passed without `limit`.
    """
    if limit is None:
        if page is not None:
            raise ValueError("page was given without limit. Give both, or neither.")
        return items
    if page is not None and page < 1:
        raise ValueError(f"page must be 1 or more, not {page!r}")
    start = ((page or 1) - 1) * limit
    return items[start : start + limit]


for _name in sorted(LocalDb.__abstractmethods__):
    setattr(LocalDb, _name, unsupported_method(_name))
update_abstractmethods(LocalDb)
