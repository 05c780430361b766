"""Compare two sessions run by run: a session and its fork, its replay, or its document in a backup."""

import itertools
import json
import os
from collections import defaultdict, deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

from localstore.disk import backup_folder, file_names
from localstore.disk.backup_folder import Backup
from localstore.disk.document_file import DocumentFile
from localstore.engine.snapshot import whole_snapshot
from localstore.errors import LocalstoreError, SessionNotFound
from localstore.format.values import json_equal
from localstore.storage.arguments import check_id, check_text
from localstore.storage.plain_session import PlainSession, plain_question, plain_session
from localstore.storage.storage import Storage

_OF_EACH_SESSION = ("session_id", "name", "created_at", "forked_from", "removed")
"""Keys of the header that say nothing about how two sessions differ."""
_OF_EACH_RUN = ("run_id", "replay_of", "created_at", "metrics", "tool_call_id")
"""Keys of a run that differ when the same is done again."""
_OF_EACH_RECORD = {
    "member_runs": _OF_EACH_RUN,
    "steps": _OF_EACH_RUN,
    "messages": ("tool_call_id",),
    "tool_calls": ("id",),
}
"""Such keys of the records in these lists."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An entry of one history and the same entry of the other one; one of them is None if it is in one alone."""

    old: dict[str, Any] | None
    new: dict[str, Any] | None
    old_number: int | None
    """The number of the old run in its session, counted from 1; None if the entry is not a run."""
    new_number: int | None

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields that differ, if the entry is in both histories."""
        if self.old is None or self.new is None or self.old["type"] != "run":
            return ()
        old, new = _comparable(self.old), _comparable(self.new)
        return tuple(name for name in {**old, **new} if not json_equal(old.get(name), new.get(name)))


@dataclass(frozen=True, slots=True)
class Difference:
    """How one session differs from another. It is true if it does."""

    header: dict[str, tuple[Any, Any]]
    """The old and the new value of each field of the header that differs, None where there is none."""
    entries: list[Pair]
    """The entries that differ, in the order of the new history. What was removed comes where it was."""
    equal_runs: int
    """How many runs are the same in both."""

    def __bool__(self) -> bool:
        return bool(self.header or self.entries)

    def as_dict(self) -> dict[str, Any]:
        """Return the difference as plain JSON values."""
        header = {name: {"old": old, "new": new} for name, (old, new) in self.header.items()}
        names = ("old_number", "new_number", "fields", "old", "new")
        entries = [{name: getattr(pair, name) for name in names} for pair in self.entries]
        return {"header": header, "entries": entries, "equal_runs": self.equal_runs}


def compare(old: PlainSession, new: PlainSession) -> Difference:
    """Return how a session differs from another one. The cost is proportional to the size of both.

    >>> a = PlainSession({"session_id": "a"}, [{"type": "run", "run_id": "r1", "status": "error"}], {})
    >>> b = PlainSession({"session_id": "b"}, [{"type": "run", "run_id": "r1", "status": "completed"}], {})
    >>> [(pair.old_number, pair.fields) for pair in compare(a, b).entries]
    [(1, ('status',))]

    Runs with the same id are compared, and a replayed run with its original; then runs that ask the same question, the
    first with the first. Entries that are no runs are either the same or not. Ids, times of creation and metrics of
    runs are not compared, nor are the ids, names, origins and times of two different sessions.

    Args:
        old: The session to start from, with its whole history.
        new: The session that differs from it, with its whole history.
    """
    partners = _partners(old.history, new.history)
    old_numbers, new_numbers = _numbers(old.history), _numbers(new.history)
    pairs: list[Pair] = []
    equal_runs = 0
    for before, after in _in_order(len(old.history), len(new.history), partners):
        pair = Pair(
            None if before is None else old.history[before],
            None if after is None else new.history[after],
            None if before is None else old_numbers[before],
            None if after is None else new_numbers[after],
        )
        if pair.old is not None and pair.new is not None and not pair.fields:
            equal_runs += pair.new["type"] == "run"
        else:
            pairs.append(pair)
    return Difference(_header_changes(old.header, new.header), pairs, equal_runs)


def read_backup(storage: Storage, name: str, session_id: str) -> PlainSession:
    """Read a session as it was in a backup that an upgrade, a conversion or another command made.

    A document of an older schema version is converted in memory. If the document had another name than the session has
    by default, the documents of the backup are read until it is found.

    Args:
        storage: The storage.
        name: The name of the backup, or the beginning of its name.
        session_id: The session.

    Raises BackupNotFound if there is no such backup or there are several, SessionNotFound if the session is not in it,
    DocumentBroken if its document cannot be read, and OSError.
    """
    check_id(session_id)
    check_text("name", name)
    root = str(storage.root)
    backup = Backup(root, backup_folder.named(root, name).name)
    likely = file_names.stem(session_id)
    for path in sorted(backup.paths(), key=lambda path: os.path.splitext(os.path.basename(path))[0] != likely):
        try:
            with DocumentFile(backup.place(path)) as file:
                parsed = file.parse()
                if parsed.header["session_id"] == session_id:
                    return plain_session(whole_snapshot(parsed, file))
        except LocalstoreError:
            if os.path.splitext(os.path.basename(path))[0] == likely:
                raise
    raise SessionNotFound(
        f"Backup {backup.name} has no document of session {session_id!r}. 'localstore backups {backup.name}' lists "
        "those that it has.",
        session_id=session_id,
    )


def origin_of(session: PlainSession) -> str | None:
    """Return the id of the session that this one was forked from or is a replay of, or None if it is neither."""
    forked_from = session.header.get("forked_from", {}).get("session_id")
    replay_of = session.header.get("metadata", {}).get("replay_of")
    return forked_from or (replay_of if isinstance(replay_of, str) else None)


def _partners(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> dict[int, int]:
    """Return the places of the entries of the new history that the old one has too, each with its place there."""
    partners: dict[int, int] = {}
    free = dict(enumerate(old))
    for key_of in (_by_id, _by_origin, _by_question, _by_content):
        places: dict[Hashable, deque[int]] = defaultdict(deque)
        for place, entry in free.items():
            if (key := key_of(entry)) is not None:
                places[key].append(place)
        for place, entry in enumerate(new):
            key = None if place in partners else key_of(entry)
            if key is not None and places.get(key):
                partners[place] = places[key].popleft()
                del free[partners[place]]
    return partners


def _by_id(entry: dict[str, Any]) -> Hashable:
    return entry["run_id"] if entry["type"] == "run" else None


def _by_origin(entry: dict[str, Any]) -> Hashable:
    return entry.get("replay_of", entry["run_id"]) if entry["type"] == "run" else None


def _by_question(entry: dict[str, Any]) -> Hashable:
    return plain_question(entry) if entry["type"] == "run" else None


def _by_content(entry: dict[str, Any]) -> Hashable:
    if entry["type"] == "run":
        return None
    return json.dumps({**entry, "created_at": None}, sort_keys=True)


def _in_order(olds: int, news: int, partners: dict[int, int]) -> Iterator[tuple[int | None, int | None]]:
    """Yield the places of the entries that belong together, None where there is none.

    The order is that of the new history. What is in the old one alone comes after what it follows there.
    """
    matched = {*partners.values()}
    at = 0
    for place in range(news):
        partner = partners.get(place)
        while at < (olds if partner is None else partner) and (partner is not None or at not in matched):
            if at not in matched:
                yield at, None
            at += 1
        yield partner, place
        at = at if partner is None else max(at, partner + 1)
    yield from ((place, None) for place in range(at, olds) if place not in matched)


def _numbers(history: list[dict[str, Any]]) -> list[int | None]:
    """Return the number of each entry among the runs, counted from 1; None if it is not a run."""
    count = itertools.count(1)
    return [next(count) if entry["type"] == "run" else None for entry in history]


def _comparable(record: dict[str, Any], not_compared: tuple[str, ...] = _OF_EACH_RUN) -> dict[str, Any]:
    """Return a run, or a record in it, without what differs whenever the same is done again."""
    return {
        name: [_comparable(item, _OF_EACH_RECORD[name]) for item in value] if name in _OF_EACH_RECORD else value
        for name, value in record.items()
        if name not in not_compared
    }


def _header_changes(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the old and the new value of each field of the header that differs and is compared."""
    not_compared = {"$schema", "schema_version"}
    if old["session_id"] != new["session_id"]:
        not_compared |= {*_OF_EACH_SESSION}
        old, new = _without_origin(old), _without_origin(new)
    names = [name for name in {**old, **new} if name not in not_compared]
    return {name: (old.get(name), new.get(name)) for name in names if not json_equal(old.get(name), new.get(name))}


def _without_origin(header: dict[str, Any]) -> dict[str, Any]:
    """Return a header without the id that a replay has in its metadata."""
    metadata = {name: value for name, value in header.get("metadata", {}).items() if name != "replay_of"}
    return {**header, "metadata": metadata or None}
