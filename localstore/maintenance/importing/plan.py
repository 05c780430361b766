"""Decide how a session of a source changes a document. Nothing here touches a file."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from localstore.engine.merge import in_order_of_both
from localstore.engine.removal import Removals
from localstore.format.document import newest_state
from localstore.format.values import json_equal
from localstore.maintenance.importing.runs import IMPORTED, in_order
from localstore.maintenance.importing.source import Entry, SourceSession
from localstore.models.schema import SESSION_KEYS

_HEADER = ("name", "user_id", "metadata", "tags", "agent_id", "team_id", "workflow_id", "forked_from")
"""Keys of the header that are added if the document lacks them."""
ID_OF = {"run": "run_id", "item": "item_id"}
"""The key of the id of each type of entry that has one."""
_ENDING = (
    *("metrics", "error", "finish_reason", "status", "model", "session_summary"),
    *("content", "output", "agno_status", "agno_absent", "agno_session_state"),
)
"""Keys of a run that change while it goes on in the source."""


@dataclass(slots=True)
class Change:
    """The changes that an import makes to a document.

    `header` and `entries` are those of the document afterwards; entries that do not change are the same objects as
    before. `is_empty` says whether nothing changes, and `moves` whether a run leaves the document, because it is now
    part of a fork. `runs` is the number of runs that are added or changed, and `items` that of added items.
    `conflicts` lists the ids of the runs that differ in the document and the source, and so stay as they are.
    """

    header: dict[str, Any]
    entries: list[Entry] = field(default_factory=list)
    is_empty: bool = True
    moves: bool = False
    runs: int = 0
    items: int = 0
    conflicts: list[str] = field(default_factory=list)


def is_other_session(header: dict[str, Any], entries: list[Entry], source: SourceSession) -> bool:
    """Return whether a document holds another session than the source, which happens to have the same id.

    It does if its kind or its owner is another one, or if both have runs or items, and none in common.
    """
    if any(header.get(key) != source.header.get(key) for key in ("kind", "user_id")):
        return True
    stored = _ids(entries)
    ids = _ids(entry for history in (source.entries, *(fork.entries for fork in source.forks)) for entry in history)
    return bool(stored and ids) and not stored & ids


def _ids(entries: Iterable[Entry]) -> set[str]:
    """Return the ids of the runs and the items among entries."""
    return {entry[key] for entry in entries if (key := ID_OF.get(entry["type"], "")) in entry}


def plan(header: dict[str, Any], entries: list[Entry], source: SourceSession) -> Change:
    """Return the changes that add to a document what only the source has.

    Runs and items are compared by their ids, other entries by their content. A run that goes on in the source is
    replaced, but nothing that the document has is dropped: if a run says something else there, it stays. A run that is
    now only in a fork of the source is removed from the document, unless a person has changed it. A run or an item that
    was removed from the document on purpose stays removed.
    """
    change = Change(header)
    replaced: dict[int, Entry | None] = {}
    stored = {entry["run_id"]: index for index, entry in enumerate(entries) if entry["type"] == "run"}
    new = {entry["run_id"]: entry for entry in source.entries if entry["type"] == "run"}
    forked: dict[str, list[Entry]] = {}
    for entry in (entry for fork in source.forks for entry in fork.entries if entry["type"] == "run"):
        forked.setdefault(entry["run_id"], []).append(entry)
    for run_id, index in stored.items():
        entry = entries[index]
        moved = any(_holds(form, entry) for form in forked.get(run_id, ()))
        if run_id not in new:
            if moved:
                replaced[index] = None
            elif run_id in forked:
                change.conflicts.append(run_id)
            continue
        merged = continued(entry, new[run_id])
        if merged is not None:
            if not json_equal(merged, entry):
                replaced[index] = merged
        elif continued(new[run_id], entry) is None:
            if moved:
                replaced[index] = new[run_id]
            else:
                change.conflicts.append(run_id)
    state = newest_state(entries)
    ids, removed = _ids(entries), Removals(header)
    missing = [entry for entry in source.entries if _is_missing(entry, ids, removed, state)]
    kept = [form for index, entry in enumerate(entries) if (form := replaced.get(index, entry)) is not None]
    before = set(map(id, entries))
    change.entries = in_order_of_both(kept, missing)
    change.moves = None in replaced.values()
    change.runs = sum(entry["type"] == "run" and id(entry) not in before for entry in change.entries)
    change.items = sum(entry["type"] == "item" for entry in missing)
    empty: tuple[Any, ...] = (None, [], {})
    added = {key: value for key, value in source.header.items() if key in _HEADER and value not in empty}
    added = {key: value for key, value in added.items() if header.get(key) in empty}
    change.header = {**header, **added}
    change.is_empty = not added and not replaced and len(change.entries) == len(entries)
    return change


def _holds(form: Entry, stored: Entry) -> bool:
    """Return whether a form of a run has everything that the stored form has, also what a person added to it."""
    merged = continued(stored, form)
    return merged is not None and json_equal(merged, form)


def _is_missing(entry: Entry, ids: set[str], removed: Removals, state: dict[str, Any]) -> bool:
    """Return whether a document lacks an entry: a run or an item by its id, an update if it says something new."""
    if (key := ID_OF.get(entry["type"], "")) in entry:
        return entry[key] not in ids and entry[key] not in removed
    if entry["type"] == "update":
        return any(not json_equal(state.get(key), entry[key]) for key in SESSION_KEYS if key in entry)
    return True


class _Different(Exception):
    """Raised if one form of a run does not continue the other."""


def continued(stored: Entry, new: Entry) -> Entry | None:
    """Return `new` with everything that only the stored form of the run has, or None if it lacks part of that form.

    >>> continued({"run_id": "r1", "rating": "good"}, {"run_id": "r1", "messages": [{"role": "user"}]})
    {'run_id': 'r1', 'messages': [{'role': 'user'}], 'rating': 'good'}
    """
    before = {key: value for key, value in stored.items() if key not in _ENDING}
    after = {key: value for key, value in new.items() if key not in _ENDING}
    ending = {key: new[key] for key in _ENDING if key in new}
    try:
        merged = _merged(before, after)
    except _Different:
        return None
    if json_equal(merged, before) and stored.get("status") != "unfinished":
        ending |= {key: stored[key] for key in _ENDING if key in stored}  # a person may have changed them
    return in_order({**merged, **ending})


def _merged(stored: Any, new: Any, key: str = "") -> Any:
    if key == IMPORTED and isinstance(stored, dict) and isinstance(new, dict):
        return {**stored, **new}
    if isinstance(stored, dict) and isinstance(new, dict):
        return {
            **stored,
            **{name: _merged(stored[name], value, name) if name in stored else value for name, value in new.items()},
        }
    if key == "member_runs" and isinstance(stored, list) and isinstance(new, list):
        return _merged_members(stored, new)
    if isinstance(stored, list) and isinstance(new, list) and len(stored) <= len(new):
        merged = [_merged(one, other) for one, other in zip(stored, new, strict=False)]
        return [*merged, *new[len(stored) :]]
    if key in ("content", "reasoning") and isinstance(stored, str) and isinstance(new, str):
        if new == stored or new.startswith(f"{stored}\n\n"):
            return new
    elif json_equal(stored, new):
        return stored
    raise _Different


def _merged_members(stored: list[Any], new: list[Any]) -> list[Any]:
    """Return the member runs of both forms, by their id."""
    later = {member.get("run_id"): member for member in new if isinstance(member, dict)}
    result = []
    for member in stored:
        other = later.pop(member.get("run_id"), None) if isinstance(member, dict) else None
        merged = member if other is None else continued(member, other)
        if merged is None:
            raise _Different
        result.append(merged)
    return [*result, *later.values()]
