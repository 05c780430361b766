"""Pages that grow: server-sent events tell an open page what was added, and how an answer is written."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from localstore.errors import LocalstoreError
from localstore.exporting.characters import json_text
from localstore.models.session import entry_adapter
from localstore.storage.following import Change, Follower
from localstore.storage.storage import Storage
from localstore.viewer.filters import number_in, read_query
from localstore.viewer.frame import View
from localstore.viewer.session_page import entry_html, run_item

if TYPE_CHECKING:
    from localstore.storage.contract import SessionStorage
    from localstore.viewer.pages import Pages

_PAUSE = 0.1
"""The shortest pause in seconds between two looks at a file."""
_DATABASE_PAUSE = 0.25
_LIST_PAUSE = 0.5
_SHARE = 5
"""The pause is at least this many times as long as the last look took."""
_SILENCE = 15.0
"""After so many seconds without an event, a comment is sent: that is how a closed page is noticed."""
_MOST_CAUGHT_UP = 200


class Live:
    """The events of one storage."""

    def __init__(self, storage: SessionStorage, pages: Pages) -> None:
        self._storage = storage
        self._pages = pages
        self.is_closed = False
        """Whether the streams end, because the server stops."""
        self._pause = _PAUSE if isinstance(storage, Storage) else _DATABASE_PAUSE

    async def session(self, request: Request) -> Response:
        """What happens to a session, beginning with the run that has the number `from`."""
        view, session_id = self._pages.view(request), request.query_params.get("id", "")
        given = number_in(request.query_params.get("from", ""))
        first = 1 if given is None else given
        following = await run_in_threadpool(SessionEvents, self._storage, view, session_id, first)
        return self._stream(following.poll, self._pause)

    async def sessions(self, request: Request) -> Response:
        """Whether the list of sessions changed."""
        where = read_query(request.query_params.multi_items()).where
        known: list[Any] = []

        def poll() -> list[str]:
            infos = self._storage.list_sessions(where=where, limit=20)
            now = [(info.cursor, info.runs, info.status, info.name, info.size) for info in infos]
            if not known:
                known.append(now)
                return [": open\n\n"]
            if now == known[0]:
                return []
            known[0] = now
            return [_event("changed", {})]

        return self._stream(poll, _LIST_PAUSE)

    def _stream(self, poll: Callable[[], list[str]], pause: float) -> Response:
        async def events() -> AsyncIterator[bytes]:
            silent_since = time.monotonic()
            while not self.is_closed:
                began = time.monotonic()
                try:
                    found = await run_in_threadpool(poll)
                except (LocalstoreError, OSError) as error:
                    found = [_event("say", {"text": str(error)})]
                if not found and began - silent_since > _SILENCE:
                    found = [": still here\n\n"]
                if found:
                    silent_since = time.monotonic()
                    yield "".join(found).encode()
                await anyio.sleep(max(pause, _SHARE * (time.monotonic() - began)))

        return StreamingResponse(
            events(), media_type="text/event-stream", headers={"x-accel-buffering": "no", "cache-control": "no-store"}
        )


class SessionEvents:
    """Turns the changes of a session into events."""

    def __init__(self, storage: SessionStorage, view: View, session_id: str, first: int) -> None:
        """Begin with the run number `first`. Raises SessionNotFound, and DocumentBroken if it cannot be read."""
        self._view = view
        self._session_id = session_id
        self._follower = Follower(storage, session_id, last_runs=_MOST_CAUGHT_UP)
        self._first = self._caught_up(first)

    def _caught_up(self, first: int) -> list[str]:
        history, total = self._follower.session.history, self._follower.runs
        number = total - sum(entry["type"] == "run" for entry in history)
        events = [": open\n\n"]
        for entry in history:
            is_run = entry["type"] == "run"
            number += is_run
            if is_run and number >= first:
                events.append(self._entry(entry, number))
        return events

    def poll(self) -> list[str]:
        """Return the events since the last call."""
        first, self._first = self._first, []
        return first or [event for change in self._follower.poll() if (event := self._event_of(change))]

    def _event_of(self, change: Change) -> str:
        if change.entry is not None:
            return self._entry(change.entry, change.number or 0)
        texts = {
            "gone": "The session was deleted.",
            "back": "",
            "unreadable": f"The document cannot be read now. {change.text}",
            "removed": f"Run {change.number} was removed. Load the page again.",
        }
        return _event("say", {"text": texts[change.kind]}) if change.kind in texts else ""

    def _entry(self, entry: dict[str, Any], number: int) -> str:
        record = entry_adapter().validate_python(entry)
        html = entry_html(self._view, self._session_id, record, number)
        data: dict[str, Any] = {"html": html}
        if entry["type"] == "run":
            anchor = html.partition(' id="')[2].partition('"')[0]
            data |= {"anchor": anchor, "item": run_item(record, number, anchor, 0.0)}
        return _event("entry", data)


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json_text(data)}\n\n"
