"""What a write does to a document, decided from what is stored and what is given, before anything is written."""

from typing import Any, Literal

from localstore.format.in_place import is_prefix_of
from localstore.format.run_entry import comparable_fields, is_same_run
from localstore.format.values import json_equal

Entry = dict[str, Any]


def compare_forms(stored: Entry, given: Entry) -> Literal["newer", "stored", "other"]:
    """Compare a run with the stored one that has its id.

    `newer`: the given form has all that is stored and goes on, so that it may take its place. `stored`: there is
    nothing new in it. `other`: one of them says something that the other one lacks.

    Two forms of a run are compared by their messages, member runs and steps while one of them is unfinished, and by
    all that they say when both are finished.
    """
    if stored.get("status") != "unfinished":
        if given["status"] != "unfinished":
            return "stored" if is_same_run(given, stored) else "other"
        return "stored" if is_prefix_of(given, stored) else "other"
    if given["status"] != "unfinished":
        return "newer" if contains(given, stored) else "other"
    if is_prefix_of(stored, given) and not json_equal(comparable_fields(stored), comparable_fields(given)):
        return "newer"
    return "stored" if is_prefix_of(given, stored) else "other"


def contains(finished: Entry, unfinished: Entry) -> bool:
    """Whether a finished run has every message, member run and step of an unfinished form of it.

    Another message may stand in the place of the last one when that is a text of the assistant alone: it was stored
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
