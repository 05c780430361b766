"""The sessions of agno 2.x and 3.x in a store: `Agent(db=LocalDb("tmp/sessions"))`."""

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
from localstore.integrations.agno_db.messages import seconds_of
from localstore.integrations.agno_db.reader import Reader, sorted_by
from localstore.integrations.agno_db.sessions import parts_of, record_of
from localstore.integrations.agno_db.unsupported import elsewhere
from localstore.integrations.agno_db.writer import Known, Writer
from localstore.storage.storage import JsonStorage, YamlStorage

_SESSIONS = {"agent": AgentSession, "team": TeamSession, "workflow": WorkflowSession}
_RUNS = {"agent": RunOutput, "team": TeamRunOutput, "workflow": WorkflowRunOutput}
_FIELDS = {kind: [f.name for f in dataclasses.fields(cls) if f.name != "runs"] for kind, cls in _SESSIONS.items()}
_RUNS_APART = hasattr(BaseDb, "upsert_run")
"""agno 3.x hands over the runs one by one, and its sessions without them."""
_OPEN = ("PAUSED", "RUNNING", "PENDING")


class LocalDb(Memories, BaseDb):  # type: ignore[misc] # agno may be absent
    """A database of agno whose sessions are documents in a folder. For many threads and processes of one machine.

    `path` is a store, made when missing. `format` is what new sessions are written as, `"json"` or `"yaml"`;
    `durability` and `lock_timeout` are as in `JsonStorage`. Sessions, runs, user memories and schema versions are
    stored; the methods for everything else raise NotImplementedError and name what to use.

    Raises what `JsonStorage` raises. Where agno's own databases log an error and go on, these methods raise it: what
    cannot be stored is UnstorableValue, another user's session OwnerMismatch, a broken document DocumentBroken; the
    document is as it was then.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        format: Literal["json", "yaml"] = "json",  # noqa: A002 - what a reader of the call expects
        durability: Literal["full", "relaxed"] = "full",
        lock_timeout: float = 10.0,
        id: str | None = None,  # noqa: A002 - the name in the base class
    ) -> None:
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
        """The same store: agno copies agents together with their database."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` opens the same store with."""
        return {"id": self.id, "path": str(self.storage.root), **self._options}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "LocalDb":
        """Open the store that `to_dict` names."""
        names = ("path", "id", "format", "durability", "lock_timeout")
        return cls(**{name: data[name] for name in names if name in data})

    def table_exists(self, table_name: str) -> bool:  # noqa: ARG002 - the signature of the base class
        """Whether a table of agno's is there: folders need none."""
        return True

    # Sessions

    def upsert_session(self, session: Any, deserialize: bool | None = True) -> Any:
        """Store a session: what was changed in it since it was read. With agno 2.x its new and changed runs as well.
        With 3.x `upsert_run` stores them; when one is new, which it will be called for next, it is stored here, so that
        a run and what it changed are one entry. No run is ever removed.

        Raises OwnerMismatch when it is another user's, KindMismatch, UnstorableValue.
        """
        kind = next(kind for kind, cls in _SESSIONS.items() if isinstance(session, cls))
        known: Known = session.__dict__.setdefault("_localstore", Known())
        record = _record(session)
        parts = parts_of(record)
        changed = _changed(session.runs or (), known)
        runs = changed
        if _RUNS_APART and (len(changed) > 1 or any(_is_members(run) for _, run in changed)):
            runs = []
        self._writer.write(
            session.session_id,
            kind,
            parts,
            [to_json_value(run if isinstance(run, dict) else run.to_dict(), "run") for _, run in runs],
            known=known,
            created_at=session.created_at,
            user_id=session.user_id,
            places=[place for place, _ in runs],
            replace=not _RUNS_APART,
        )
        known.parts = parts
        known.runs |= {_id_of(run): _state_of(run) for _, run in changed}
        if deserialize:
            return session
        own = [run if isinstance(run, dict) else run.to_dict() for run in session.runs or ()]
        return {**record, "session_type": kind, "runs": own}

    def upsert_sessions(
        self,
        sessions: list[Any],
        deserialize: bool | None = True,
        preserve_updated_at: bool = False,  # noqa: ARG002 - the time of a document is that of its file
    ) -> list[Any]:
        """Store several sessions, one after the other. Raises as `upsert_session` does; those before it are stored."""
        return [self.upsert_session(session, deserialize) for session in sessions if session is not None]

    def get_session(
        self,
        session_id: str,
        session_type: Any = None,
        user_id: str | None = None,
        deserialize: bool | None = True,
        runs_limit: int | None = None,
    ) -> Any:
        """A session, None when there is none, or it is of another user or type. With `runs_limit` it has the last so
        many runs that agno takes as history, at the cost of these. Raises DocumentBroken."""
        kind = _value(session_type)

        def wanted(row: IndexRow) -> bool:
            return (user_id is None or row.get("user_id") == user_id) and kind in (None, row["kind"])

        return self._session(session_id, wanted, deserialize, runs_limit)

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
        """The sessions that fit; without `deserialize` as mappings, and how many fit before `limit` and `page`. Only
        those that are returned are read, unless they are sorted by what the index does not know."""

        def fits(row: IndexRow) -> bool:
            created_at = seconds_of(row["created_at"])
            return (
                (start_timestamp is None or created_at >= start_timestamp)
                and (end_timestamp is None or created_at <= end_timestamp)
                and (session_name is None or session_name.lower() in (row.get("name") or "").lower())
            )

        rows = self._reader.rows(user_id, component_id, _value(session_type))
        rows = [row for row in rows if fits(row)]
        total, runs = len(rows), None if include_runs else 0

        def read(rows: Iterable[IndexRow], deserialize: bool | None) -> list[Any]:
            found = [self._session(row["session_id"], fits, deserialize, runs) for row in rows]
            return [session for session in found if session is not None]

        if sort_by is not None and sort_by not in ("session_id", "created_at", "updated_at"):
            records = sorted_by(read(rows, False), sort_by, sort_order, dict.get)
            page_of = _page(records, limit, page)
            if not deserialize:
                return page_of, total
            return [self._object(record, record.pop("runs")) for record in page_of]
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
        """Name a session and return it; None when there is none of this user and type."""
        kind = _value(session_type)
        found = self._reader.row(session_id)
        if found is None or kind not in (None, found["kind"]) or user_id not in (None, found.get("user_id")):
            return None
        self.storage.update(session_id, user_id=user_id, name=session_name or None)
        return self.get_session(session_id, None, user_id, deserialize)

    def delete_session(self, session_id: str, user_id: str | None = None) -> bool:
        """Remove a session and its runs for good; False when there is none, or it is another user's."""
        try:
            return self.storage.delete_session(session_id, user_id=user_id)
        except OwnerMismatch:
            return False

    def delete_sessions(self, session_ids: list[str], user_id: str | None = None) -> None:
        """Remove several sessions for good; other users' stay."""
        for session_id in session_ids:
            self.delete_session(session_id, user_id)

    # Runs

    def upsert_run(self, run: Any, session_id: str, user_id: str | None = None, run_index: int | None = None) -> None:
        """Store one run of a session: add it, or put it in the place of the one with its `run_id`. A run whose session
        is not there makes one. Raises ValueError for a run without `run_id`, OwnerMismatch, UnstorableValue."""
        data = to_json_value(run if isinstance(run, dict) else run.to_dict(), "run")
        if data.get("run_id") is None:
            raise ValueError("Run must have a run_id")

        self._writer.write(
            session_id,
            _kind_of(data),
            None,
            [data],
            created_at=data.get("created_at"),
            user_id=user_id,
            places=[run_index],
        )

    def get_run(self, run_id: str, deserialize: bool | None = True) -> Any:
        """A run of any session, None when there is none. Looks through the documents, newest activity first."""
        found = self._reader.find_run(run_id)
        if found is None:
            return None
        return _run_object(found["run_data"]) if deserialize else found

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
        """The runs that fit, of one session or of all; without `deserialize` as rows like those of agno's own
        databases, and how many fit before `limit` and `page`."""
        wanted = {"agent_id": agent_id, "team_id": team_id, "workflow_id": workflow_id, "status": _value(status)}
        wanted = {key: value for key, value in wanted.items() if value is not None}
        rows = [
            run
            for run in self._reader.run_rows(session_id, user_id)
            if all(run.get(key) == value for key, value in wanted.items())
        ]
        total = len(rows)
        if sort_by is not None:
            rows = sorted_by(rows, sort_by, sort_order, dict.get)
        rows = _page(rows, limit, page)
        return [_run_object(row["run_data"]) for row in rows] if deserialize else (rows, total)

    def delete_run(self, run_id: str) -> bool:
        """Remove a run from its session; what it said of the session's state stays. False when there is none."""
        found = self._reader.find_run(run_id)
        return found is not None and self._writer.delete_run(found["session_id"], run_id)

    def delete_runs(self, run_ids: list[str]) -> None:
        """Remove several runs."""
        for run_id in run_ids:
            self.delete_run(run_id)

    # How a document becomes a session of agno

    def _session(
        self, session_id: str, wanted: Callable[[IndexRow], bool], deserialize: bool | None, runs_limit: int | None
    ) -> Any:
        found = self._reader.session(session_id, wanted, runs_limit)
        if found is None:
            return None
        header, current, seconds, runs = found
        record = record_of(header, current, seconds, _FIELDS[header["kind"]])
        data = runs or _no_runs(header["kind"])
        return self._object(record, data) if deserialize else {**record, "runs": data}

    @staticmethod
    def _object(record: dict[str, Any], runs: list[dict[str, Any]] | None) -> Any:
        session = _SESSIONS[record["session_type"]].from_dict({**record, "runs": runs})
        known = Known(parts_of(_record(session)))
        known.runs = {_id_of(run): _state_of(run) for run in session.runs or ()}
        session.__dict__["_localstore"] = known
        return session


@cache
def _no_runs(kind: str) -> list[Any] | None:
    """What this release stores for no runs, and reads again: some look at the first of the runs, or at each of None."""
    try:
        _SESSIONS[kind].from_dict({"session_id": "s", "runs": [] if _RUNS_APART else None})
    except (IndexError, TypeError):
        return None if _RUNS_APART else []
    return [] if _RUNS_APART else None


def _record(session: Any) -> dict[str, Any]:
    """A session as agno's mapping, without its runs, which may be very many."""
    alone = copy.copy(session)
    alone.runs = None
    record: dict[str, Any] = alone.to_dict()
    record.pop("runs", None)
    return record


def _id_of(run: Any) -> Any:
    return run.get("run_id") if isinstance(run, dict) else run.run_id


def _is_members(run: Any) -> bool:
    parent = run.get("parent_run_id") if isinstance(run, dict) else getattr(run, "parent_run_id", None)
    return parent is not None


def _state_of(run: Any) -> tuple[Any, Any, int, bool]:
    """What tells whether a run was changed since: agno replaces it, or adds messages and sets its status."""
    get = run.get if isinstance(run, dict) else run.__dict__.get
    status = get("status")
    return run, status, len(get("messages") or ()), _value(status) not in _OPEN


def _changed(runs: Iterable[Any], known: Known) -> list[tuple[int, Any]]:
    """The runs that are new, and with agno 2.x those that were changed, or are not over, with their places."""
    changed, before = [], known.runs
    for place, run in enumerate(runs):
        run_id = _id_of(run)
        old = before.get(run_id)
        if old is None or (not _RUNS_APART and (old[0] is not run or not old[3] or old != _state_of(run))):
            changed.append((place, run))
    return [(place, run) for place, run in changed if _id_of(run) is not None]


def _kind_of(run: dict[str, Any]) -> str:
    """Whose run it is, as agno tells it."""
    if run.get("agent_id") or run.get("agent_name"):
        return "agent"
    return "team" if run.get("team_id") or run.get("team_name") else "workflow"


def _run_object(data: dict[str, Any]) -> Any:
    return _RUNS[_kind_of(data)].from_dict(data)


def _value(choice: Any) -> Any:
    """The text of one of agno's enumerations."""
    return getattr(choice, "value", choice)


def _page(items: list[Any], limit: int | None, page: int | None) -> list[Any]:
    if limit is None:
        if page is not None:
            raise ValueError("page was given without limit. Give both, or neither.")
        return items
    if page is not None and page < 1:
        raise ValueError(f"page must be 1 or more, not {page!r}")
    start = ((page or 1) - 1) * limit
    return items[start : start + limit]


for _name in sorted(LocalDb.__abstractmethods__):
    setattr(LocalDb, _name, elsewhere(_name))
update_abstractmethods(LocalDb)
