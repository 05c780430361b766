"""Events of the ADK as items, and the ids and states of its sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.adk.events.event import Event
from google.adk.sessions.state import State
from pydantic_core import to_jsonable_python

from localstore.errors import UnstorableValue
from localstore.format.values import to_json_value
from localstore.models.joined_names import escaped_name
from localstore.models.times import now
from localstore.storage.items import Item

if TYPE_CHECKING:
    from collections.abc import Iterable

SOURCE = "adk"
"""The `source` of the items."""

Split = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]


def event_item(event: Event, state: dict[str, Any] | None) -> Item:
    """Return an event as an item. `state` is the state of the session after it, None if it is unchanged.

    Raises UnstorableValue.
    """
    try:
        data = event.model_dump(mode="json", exclude_defaults=True)
    except ValueError as error:
        raise UnstorableValue(f"the event has a value that the ADK cannot write as JSON: {error}") from error
    return Item(data, SOURCE, event.id, now(), state)


def beginning_item(app_name: str, user_id: str, session_id: str, state: dict[str, Any]) -> Item:
    """Return the first item of a session, which has no event."""
    names = {"app_name": app_name, "user_id": user_id, "session_id": session_id}
    return Item(names, SOURCE, session_state=state)


def events_in(items: Iterable[Item]) -> list[Event]:
    """Return the events among items, in their order."""
    return [Event.model_validate(item.data) for item in items if is_event(item)]


def is_event(item: Item) -> bool:
    """Return whether an item of the ADK is an event."""
    return isinstance(item.data, dict) and "app_name" not in item.data


def session_key(app_name: str, user_id: str, session_id: str) -> str:
    """Return the id under which a session is stored. The ADK identifies a session by three names.

    >>> session_key("travel", "alice", "trip")
    'travel/alice/trip'
    """
    return f"{escaped_name(app_name)}/{escaped_name(user_id)}/{session_id}"


def app_key(app_name: str) -> str:
    """Return the id under which the state that all sessions of an app share is stored."""
    return f"{escaped_name(app_name)}/"


def user_key(app_name: str, user_id: str) -> str:
    """Return the id under which the state that all sessions of a user of an app share is stored."""
    return session_key(app_name, user_id, "")


def split_state(state: dict[str, Any] | None) -> Split:
    """Return the parts of a state that belong to the session, its user and its app, as JSON values.

    `temp:` keys belong to none. A value that JSON cannot hold becomes its `str`, as in the ADK's own services. Raises
    UnstorableValue for bytes that are no text, infinite numbers, and integers beyond 64 bits.
    """
    session: dict[str, Any] = {}
    user: dict[str, Any] = {}
    app: dict[str, Any] = {}
    kept = {key: value for key, value in (state or {}).items() if not key.startswith(State.TEMP_PREFIX)}
    try:
        values = to_jsonable_python(kept, fallback=str)
    except ValueError as error:
        raise UnstorableValue(f"the state has a value that has no form in JSON: {error}") from error
    for key, value in to_json_value(values, "state").items():
        if key.startswith(State.APP_PREFIX):
            app[key.removeprefix(State.APP_PREFIX)] = value
        elif key.startswith(State.USER_PREFIX):
            user[key.removeprefix(State.USER_PREFIX)] = value
        else:
            session[key] = value
    return session, user, app


def merged_state(session: dict[str, Any], user: dict[str, Any], app: dict[str, Any]) -> dict[str, Any]:
    """Return the state as the ADK sees it, with the prefixes `user:` and `app:`."""
    return {
        **session,
        **{State.APP_PREFIX + key: value for key, value in app.items()},
        **{State.USER_PREFIX + key: value for key, value in user.items()},
    }
