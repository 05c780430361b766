"""Storages for agno 1.x that keep sessions as localstore documents. They replace agno's storages of the same names.

agno passes the whole session after each run. The storage appends only what is new.
"""

import os
from dataclasses import asdict, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol
from weakref import WeakValueDictionary

from localstore.format.versions import Document
from localstore.integrations.agno.sessions import Sessions
from localstore.storage import storage as stores
from localstore.storage.contract import SessionStorage

Mode = Literal["agent", "team", "workflow", "workflow_v2"]
_KINDS = {"agent": "agent", "team": "team", "workflow": "workflow", "workflow_v2": "workflow"}

if TYPE_CHECKING:
    # agno is no dependency of localstore, so mypy uses these declarations.

    class Session(Protocol):
        """The attributes that agno's four session classes share."""

        session_id: str
        user_id: str | None
        session_data: dict[str, Any] | None
        extra_data: dict[str, Any] | None
        created_at: int | None
        updated_at: int | None
        memory: Any
        """Sessions of agno's later workflows have `runs` instead."""

    class AgnoStorage:
        """agno's base class for storages."""

        mode: Mode

        def __init__(self, mode: Mode | None) -> None: ...

    MEDIA: dict[str, Any]
    """agno's classes for the media of a step, by the field that holds them."""

    def session_class(mode: Mode) -> Any: ...
    def all_metrics(metrics: Document) -> Document: ...

else:
    from agno.agent.metrics import SessionMetrics
    from agno.media import AudioArtifact, ImageArtifact, VideoArtifact
    from agno.storage import session as sessions
    from agno.storage.base import Storage as AgnoStorage

    MEDIA = {"images": ImageArtifact, "videos": VideoArtifact, "audio": AudioArtifact}
    _CLASSES = {"agent": sessions.AgentSession, "team": sessions.TeamSession, "workflow": sessions.WorkflowSession}
    if hasattr(sessions, "WorkflowSessionV2"):  # releases from 1.7 have workflows with steps
        _CLASSES["workflow_v2"] = sessions.WorkflowSessionV2

    def session_class(mode):
        return _CLASSES[mode]

    def all_metrics(metrics):
        return asdict(SessionMetrics(**metrics))


def _plain_run(run: Any) -> Document:
    """Return the run of a workflow as a mapping.

    A step may return a path or an address where agno expects an object for an image, a video or a sound. agno cannot
    convert such a run, so each of them becomes an object with this address.
    """
    try:
        plain: Document = run.to_dict()
    except AttributeError:
        plain = _with_media_objects(run).to_dict()
    return plain


def _with_media_objects(value: Any) -> Any:
    """Return a copy of a run or a step, and of the steps in it, with objects for all media."""
    if isinstance(value, list):
        return [_with_media_objects(item) for item in value]
    changes: Document = {
        name: [item if hasattr(item, "to_dict") else media_class(id=str(item), url=str(item)) for item in items]
        for name, media_class in MEDIA.items()
        if (items := getattr(value, name, None))
    }
    for name in ("step_responses", "steps"):
        if getattr(value, name, None):
            changes[name] = _with_media_objects(getattr(value, name))
    return replace(value, **changes)


class _Storage(AgnoStorage):
    """Stores agno's sessions in a localstore store. Safe for many threads and processes on one machine.

    Methods may raise the errors of `localstore.JsonStorage`; a method that raises has written nothing. A session that
    cannot be read is never treated as missing.
    """

    def __init__(self, store: SessionStorage, mode: Mode | None = "agent") -> None:
        super().__init__(mode)
        self.store = store
        """The localstore storage, for operations that agno does not offer: paths, listings, tags."""
        self._sessions = Sessions(store)
        self._finished: WeakValueDictionary[int, Any] = WeakValueDictionary()

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Storage":
        return self  # agno copies agents together with their storage

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_finished": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _finished=WeakValueDictionary())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.store!r}, mode={self.mode!r})"

    def create(self) -> None:
        """Do nothing: the store is created when it is opened."""

    def read(self, session_id: str, user_id: str | None = None) -> "Session | None":
        """Return a session, or None if there is none or if it does not belong to `user_id`.

        Without a `user_id`, the session may belong to any user. Raises KindMismatch for a session of another mode.
        """
        session = self._sessions.read(session_id, user_id or None, self._kind, is_first=self._is_first)
        return None if session is None else self._session_object(session)

    def get_all_session_ids(self, user_id: str | None = None, entity_id: str | None = None) -> list[str]:
        """Return the ids of the sessions of this mode, most recently created first.

        `user_id` and `entity_id` (of the agent, team or workflow) limit the result; None matches all.
        """
        return list(self._sessions.ids(user_id or None, entity_id or None, self._kind, is_first=self._is_first))

    def get_all_sessions(self, user_id: str | None = None, entity_id: str | None = None) -> "list[Session]":
        """Return the sessions of this mode, most recently created first.

        `user_id` and `entity_id` (of the agent, team or workflow) limit the result; None matches all.
        """
        return self.get_recent_sessions(user_id, entity_id, limit=None)

    def get_recent_sessions(
        self, user_id: str | None = None, entity_id: str | None = None, limit: int | None = 2
    ) -> "list[Session]":
        """Return at most `limit` sessions of this mode, most recently created first. None returns all.

        `user_id` and `entity_id` (of the agent, team or workflow) limit the result; None matches all.
        """
        recent: list[Session] = []
        for session_id in self._sessions.ids(user_id or None, entity_id or None, self._kind, is_first=self._is_first):
            if limit is not None and len(recent) >= limit:
                break
            if (session := self.read(session_id, user_id)) is not None:
                recent.append(session)
        return recent

    def upsert(self, session: "Session") -> "Session | None":
        """Store new runs, changed runs and changed state of a session. Return `session` with its `created_at` set.

        Runs are never removed from the document. A run that agno read or wrote before, and that was deleted since, is
        not stored again.

        Raises OwnerMismatch or KindMismatch if the session belongs to another user or is of another kind, and
        UnstorableValue for a value that a document cannot hold.
        """
        of_mode = session_class(self.mode) if not is_dataclass(session) else session
        values = {field.name: getattr(session, field.name, None) for field in fields(of_mode)}
        if self.mode == "workflow_v2":
            run_objects = self._unfinished(values.pop("runs", None) or [])
            runs = [_plain_run(run) for run in run_objects]
        else:
            memory = values.get("memory") or {}
            run_objects, in_memory = [], memory.get("runs")
            runs = in_memory if isinstance(in_memory, list) else []  # agno has a mapping if there are no runs
            values["memory"] = {key: value for key, value in memory.items() if key != "runs"}
        metrics = (values.get("session_data") or {}).get("session_metrics")
        if isinstance(metrics, dict):
            non_zero = {key: value for key, value in metrics.items() if value not in (None, 0)}
            values["session_data"] = {**(values["session_data"] or {}), "session_metrics": non_zero}
        created_at = self._sessions.write(values, runs, self._kind, is_first=self._is_first)
        self._finished.update(
            {id(run): run for run in run_objects if run.status in ("COMPLETED", "CANCELLED", "ERROR")}
        )
        session.created_at = created_at
        return session

    def delete_session(self, session_id: str | None = None) -> None:
        """Delete a session permanently. Do nothing if `session_id` is None or if there is no such session."""
        if session_id is not None:
            self.store.delete_session(session_id)

    def drop(self) -> None:
        """Delete all sessions of the store permanently, including those of other modes. Other files remain."""
        self.store.drop()

    def upgrade_schema(self) -> None:
        """Convert all documents of an older schema version to the current one."""
        self.store.upgrade_schema()

    @property
    def _kind(self) -> str:
        return _KINDS[self.mode]

    @property
    def _is_first(self) -> bool:
        return self.mode == "workflow"

    def _unfinished(self, runs: list[Any]) -> list[Any]:
        """Return the runs of a workflow except the run objects that had ended when they were last stored."""
        return [run for run in runs if self._finished.get(id(run)) is not run]

    def _session_object(self, session: Document) -> Any:
        """Return agno's object for a session. Completes the metrics in `session` with zeros."""
        metrics = (session.get("session_data") or {}).get("session_metrics")
        if isinstance(metrics, dict):
            session["session_data"]["session_metrics"] = all_metrics(metrics)
        return session_class(self.mode).from_dict(session)


class LocalStorage(_Storage):
    """Stores agno's sessions in any storage of localstore, such as a database.

        from localstore.databases.sql import PostgresStorage
        from localstore.integrations.agno import LocalStorage

        agent = Agent(model=..., storage=LocalStorage(PostgresStorage(db_url="postgresql://...")), session_id="trip")

    Everything else is as in `JsonStorage`. Raises TypeError if `store` is no storage of localstore.
    """


class _FolderStorage(_Storage):
    _store_class: type[stores.Storage]
    store: stores.Storage

    def __init__(self, dir_path: str | os.PathLike[str], mode: Mode | None = "agent", **options: Any) -> None:
        """Open the store in the folder `dir_path`.

        Args:
            dir_path: The folder. It is created if it is missing.
            mode: The kind of agno sessions to read and write. agno sets it.
            options: `durability`, `lock_timeout`, `create` and `auto_upgrade_schema`, as in `localstore.JsonStorage`.

        Raises OlderFormat for a folder that agno itself wrote, unless `auto_upgrade_schema` is true: then the folder is
        upgraded, as `localstore upgrade` does. May also raise what `localstore.JsonStorage` raises.
        """
        super().__init__(self._store_class(dir_path, **options), mode)
        self.dir_path = self.store.root

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.store.root)!r}, mode={self.mode!r})"


class JsonStorage(_FolderStorage):
    """Stores agno's sessions as JSON documents. Existing YAML documents stay YAML.

        from localstore.integrations.agno import JsonStorage

        agent = Agent(model=..., storage=JsonStorage("tmp/sessions"), session_id="trip")

    | agno calls | here |
    |---|---|
    | `upsert(session)` | appends new runs; replaces runs that changed; adds changed state to the last new run |
    | `read(session_id, user_id)` | returns the session as agno wrote it; None for a session of another user |
    | `get_all_session_ids`, `get_all_sessions`, `get_recent_sessions` | sessions of this mode, by time of creation |
    | `delete_session(session_id)`, `drop()` | deletes one session, or all |
    | `upgrade_schema()` | upgrades documents of an older schema version |
    | `create()` | nothing: the store is created when it is opened |
    """

    _store_class = stores.JsonStorage


class YamlStorage(_FolderStorage):
    """Stores agno's sessions as YAML documents. Existing JSON documents stay JSON.

        agent = Agent(model=..., storage=YamlStorage("tmp/sessions"), session_id="trip")

    Everything else is as in `JsonStorage`.
    """

    _store_class = stores.YamlStorage
