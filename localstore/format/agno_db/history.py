"""Store the data that agno repeats in every run only once: the system prompt, and copies of earlier messages.

The system prompt becomes the `instructions` of the session. The run keeps the other keys of the message in
`agno_system`, and also its `content` if the instructions in effect differ from it. A copy of a message from an earlier
run becomes a reference: each item of `agno_history` represents `count` messages of the run `run_id`, starting with its
message number `first` (from 0). They belong at position `at` of this run's messages.
"""

from collections.abc import Callable, Iterable
from typing import Any

import orjson

Messages = list[dict[str, Any]]


class NeedsWholeDocument(Exception):
    """Raised if the last entries refer to earlier ones, so that the whole document must be read."""


def extract_system(entry: dict[str, Any]) -> str | None:
    """Remove the system prompt from `entry`, in place, and return its text.

    Return None and change nothing if there is none, or if the entry is a member's run.
    """
    messages: Messages = entry.get("messages") or [{}]
    first = messages[0]
    text = first.get("content")
    if first.get("role") != "system" or not isinstance(text, str) or not text or entry.get("parent_run_id") is not None:
        return None
    entry["messages"] = messages[1:]
    entry["agno_system"] = {key: value for key, value in first.items() if key not in ("role", "content")}
    return text


def refer_to_history(entry: dict[str, Any], earlier: Iterable[dict[str, Any]]) -> None:
    """Replace copied messages in `entry`, in place, with references to the `earlier` runs that hold the originals.

    `earlier` yields runs, newest first; it is read only as far as necessary. A copy without an original there stays.
    """
    messages: Messages = entry.get("messages") or []
    copies = {
        number: _comparable(message) for number, message in enumerate(messages) if message.get("from_history") is True
    }
    if not copies:
        return
    contents = set(copies.values())
    places: dict[bytes, tuple[str, int]] = {}
    for run in earlier:
        for number, message in enumerate(run.get("messages") or ()):
            if (content := _comparable(message)) in contents:
                places.setdefault(content, (run["run_id"], number))
        if len(places) == len(contents):
            break
    groups: list[dict[str, Any]] = []
    for number, content in copies.items():
        if content not in places:
            continue
        run_id, first = places[content]
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


def _comparable(message: dict[str, Any]) -> bytes:
    """Return bytes that are equal for a message and for a copy of it."""
    content = {key: value for key, value in message.items() if key not in ("from_history", "agno_absent")}
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)


def restore_messages(entries: list[dict[str, Any]], current: dict[str, Any], *, whole: bool) -> list[dict[str, Any]]:
    """Return the runs among `entries`, complete with system messages and copied messages. Does not change `entries`.

    `current` is the newest state of the session. `whole` is true if `entries` are the whole history.

    Raises NeedsWholeDocument if `whole` is false and a run needs data from entries before the first one.
    """
    instructions = None if whole else _instructions_before(entries, current.get("instructions"))
    messages: dict[str, Messages] = {}

    def find(run_id: str) -> Messages:
        if run_id not in messages and not whole:
            raise NeedsWholeDocument
        return messages.get(run_id, [])

    runs = []
    for entry in entries:
        if entry.get("instructions") is not None:
            instructions = entry["instructions"]
        if entry.get("type") == "run":
            runs.append(_complete(entry, instructions, find))
            messages[entry["run_id"]] = entry.get("messages") or []
    return runs


def _instructions_before(entries: list[dict[str, Any]], newest: str | None) -> str | None:
    """Return the instructions in effect before the first of `entries`, which are the last ones of the document.

    Return None if the runs do not need them. `newest` are the newest instructions of the session. Raises
    NeedsWholeDocument if a run needs them and a later entry of `entries` replaces them.
    """
    for entry in entries:
        if entry.get("instructions") is not None:
            return None
        if "agno_system" in entry and any(later.get("instructions") is not None for later in entries):
            raise NeedsWholeDocument
    return newest


def _complete(entry: dict[str, Any], instructions: str | None, find: Callable[[str], Messages]) -> dict[str, Any]:
    """Return a run with its system message and its copied messages. Does not change `entry`.

    `find` returns the messages of the run with a given id.
    """
    if "agno_system" not in entry and "agno_history" not in entry:
        return entry
    messages = list(entry.get("messages") or ())
    for group in entry.get("agno_history", ()):
        source = find(group["run_id"])[group["first"] : group["first"] + group["count"]]
        messages[group["at"] : group["at"]] = [{**message, "from_history": True} for message in source]
    if "agno_system" in entry:
        messages.insert(0, {"role": "system", "content": instructions or "", **entry["agno_system"]})
    return {**entry, "messages": messages}
