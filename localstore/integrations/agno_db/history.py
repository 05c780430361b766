"""What agno repeats in every run, said once: the system prompt, and the copies of earlier messages.

The system prompt becomes the session's `instructions`; the run keeps the message's other keys in `agno_system` (and its
`content`, where the instructions at that place are others). A copy of a message of an earlier run becomes a reference:
`agno_history` says that from position `at` on stand `count` messages of run `run_id`, from its `first` on.
"""

from collections.abc import Callable, Iterable
from typing import Any

import orjson

Messages = list[dict[str, Any]]


class TooShort(Exception):
    """The entries at hand do not tell it; the whole document does."""


def take_out_system(entry: dict[str, Any]) -> str | None:
    """Take the system prompt out of an entry and return it; None when there is none, or it is a member's."""
    messages: Messages = entry.get("messages") or [{}]
    first = messages[0]
    text = first.get("content")
    if first.get("role") != "system" or not isinstance(text, str) or not text or entry.get("parent_run_id") is not None:
        return None
    entry["messages"] = messages[1:]
    entry["agno_system"] = {key: value for key, value in first.items() if key not in ("role", "content")}
    return text


def take_out_history(entry: dict[str, Any], earlier: Iterable[dict[str, Any]]) -> None:
    """Refer to the messages of `earlier` runs (the newest first) instead of copying them."""
    messages: Messages = entry.get("messages") or []
    copies = {number: _text(message) for number, message in enumerate(messages) if message.get("from_history") is True}
    if not copies:
        return
    wanted = set(copies.values())
    places: dict[bytes, tuple[str, int]] = {}
    for run in earlier:
        for number, message in enumerate(run.get("messages") or ()):
            if (text := _text(message)) in wanted:
                places.setdefault(text, (run["run_id"], number))
        if len(places) == len(wanted):
            break
    groups: list[dict[str, Any]] = []
    for number, text in copies.items():
        if text not in places:
            continue
        run_id, first = places[text]
        last = groups[-1] if groups else None
        if (
            last is not None
            and last["run_id"] == run_id
            and last["at"] + last["count"] == number
            and last["first"] + last["count"] == first
        ):
            last["count"] += 1
        else:
            groups.append({"at": number, "run_id": run_id, "first": first, "count": 1})
    if groups:
        entry["messages"] = [m for number, m in enumerate(messages) if copies.get(number) not in places]
        entry["agno_history"] = groups


def _text(message: dict[str, Any]) -> bytes:
    return orjson.dumps({k: v for k, v in message.items() if k != "from_history"}, option=orjson.OPT_SORT_KEYS)


def put_back(entries: list[dict[str, Any]], current: dict[str, Any], *, whole: bool) -> list[dict[str, Any]]:
    """The runs among `entries` with all their messages. When they are not the `whole` history, raises TooShort where
    they do not tell what stood before them."""
    instructions = None if whole else _before(entries, current.get("instructions"))
    known: dict[str, Messages] = {}

    def find(run_id: str) -> Messages:
        if run_id not in known and not whole:
            raise TooShort
        return known.get(run_id, [])

    runs = []
    for entry in entries:
        if entry.get("instructions") is not None:
            instructions = entry["instructions"]
        if entry.get("type") == "run":
            runs.append(_complete(entry, instructions, find))
            known[entry["run_id"]] = entry.get("messages") or []
    return runs


def _before(entries: list[dict[str, Any]], newest: str | None) -> str | None:
    """The instructions that hold before the first of the last entries."""
    for entry in entries:
        if entry.get("instructions") is not None:
            return None
        if "agno_system" in entry and any(later.get("instructions") is not None for later in entries):
            raise TooShort
    return newest


def _complete(entry: dict[str, Any], instructions: str | None, find: Callable[[str], Messages]) -> dict[str, Any]:
    if "agno_system" not in entry and "agno_history" not in entry:
        return entry
    messages = list(entry.get("messages") or ())
    for group in entry.get("agno_history", ()):
        source = find(group["run_id"])[group["first"] : group["first"] + group["count"]]
        messages[group["at"] : group["at"]] = [{**message, "from_history": True} for message in source]
    if "agno_system" in entry:
        messages.insert(0, {"role": "system", "content": instructions or "", **entry["agno_system"]})
    return {**entry, "messages": messages}
