"""Decide what a write does to a document, before anything is written. Nothing here touches a file."""

from dataclasses import dataclass, field
from typing import Any, Literal

from localstore.format.document import Layout
from localstore.format.in_place import is_prefix_of, overwrite_offset
from localstore.format.run_entry import comparable_fields, is_same_run, keep_rating
from localstore.format.values import json_equal

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Append:
    """Add one entry behind the last one. This costs the entry."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class InPlace:
    """Replace `old`, the last bytes of the file, by `new`. This costs the difference.

    The last entry, which starts at `offset`, is then `entry`; None if the row of the document stays the same.
    """

    old: bytes
    new: bytes
    offset: int
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Write the whole document.

    `replaced` maps the offset of an entry to its new value, or to None to remove it. `added` come last. The header
    stays as it is if `header` is None. All other entries stay byte for byte.
    """

    replaced: dict[int, Entry | None] = field(default_factory=dict)
    added: list[Entry] = field(default_factory=list)
    header: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Write nothing: the document has it already."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Write nothing: the run in the document, `stored`, says something else."""

    stored: Entry


def plan_end(layout: Layout, tail: bytes, offset: int, entry: Entry) -> InPlace | Unchanged | None:
    """Plan the write of a new form of the last run, whose bytes up to the end of the file are `tail`.

    Returns None if more than the constant end of the run would have to change.
    """
    new = layout.entry(entry) + layout.end
    if new == tail:
        return Unchanged()
    start = overwrite_offset(layout, tail, new, offset)
    return None if start is None else InPlace(tail[start:], new[start:], offset, entry)


def plan_step(layout: Layout, size: int, step: Entry) -> InPlace | None:
    """Plan a step more in the last run, which is unfinished and ends with its steps; the file has `size` bytes.

    Returns None if more than the constant end of the run would have to change.
    """
    alone = layout.entry({"type": "run", "steps": [step], "status": "unfinished"})
    text = alone[alone.index(layout.steps_opening) + len(layout.steps_opening) :]
    old, new = layout.closing_after_list, layout.step_separator + text + layout.end
    start = overwrite_offset(layout, old, new, size - len(old))
    return None if start is None else InPlace(old[start:], new[start:], size - len(old), None)


def plan_form(stored: Entry, offset: int, entry: Entry, update: Entry | None) -> Rewrite | Unchanged | Refused:
    """Plan the write of another form of a run that is stored at `offset`.

    With `update`, the run's state is said by this entry at the end instead of by the run.
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
    """Compare a run with the stored one that has its id.

    `newer`: the run has all that is stored and goes on, so that it may take its place. `stored`: there is nothing new
    in it. `other`: one of them says something that the other one lacks.

    Two forms of a run are compared by their messages, member runs and steps while one of them is unfinished, and by
    all that they say when both are finished.
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
    """Whether a finished run has every message, member run and step of an unfinished form of it.

    Another message may stand in the place of the last one if that is a text of the assistant alone: it was stored
    while the model was still speaking, and the model was asked again.
    """
    if is_prefix_of(unfinished, finished):
        return True
    messages, there = unfinished.get("messages") or [], finished.get("messages") or []
    if not messages or not isinstance(messages[-1], dict) or not messages[-1].keys() <= {"role", "content"}:
        return False
    place = len(messages) - 1
    return (
        messages[place]["role"] == "assistant"
        and len(there) > place
        and there[place]["role"] == "assistant"
        and is_prefix_of({**unfinished, "messages": messages[:place]}, finished)
    )
