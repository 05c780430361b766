"""Merge the history of a session with that of another document of the same session. Nothing here touches a file."""

import bisect
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import orjson

from localstore.engine.plan import compare_forms
from localstore.format.run_entry import keep_rating
from localstore.format.values import json_equal
from localstore.models.times import utc_time

Entry = dict[str, Any]


@dataclass(slots=True)
class Union:
    """The changes that add the content of another document to a history.

    `inserted` maps an index to the entries that come before the entry at this index; the index after the last entry
    stands for the end. `replaced` maps the index of a run to its later form. `conflicts` names what is different in the
    two documents, and so stays as it is.
    """

    inserted: dict[int, list[Entry]] = field(default_factory=dict)
    replaced: dict[int, Entry] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)

    def apply(self, entries: list[Entry]) -> list[Entry]:
        """Return the history with the changes. `entries` itself does not change."""
        result = []
        for index in range(len(entries) + 1):
            result += self.inserted.get(index, [])
            if index < len(entries):
                result.append(self.replaced.get(index, entries[index]))
        return result


def union(header: Entry, entries: list[Entry], other_header: Entry, other_entries: list[Entry]) -> Union:
    """Return the changes that add what only the other document has.

    Runs are compared by their id, other entries by their content. An entry that is missing is inserted by the time of
    its creation. Of two forms of a run, the later one counts. The header does not change.
    """
    result = Union()
    runs = {entry["run_id"]: index for index, entry in enumerate(entries) if entry["type"] == "run"}
    others = {_content(entry) for entry in entries if entry["type"] != "run"}
    times = list(accumulate(map(_time, entries), max))
    latest = ""
    for entry in other_entries:
        latest = max(latest, _time(entry))
        if entry["type"] == "run" and entry["run_id"] in runs:
            index = runs[entry["run_id"]]
            stored = result.replaced.get(index, entries[index])
            if json_equal(entry, stored):
                continue
            match compare_forms(stored, {**entry, "status": entry.get("status", "completed")}):
                case "newer":
                    result.replaced[index] = keep_rating(stored, entry)
                case "other":
                    result.conflicts.append(f"run {entry['run_id']}")
        elif entry["type"] == "run" or _content(entry) not in others:
            result.inserted.setdefault(bisect.bisect_right(times, latest), []).append(entry)
    if not json_equal(header, other_header):
        result.conflicts.append("the header")
    return result


def _content(entry: Entry) -> bytes:
    return orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)


def _time(entry: Entry) -> str:
    """Return the creation time of an entry in a form that sorts as text, or "" if it has none."""
    created_at = entry.get("created_at")
    return utc_time(created_at) if isinstance(created_at, str) else ""
