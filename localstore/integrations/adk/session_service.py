"""A session service for the ADK: `Runner(session_service=LocalSessionService(JsonStorage("tmp/sessions")), ...)`."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from weakref import WeakValueDictionary

from google.adk.errors._stale_session_error import StaleSessionError
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.sessions.base_session_service import BaseSessionService, GetSessionConfig, ListSessionsResponse
from google.adk.sessions.session import Session

from localstore.errors import Conflict
from localstore.integrations.adk.events import (
    SOURCE,
    app_key,
    beginning_item,
    event_item,
    events_in,
    is_event,
    merged_state,
    session_key,
    split_state,
    user_key,
)
from localstore.integrations.item_state import State, change_state, state_of
from localstore.models.filter import Filter
from localstore.models.times import parse_time
from localstore.storage.items import Item
from localstore.storage.threads import run_in_thread

if TYPE_CHECKING:
    from google.adk.events.event import Event

    from localstore.storage.contract import SessionStorage

_PAGE = 64
"""How many of the newest events are read first where the number is not known."""


class LocalSessionService(BaseSessionService):  # type: ignore[misc] # the ADK may be absent
    """Keeps the sessions of the ADK in any storage of localstore.

        service = LocalSessionService(JsonStorage("tmp/sessions"))
        runner = Runner(app_name="travel", agent=agent, session_service=service)

    Each event is an entry of the session `APP/USER/SESSION`, and comes back as it was. The state of an app and that of
    a user have sessions of their own. Many tasks, threads and processes may use one service or the same storage. A
    write is finished even if its task is cancelled.

    An event is refused with StaleSessionError if the session got another event since its `Session` was read. Times are
    not compared. Changes that add no event, such as a new name, make no `Session` stale.

    Raises the ADK's errors AlreadyExistsError, SessionNotFoundError and StaleSessionError; Conflict for another event
    with a stored id; UnstorableValue, DocumentBroken, LockTimeout, or OSError. What is stored then stays as it was.
    """

    def __init__(self, storage: SessionStorage) -> None:
        """Keep sessions in `storage`, such as `JsonStorage("tmp/sessions")`."""
        self.storage = storage
        self._locks: WeakValueDictionary[str, Lock] = WeakValueDictionary()

    def __repr__(self) -> str:
        return f"LocalSessionService({self.storage!r})"

    async def create_session(
        self, *, app_name: str, user_id: str, state: dict[str, Any] | None = None, session_id: str | None = None
    ) -> Session:
        """Create a session. Raises AlreadyExistsError."""
        session_id = (session_id or "").strip() or str(uuid4())
        return await run_in_thread(self._create, app_name, user_id, session_id, state)

    async def get_session(
        self, *, app_name: str, user_id: str, session_id: str, config: GetSessionConfig | None = None
    ) -> Session | None:
        """Return a session with its events, oldest first; None if there is none. With a `config`, only the end of the
        document is read."""
        return await run_in_thread(self._get, app_name, user_id, session_id.strip(), config, abandon=True)

    async def list_sessions(self, *, app_name: str, user_id: str | None = None) -> ListSessionsResponse:
        """Return the sessions of an app, or of one of its users, without events; the newest last."""
        return await run_in_thread(self._list, app_name, user_id, abandon=True)

    async def delete_session(self, *, app_name: str, user_id: str, session_id: str) -> None:
        """Delete a session permanently, if there is one. The state of its user and its app stays."""
        await run_in_thread(self.storage.delete_session, session_key(app_name, user_id, session_id.strip()))

    async def get_user_state(self, *, app_name: str, user_id: str) -> dict[str, Any]:
        """Return the state that all sessions of a user share, without the prefix `user:`."""
        return await run_in_thread(self._state, user_key(app_name, user_id), abandon=True)

    async def append_event(self, session: Session, event: Event) -> Event:
        """Store an event and the changes of state that it has. The cost does not depend on the session's length.

        Partial events are returned and not stored. An event that is stored already is not stored twice.
        """
        return event if event.partial else await run_in_thread(self._append, session, event)

    def _create(self, app_name: str, user_id: str, session_id: str, state: dict[str, Any] | None) -> Session:
        key = session_key(app_name, user_id, session_id)
        own, user, app = split_state(state)
        beginning = beginning_item(app_name, user_id, session_id, own)
        try:
            revision = self.storage.append_items(
                key, [beginning], user_id=user_id, entity_id=app_name, expected_revision=""
            )
        except Conflict:
            raise AlreadyExistsError(f"Session with id {session_id} already exists.") from None
        self._share(app_name, user_id, user, app)
        session = Session(
            app_name=app_name,
            user_id=user_id,
            id=session_id,
            state=merged_state(own, self._state(user_key(app_name, user_id)), self._state(app_key(app_name))),
            last_update_time=_seconds(beginning),
        )
        session._storage_update_marker = _marker(revision, beginning.item_id)
        return session

    def _get(self, app_name: str, user_id: str, session_id: str, config: GetSessionConfig | None) -> Session | None:
        key = session_key(app_name, user_id, session_id)
        while True:
            revision = self.storage.revision(key)
            own = self._state(key)
            items = self._newest(key, config or GetSessionConfig())
            if revision == self.storage.revision(key):
                break
        if not items:
            return None
        events = events_in(items)
        last = events[-1].timestamp if events else _seconds(items[-1])
        after = config.after_timestamp if config else None
        if config is not None and config.num_recent_events is not None:
            events = events[max(0, len(events) - config.num_recent_events) :]
        session = Session(
            app_name=app_name,
            user_id=user_id,
            id=session_id,
            state=merged_state(own, self._state(user_key(app_name, user_id)), self._state(app_key(app_name))),
            events=events if after is None else [event for event in events if event.timestamp >= after],
            last_update_time=last,
        )
        session._storage_update_marker = _marker(revision, items[-1].item_id)
        return session

    def _newest(self, key: str, config: GetSessionConfig) -> list[Item]:
        """Return the newest items of a session: at least the last one, and all that the configuration asks for."""
        if config.num_recent_events is not None:
            return self.storage.items(key, max(1, config.num_recent_events), source=SOURCE)
        if config.after_timestamp is None:
            return self.storage.items(key, source=SOURCE)
        wanted = _PAGE
        while True:
            items = self.storage.items(key, wanted, source=SOURCE)
            if len(items) < wanted or (
                is_event(items[0]) and items[0].data.get("timestamp", 0.0) < config.after_timestamp
            ):
                return items
            wanted *= 4

    def _list(self, app_name: str, user_id: str | None) -> ListSessionsResponse:
        app, users = self._state(app_key(app_name)), dict[str, dict[str, Any]]()
        sessions = []
        for info in self.storage.sessions(Filter(user=user_id, entity=app_name)):
            owner = info.user_id or ""
            prefix = session_key(app_name, owner, "")
            if info.session_id == prefix or not info.session_id.startswith(prefix):
                continue  # the shared state of the user or the app, or a session of something else
            (last,) = self.storage.items(info.session_id, 1, source=SOURCE) or (None,)
            if last is None:
                continue  # deleted meanwhile
            if owner not in users:
                users[owner] = self._state(user_key(app_name, owner))
            sessions.append(
                Session(
                    app_name=app_name,
                    user_id=owner,
                    id=info.session_id.removeprefix(prefix),
                    state=merged_state(self._state(info.session_id), users[owner], app),
                    last_update_time=events_in([last])[0].timestamp if is_event(last) else _seconds(last),
                )
            )
        sessions.sort(key=lambda session: (session.last_update_time, session.user_id, session.id))
        return ListSessionsResponse(sessions=sessions)

    def _append(self, session: Session, event: Event) -> Event:
        key = session_key(session.app_name, session.user_id, session.id)
        with self._locks.setdefault(key, Lock()):  # tasks that share one Session wait for each other
            self._apply_temp_state(session, event)
            event = self._trim_temp_delta_state(event)
            own, user, app = split_state(event.actions.state_delta)
            while True:
                revision = self.storage.revision(key)
                if not revision:
                    raise SessionNotFoundError(f"Session {session.id} not found.")
                self._refuse_stale(session, event, key, revision)
                item = event_item(event, {**self._state(key), **own} if own else None)
                try:
                    after = self.storage.append_items(key, [item], expected_revision=revision)
                except Conflict:
                    if self.storage.revision(key) == revision:
                        raise  # another event has its id
                    continue
                break
            self._share(session.app_name, session.user_id, user, app)
            session._storage_update_marker = _marker(after, event.id)
            session.last_update_time = event.timestamp
            if any(event.id == one.id for one in session.events[-_PAGE:]):
                return event  # it was stored before, and this call is a repetition
            self._update_session_state(session, event)
            session.events.append(event)
            return event

    def _refuse_stale(self, session: Session, event: Event, key: str, revision: str) -> None:
        """Raise StaleSessionError if there is an event that this `Session` does not have, other than `event`."""
        marker = session._storage_update_marker
        if marker is not None and marker.startswith(_marker(revision, "")):
            return
        known = session.events[-1].id if session.events else ""
        if marker is not None:  # otherwise the Session was made by hand
            known = marker.partition("\n")[2]
        (last,) = self.storage.items(key, 1, source=SOURCE) or (None,)
        if last is not None and last.item_id not in (known, event.id) and (known or is_event(last)):
            raise StaleSessionError(
                f"Session {session.id!r} has an event that this Session lacks. Nothing was written. "
                "Get the session again, and repeat the call."
            )

    def _share(self, app_name: str, user_id: str, user: dict[str, Any], app: dict[str, Any]) -> None:
        """Merge changes into the states of a user and of an app."""
        if user:
            self._merge(user_key(app_name, user_id), user, app_name, user_id)
        if app:
            self._merge(app_key(app_name), app, app_name, None)

    def _merge(self, key: str, delta: dict[str, Any], app_name: str, user_id: str | None) -> None:
        def item_after(state: State) -> Item:
            return Item({"state_delta": delta}, SOURCE, session_state={**state, **delta})

        change_state(self.storage, key, item_after, user_id=user_id, entity_id=app_name)

    def _state(self, key: str) -> dict[str, Any]:
        return state_of(self.storage, key)


def _marker(revision: str, last: str) -> str:
    """Return what a `Session` remembers: the revision, and the id of the last item that it has."""
    return f"{revision}\n{last}"


def _seconds(item: Item) -> float:
    created_at = parse_time(item.created_at)
    return 0.0 if created_at is None else created_at.timestamp()
