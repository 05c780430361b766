"""The storage of agno 1.x on localstore: change one import, and agno keeps its sessions in a store.

    from localstore.integrations.agno import JsonStorage

    agent = Agent(model=..., storage=JsonStorage("tmp/sessions"), session_id="fixed_id_for_demo")

agno gives the whole session after each run; what is new of it is appended.
"""

import os
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, Literal, Protocol
from weakref import WeakValueDictionary

from localstore.format.versions import Document
from localstore.integrations.agno.sessions import Sessions
from localstore.storage import storage as stores

Mode = Literal["agent", "team", "workflow", "workflow_v2"]
_KINDS = {"agent": "agent", "team": "team", "workflow": "workflow", "workflow_v2": "workflow"}

if TYPE_CHECKING:
    # agno is no dependency of this package, and has no types of its own that would have to be kept to here.

    class Session(Protocol):
        """What agno's four classes of sessions have in common."""

        session_id: str
        user_id: str | None
        session_data: dict[str, Any] | None
        extra_data: dict[str, Any] | None
        created_at: int | None
        updated_at: int | None
        memory: Any
        """Those of later workflows have `runs` in its place."""

    class AgnoStorage:
        """agno's base class of storages."""

        mode: Mode

        def __init__(self, mode: Mode | None) -> None: ...

    def session_class(mode: Mode) -> Any: ...
    def all_metrics(told: Document) -> Document: ...

else:
    from agno.agent.metrics import SessionMetrics
    from agno.storage import session as sessions
    from agno.storage.base import Storage as AgnoStorage

    _CLASSES = {"agent": sessions.AgentSession, "team": sessions.TeamSession, "workflow": sessions.WorkflowSession}
    if hasattr(sessions, "WorkflowSessionV2"):  # the workflows with steps came with a release of 1.7
        _CLASSES["workflow_v2"] = sessions.WorkflowSessionV2

    def session_class(mode):
        return _CLASSES[mode]

    def all_metrics(told):
        return asdict(SessionMetrics(**told))


class _Storage(AgnoStorage):
    """agno's sessions in a store of localstore. Safe for many threads and processes of one machine.

    `options` are those of `localstore.JsonStorage`: durability, lock_timeout, create, auto_upgrade_schema. Methods
    raise what the methods of that class raise; nothing is written then, and nothing is taken for missing.
    """

    _store_class: type[stores.Storage]

    def __init__(self, dir_path: str | os.PathLike[str], mode: Mode | None = "agent", **options: Any) -> None:
        """Open the store in the folder `dir_path`.

        Raises OlderFormat for a folder that agno itself wrote, unless `auto_upgrade_schema` is True: then it is
        converted, as `localstore upgrade` does. Raises also what localstore.JsonStorage raises.
        """
        super().__init__(mode)
        self.store = self._store_class(dir_path, **options)
        """The store, for everything that agno does not know: paths, listings, tags."""
        self.dir_path = self.store.root
        self._sessions = Sessions(self.store)
        self._finished: WeakValueDictionary[int, Any] = WeakValueDictionary()

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Storage":
        return self  # an agent that agno copies goes on with the same sessions

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_finished": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _finished=WeakValueDictionary())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.store.root)!r}, mode={self.mode!r})"

    def create(self) -> None:
        """The store is made when it is opened: nothing is left to do."""

    def read(self, session_id: str, user_id: str | None = None) -> "Session | None":
        """A session, or None when there is none or (with `user_id`) it belongs to somebody else.

        Raises KindMismatch when it is a session of another mode.
        """
        raw = self._sessions.read(session_id, user_id or None, self._kind, is_first=self._is_first)
        return None if raw is None else self._session(raw)

    def get_all_session_ids(self, user_id: str | None = None, entity_id: str | None = None) -> list[str]:
        """The ids of the sessions of this mode that fit, the newest first by the time of their creation."""
        return list(self._sessions.ids(user_id or None, entity_id or None, self._kind, is_first=self._is_first))

    def get_all_sessions(self, user_id: str | None = None, entity_id: str | None = None) -> "list[Session]":
        """The sessions of this mode that fit, the newest first by the time of their creation."""
        return self.get_recent_sessions(user_id, entity_id, limit=None)

    def get_recent_sessions(
        self, user_id: str | None = None, entity_id: str | None = None, limit: int | None = 2
    ) -> "list[Session]":
        """The `limit` newest of the sessions of this mode that fit, by the time of their creation."""
        found: list[Session] = []
        for session_id in self._sessions.ids(user_id or None, entity_id or None, self._kind, is_first=self._is_first):
            if limit is not None and len(found) >= limit:
                break
            if (session := self.read(session_id, user_id)) is not None:
                found.append(session)
        return found

    def upsert(self, session: "Session") -> "Session | None":
        """Store what is new of a session: runs that were not stored before, runs and state that changed.

        Runs are never removed, and what agno has been given or has stored before does not come back by itself when it
        was deleted meanwhile. Raises OwnerMismatch, KindMismatch, UnstorableValue.
        """
        told = {field.name: getattr(session, field.name) for field in fields(session)}  # type: ignore[arg-type]
        if self.mode == "workflow_v2":
            given = self._unfinished(told.pop("runs", None) or [])
            runs = [run.to_dict() for run in given]
        else:
            memory = told.get("memory") or {}
            listed, given = memory.get("runs"), []
            runs = listed if isinstance(listed, list) else []  # a mapping, when agno has no runs of the session
            told["memory"] = {key: value for key, value in memory.items() if key != "runs"}
        metrics = (told.get("session_data") or {}).get("session_metrics")
        if isinstance(metrics, dict):
            said = {key: value for key, value in metrics.items() if value not in (None, 0)}
            told["session_data"] = {**told["session_data"], "session_metrics": said}
        created_at = self._sessions.write(told, runs, self._kind, is_first=self._is_first)
        self._finished.update({id(run): run for run in given if run.status in ("COMPLETED", "CANCELLED", "ERROR")})
        session.created_at = created_at
        return session

    def delete_session(self, session_id: str | None = None) -> None:
        """Remove a session for good."""
        if session_id is not None:
            self.store.delete_session(session_id)

    def drop(self) -> None:
        """Remove all sessions of the store for good, those of other modes as well, and nothing else."""
        self.store.drop()

    def upgrade_schema(self) -> None:
        """Upgrade documents of an older schema version."""
        self.store.upgrade_schema()

    @property
    def _kind(self) -> str:
        return _KINDS[self.mode]

    @property
    def _is_first(self) -> bool:
        return self.mode == "workflow"

    def _unfinished(self, runs: list[Any]) -> list[Any]:
        """The runs of a workflow that are not known to be stored as they ended."""
        return [run for run in runs if self._finished.get(id(run)) is not run]

    def _session(self, raw: Document) -> Any:
        metrics = (raw.get("session_data") or {}).get("session_metrics")
        if isinstance(metrics, dict):
            raw["session_data"]["session_metrics"] = all_metrics(metrics)
        return session_class(self.mode).from_dict(raw)


class JsonStorage(_Storage):
    """agno's sessions as JSON documents. Documents of either format are read and written as they are."""

    _store_class = stores.JsonStorage


class YamlStorage(_Storage):
    """agno's sessions as YAML documents. Documents of either format are read and written as they are."""

    _store_class = stores.YamlStorage
