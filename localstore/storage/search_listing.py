"""Which sessions a store has and in which state their documents are, for a search that compares them with its index.

No row is read for this: the path of each session and the status of its document are enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import orjson

from localstore.disk import filesystem
from localstore.disk.document_file import fingerprint
from localstore.disk.store_tree import MANIFEST
from localstore.engine.engine import Engine
from localstore.index.search_content import path_in, state_of
from localstore.index.search_index import States

_FRESH = 1.0
"""For how many seconds a listing of many sessions is used again. What localstore writes is seen at once."""
_MANY = 500
"""Up to how many sessions are listed again each time, which takes a few milliseconds."""
_MOST_LINES = 1 << 18
"""How many bytes of new lines of the manifest are read. If there are more, all sessions are listed again."""


@dataclass(frozen=True, slots=True)
class _Listing:
    """All sessions of the store at one moment."""

    states: States
    manifest: list[int]
    """The fingerprint of the manifest before that moment, empty if there was none. Every writer changes it."""
    stamp: tuple[int, ...]
    """The stamp of the rows before that moment; see `Manifest.stamp`."""
    due: float
    """When the status of the documents is compared again."""


class SearchListing:
    """Lists the sessions of a store with the states of their documents. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._manifest = f"{engine.root}/{MANIFEST}"
        self._last: _Listing | None = None

    def states(self, known: Callable[[], Mapping[str, str]], *, sweep: bool = True) -> States:
        """Return the state of the document of each session.

        Among many sessions, what other programs changed since the last listing is seen after a second.

        Args:
            known: Returns the states in which documents were indexed. A document in another state is looked at more
                closely: it may have been moved, or hold another session now.
            sweep: If False, take the states from the rows, without the status of the files. A document that another
                program edited in place then keeps its old state until something looks at it.
        """
        started_at = time.monotonic()
        self._engine.index.scan()
        stamp = self._engine.manifest.stamp()
        manifest = filesystem.status_or_none(self._manifest)
        written = [] if manifest is None else fingerprint(manifest)
        last = self._last
        if last is None or (sweep and started_at >= last.due):
            states = States(self._all(known(), sweep=sweep))
            lasts = _FRESH if sweep and len(states.of) > _MANY else 0.0
            self._last = _Listing(states, written, stamp, started_at + lasts)
            return states
        is_as_before = last.manifest == written
        if is_as_before and (sweep or last.stamp == stamp):
            return last.states
        changed = None if is_as_before else self._recorded(last.manifest, written)
        states = States(self._all(known(), sweep=sweep)) if changed is None else self._updated(last.states, changed)
        self._last = _Listing(states, written, stamp, last.due)
        return states

    def removed(self, states: Mapping[str, str]) -> list[str]:
        """Return those of the sessions that are removed: they have no row, and their files are gone or of others."""
        paths = self._paths()
        others = set(paths.values())
        return [
            session_id
            for session_id, state in states.items()
            if session_id not in paths
            and (path_in(state) in others or not filesystem.exists(f"{self._engine.root}/{path_in(state)}"))
        ]

    def _paths(self) -> dict[str, str]:
        """Return the path of the document of each session, as the index has them after a scan of the folders."""
        self._engine.index.scan()
        return self._engine.manifest.paths()

    def _all(self, known: Mapping[str, str], *, sweep: bool) -> Mapping[str, str]:
        """Return the states of all sessions: `known` itself if they are the same, so that each is in memory once."""
        different: dict[str, str | None] = {}
        seen: Mapping[str, str] = {}
        before: tuple[int, ...] = ()
        while True:
            self._engine.index.scan()
            stamp = self._engine.manifest.stamp()
            if stamp == before:
                break
            before = stamp
            listed = self._engine.manifest.paths() if sweep else self._engine.manifest.states()
            if seen:  # a document that is read now may turn out to hold a session that was not listed yet
                listed = {session_id: found for session_id, found in listed.items() if session_id not in seen}
            if not listed:
                break
            for session_id, found in listed.items():
                state = self._state(found) if sweep else found
                if state is None or state != known.get(session_id):
                    different[session_id] = self._current_state(session_id)
            seen = {**seen, **listed} if seen else listed
        different.update((session_id, None) for session_id in known if session_id not in seen)
        if not different:
            return known
        return {session_id: state for session_id, state in {**known, **different}.items() if state is not None}

    def _updated(self, before: States, session_ids: Collection[str]) -> States:
        """Return the states with those of some sessions as they are now."""
        states = {**before.of}
        for session_id in session_ids:
            state = self._current_state(session_id)
            states.pop(session_id, None)
            if state is not None:
                states[session_id] = state
        return States(states, before.of, session_ids)

    def _state(self, path: str) -> str | None:
        """Return the state of a file, or None if there is none."""
        try:
            status = filesystem.status_or_none(f"{self._engine.root}/{path}")
        except OSError:
            return state_of(path, [])
        return None if status is None else state_of(path, fingerprint(status))

    def _current_state(self, session_id: str) -> str | None:
        """Return the state of a session that may have been moved or removed; None if it has no document."""
        row = self._engine.locate(session_id)
        return None if row is None else self._state(row["path"])

    def _recorded(self, before: list[int], now: list[int]) -> set[str] | None:
        """Return the sessions in the lines that were added to the manifest; None if that cannot be told.

        `before` and `now` are its fingerprints.
        """
        if not before or not now or before[3] != now[3] or not before[0] < now[0] <= before[0] + _MOST_LINES:
            return None
        try:
            with filesystem.open_file(self._manifest) as fd:
                if filesystem.system.status_of(fd).st_ino != now[3]:
                    return None
                data = filesystem.read_at(fd, now[0] - before[0] + 1, before[0] - 1)
        except OSError:
            return None
        if not (data.startswith(b"\n") and data.endswith(b"\n")):
            return None  # a line was being written
        return set(_session_ids(data))


def _session_ids(lines: bytes) -> Iterator[str]:
    """Yield the session of each line of the manifest that has one."""
    for line in lines.split(b"\n"):
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(value, dict) and isinstance(value.get("session_id"), str):
            yield value["session_id"]
