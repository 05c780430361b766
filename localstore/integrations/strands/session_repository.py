"""Sessions of Strands Agents: `RepositorySessionManager("trip", LocalSessionRepository(storage))`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from strands.session.session_repository import SessionRepository
from strands.types.exceptions import SessionException
from strands.types.session import Session, SessionAgent, SessionMessage

from localstore.errors import Conflict
from localstore.integrations.item_state import State, change_state, state_of
from localstore.storage.items import Item

if TYPE_CHECKING:
    from localstore.storage.contract import SessionStorage

SOURCE = "strands"
"""The `source` of the items, and the key of the session's state that holds the records of its agents."""
Records = dict[str, Any]
"""What Strands writes of the session, its agents and its multi-agents: keys `session`, `agents`, `multi_agents`."""


class LocalSessionRepository(SessionRepository):  # type: ignore[misc] # Strands may be absent
    """A repository of sessions for Strands Agents in any storage of localstore.

        repository = LocalSessionRepository(JsonStorage("tmp/sessions"))
        agent = Agent(session_manager=RepositorySessionManager("trip", repository))

    A session of Strands is a session here. Each message is an item, and the records of the agents are in the state of
    the session. Ids may be any text. Many threads and processes may use one session; two messages with the same number
    are never both stored, and the second one raises SessionException.

    Raises SessionException for what does not exist or exists already; besides UnstorableValue, OwnerMismatch,
    DocumentBroken, LockTimeout and OSError, which leave what is stored as it was.
    """

    def __init__(self, storage: SessionStorage, *, user_id: str | None = None) -> None:
        """Keep the sessions in `storage`. New sessions belong to `user_id`, and those of others are not touched."""
        self.storage = storage
        self._user_id = user_id

    def __repr__(self) -> str:
        return f"LocalSessionRepository({self.storage!r})"

    def create_session(self, session: Session, **kwargs: Any) -> Session:  # noqa: ARG002
        """Create a session. Raises SessionException if it exists."""

        def create(records: Records) -> Records:
            if "session" in records:
                raise SessionException(f"Session {session.session_id} already exists")
            return {**records, "session": session.to_dict()}

        self._change(session.session_id, {"session_type": session.session_type}, create)
        return session

    def read_session(self, session_id: str, **kwargs: Any) -> Session | None:  # noqa: ARG002
        """Return a session, or None if it does not exist."""
        record = self._records(session_id).get("session")
        return None if record is None else Session.from_dict(record)

    def delete_session(self, session_id: str, **kwargs: Any) -> None:  # noqa: ARG002
        """Delete a session permanently. Raises SessionException if it does not exist."""
        if not self.storage.delete_session(session_id, user_id=self._user_id):
            raise SessionException(f"Session {session_id} does not exist")

    def create_agent(self, session_id: str, session_agent: SessionAgent, **kwargs: Any) -> None:  # noqa: ARG002
        """Store the record of an agent."""
        self._put(session_id, "agents", session_agent.agent_id, lambda _: session_agent.to_dict())

    def read_agent(self, session_id: str, agent_id: str, **kwargs: Any) -> SessionAgent | None:  # noqa: ARG002
        """Return the record of an agent, or None if it does not exist."""
        record = self._records(session_id).get("agents", {}).get(agent_id)
        return None if record is None else SessionAgent.from_dict(record)

    def update_agent(self, session_id: str, session_agent: SessionAgent, **kwargs: Any) -> None:  # noqa: ARG002
        """Replace the record of an agent. Raises SessionException if it does not exist."""

        def updated(before: Any) -> Any:
            if before is None:
                raise SessionException(f"Agent {session_agent.agent_id} in session {session_id} does not exist")
            session_agent.created_at = before.get("created_at", session_agent.created_at)
            return session_agent.to_dict()

        self._put(session_id, "agents", session_agent.agent_id, updated)

    def create_message(
        self,
        session_id: str,
        agent_id: str,
        session_message: SessionMessage,
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Add a message. Raises SessionException if another one among the last messages has its number."""
        number = session_message.message_id
        data = {"agent_id": agent_id, **session_message.to_dict()}
        item = Item(data, SOURCE, _message_key(agent_id, number))
        try:
            self.storage.append_items(session_id, [item], user_id=self._user_id)
        except Conflict:
            raise SessionException(
                f"Message {number} of agent {agent_id} already exists in session {session_id}. "
                "Another process added it: create the agent again to read it."
            ) from None

    def read_message(
        self,
        session_id: str,
        agent_id: str,
        message_id: int,
        **kwargs: Any,  # noqa: ARG002
    ) -> SessionMessage | None:
        """Return a message, or None if it does not exist."""
        key = _message_key(agent_id, message_id)
        found = (item for item in self._items(session_id) if item.item_id == key)
        return next((SessionMessage.from_dict(item.data) for item in found), None)

    def update_message(
        self,
        session_id: str,
        agent_id: str,
        session_message: SessionMessage,
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Replace a message. Raises SessionException if it does not exist."""
        key = _message_key(agent_id, session_message.message_id)
        while True:
            revision = self.storage.revision(session_id)
            items = self._items(session_id)
            at = next((number for number, item in enumerate(items) if item.item_id == key), None)
            if at is None:
                raise SessionException(f"Message {session_message.message_id} does not exist")
            before = items[at]
            session_message.created_at = before.data["created_at"]
            data = {"agent_id": agent_id, **session_message.to_dict()}
            items[at] = Item(data, SOURCE, key, before.created_at, before.session_state)
            try:
                self.storage.replace_items(
                    session_id, items, user_id=self._user_id, expected_revision=revision, source=SOURCE
                )
            except Conflict:
                continue  # somebody else wrote meanwhile
            return

    def list_messages(
        self,
        session_id: str,
        agent_id: str,
        limit: int | None = None,
        offset: int = 0,
        **kwargs: Any,  # noqa: ARG002
    ) -> list[SessionMessage]:
        """Return the messages of an agent by their number, `limit` of them after the first `offset`.

        Raises SessionException if the agent does not exist.
        """
        items = [item.data for item in self._items(session_id) if _is_message(item, agent_id)]
        if not items and agent_id not in self._records(session_id).get("agents", {}):
            raise SessionException(f"Agent {agent_id} in session {session_id} does not exist")
        items.sort(key=lambda data: data["message_id"])
        return [SessionMessage.from_dict(data) for data in items[offset : None if limit is None else offset + limit]]

    def create_multi_agent(self, session_id: str, multi_agent: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Store the state of a graph or a swarm."""
        self._put(session_id, "multi_agents", multi_agent.id, lambda _: multi_agent.serialize_state())

    def read_multi_agent(self, session_id: str, multi_agent_id: str, **kwargs: Any) -> dict[str, Any] | None:  # noqa: ARG002
        """Return the state of a graph or a swarm, or None if it does not exist."""
        found: dict[str, Any] | None = self._records(session_id).get("multi_agents", {}).get(multi_agent_id)
        return found

    def update_multi_agent(self, session_id: str, multi_agent: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Replace the state of a graph or a swarm. Raises SessionException if it does not exist."""

        def updated(before: Any) -> Any:
            if before is None:
                raise SessionException(f"MultiAgent state {multi_agent.id} in session {session_id} does not exist")
            return multi_agent.serialize_state()

        self._put(session_id, "multi_agents", multi_agent.id, updated)

    def _items(self, session_id: str) -> list[Item]:
        return self.storage.items(session_id, user_id=self._user_id, source=SOURCE)

    def _records(self, session_id: str) -> Records:
        return _records_in(state_of(self.storage, session_id, self._user_id))

    def _put(self, session_id: str, kind: str, key: str, record_after: Callable[[Any], Any]) -> None:
        """Store what `record_after` makes of the record below this kind and key, which is None if there is none."""

        def put(records: Records) -> Records:
            known = records.get(kind, {})
            return {**records, kind: {**known, key: record_after(known.get(key))}}

        self._change(session_id, {kind: key}, put)

    def _change(self, session_id: str, data: dict[str, Any], change: Callable[[Records], Records]) -> None:
        """Add an item that sets the records to what `change` makes of them; again, if somebody else wrote meanwhile."""

        def item_after(state: State) -> Item:
            return Item(data, SOURCE, session_state={**state, SOURCE: change(_records_in(state))})

        change_state(self.storage, session_id, item_after, user_id=self._user_id)


def _records_in(state: dict[str, Any]) -> Records:
    records = state.get(SOURCE)
    return records if isinstance(records, dict) else {}


def _message_key(agent_id: str, message_id: int) -> str:
    if not isinstance(message_id, int):
        raise ValueError(f"the number of a message must be an integer, not {message_id!r}")
    return f"{agent_id}/{message_id}"


def _is_message(item: Item, agent_id: str) -> bool:
    return isinstance(item.data, dict) and "message_id" in item.data and item.data["agent_id"] == agent_id
