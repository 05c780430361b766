"""Decide how a write changes a document, before anything is written. Nothing in this module touches a file."""

from dataclasses import dataclass, field
from typing import Any, Literal

from localstore.format.document import Layout
from localstore.format.in_place import is_prefix_of, overwrite_offset
from localstore.format.run_entry import comparable_fields, is_same_run, keep_rating
from localstore.format.values import json_equal

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Append:
    """Add entries after the last one, all of them or none. Only they and the closing bytes are written."""

    entries: list[Entry]


@dataclass(frozen=True, slots=True)
class InPlace:
    """Replace `old`, the last bytes of the file, with `new`. Only `new` is written.

    `entry` is the new value of the last entry, which starts at `offset`, in bytes. For an added step, `entry` is None,
    since the step changes nothing in the row but the fingerprint, and `offset` is where `old` starts.
    """

    old: bytes
    new: bytes
    offset: int
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Write the whole document.

    `replaced` maps the offset of an entry to its new value, or to None to remove the entry. `added` holds the entries
    to add at the end, and `inserted` those to add before the entry at an offset. `header` is the new header, or None to
    keep the current one. All other entries keep their exact bytes.
    """

    replaced: dict[int, Entry | None] = field(default_factory=dict)
    added: list[Entry] = field(default_factory=list)
    header: dict[str, Any] | None = None
    inserted: dict[int, list[Entry]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Write nothing, because the document already contains the entry."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Write nothing, because the run in the document, `stored`, conflicts with the new one."""

    stored: Entry


def plan_end(layout: Layout, tail: bytes, offset: int, entry: Entry) -> InPlace | Unchanged | None:
    """Plan replacing the last run with `entry` by changing only the end of the file.

    `tail` holds the bytes from the start of the run, at `offset`, to the end of the file. Return None if more than the
    constant closing bytes of the run would have to change.
    """
    new = layout.entry(entry) + layout.end
    if new == tail:
        return Unchanged()
    start = overwrite_offset(layout, tail, new, offset)
    return None if start is None else InPlace(tail[start:], new[start:], offset, entry)


def plan_step(layout: Layout, size: int, step: Entry) -> InPlace | None:
    """Plan adding `step` to the last run by changing only the end of the file, which has `size` bytes.

    The run must be unfinished, and its steps must be its last value before the status. Return None if more than the
    constant closing bytes of the run would have to change.
    """
    alone = layout.entry({"type": "run", "steps": [step], "status": "unfinished"})
    text = alone[alone.index(layout.steps_opening) + len(layout.steps_opening) :]
    old, new = layout.closing_after_list, layout.step_separator + text + layout.end
    start = overwrite_offset(layout, old, new, size - len(old))
    return None if start is None else InPlace(old[start:], new[start:], size - len(old), None)


def plan_form(stored: Entry, offset: int, entry: Entry, update: Entry | None) -> Rewrite | Unchanged | Refused:
    """Plan replacing the run `stored`, which starts at `offset`, with `entry`.

    If `update` is given, it is added at the end of the history, and the run is written without its session state.
    Return Unchanged if `entry` adds nothing to `stored`, and Refused if the two conflict.
    """
    match compare_forms(stored, entry):
        case "stored":
            return Unchanged()
        case "other":
            return Refused(stored)
    if update is None:
        return Rewrite({offset: keep_rating(stored, entry)})
    without = {key: value for key, value in entry.items() if key != "session_state"}
    return Rewrite({offset: keep_rating(stored, without)}, [update])


def compare_forms(stored: Entry, entry: Entry) -> Literal["newer", "stored", "other"]:
    """Compare a run with the stored run that has the same id.

    Return "newer" if `entry` continues the stored run and may replace it, "stored" if `entry` adds nothing to the
    stored run, and "other" if the two conflict.

    If either run is unfinished, only messages, member runs and steps are compared. Two finished runs are compared by
    their whole content.
    """
    if stored.get("status") != "unfinished":
        if entry["status"] != "unfinished":
            return "stored" if is_same_run(entry, stored) else "other"
        return "stored" if is_prefix_of(entry, stored) else "other"
    if entry["status"] != "unfinished":
        return "newer" if contains(entry, stored) else "other"
    if is_prefix_of(stored, entry) and not json_equal(comparable_fields(stored), comparable_fields(entry)):
        return "newer"
    return "stored" if is_prefix_of(entry, stored) else "other"


def contains(finished: Entry, unfinished: Entry) -> bool:
    """Return whether a finished run has every message, member run and step of its earlier, unfinished form.

    The last message of the unfinished form may differ if it is an assistant message that contains only text. Such a
    message was stored while the model was still generating it, and the model may have been asked again.
    """
    if is_prefix_of(unfinished, finished):
        return True
    messages, finished_messages = unfinished.get("messages") or [], finished.get("messages") or []
    if not messages or not isinstance(messages[-1], dict) or not messages[-1].keys() <= {"role", "content"}:
        return False
    last = len(messages) - 1
    return (
        messages[last]["role"] == "assistant"
        and len(finished_messages) > last
        and finished_messages[last]["role"] == "assistant"
        and is_prefix_of({**unfinished, "messages": messages[:last]}, finished)
    )
