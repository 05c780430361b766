"""What a client reads of a session: pages of its entries, newest first, in full or as a conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from localstore.errors import RunNotFound
from localstore.format.item_messages import item_messages
from localstore.models.session_info import SessionInfo
from localstore.storage.contract import SessionStorage
from localstore.storage.plain_session import read_plain
from localstore.storage.session_row import info_of

Entry = dict[str, Any]
Detail = Literal["conversation", "full"]

_SPOKEN = ("user", "assistant")
_LEFT_OUT = (
    "type", "plan", "instructions", "session_state", "session_summary", "session_data", "metrics", "requested_model",
    "tool_call_id", "imported",
)  # fmt: skip
"""Keys of a run or a step that a conversation does without."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries of a session, oldest first, each with its number, and the number before which older ones end."""

    entries: list[tuple[int | None, Entry]]
    """The number of a run in the session, from 1 on, or of an entry in a session without runs; None for others."""
    older: int | None
    """The number of the first entry of this page, if there are older ones."""


def read_page(storage: SessionStorage, session_id: str, limit: int, before: int | None) -> Page | None:
    """Read the last `limit` runs of a session in front of number `before`, and the entries between them.

    A session without runs is read by entries. Return None if there is no such session.
    """
    while True:
        info = info_of(storage, session_id)
        page = None if info is None else _page(storage, info, limit, before)
        again = None if page is None else info_of(storage, session_id)
        if info is None or again is None or again.runs == info.runs:
            return None if again is None else page  # otherwise a run was added, and the numbers are not those of now


def number_of(storage: SessionStorage, session_id: str, run_id: str) -> int:
    """Return the number of a run in its session, from 1 on. Raises RunNotFound."""
    stored = read_plain(storage, session_id)
    runs = [entry["run_id"] for entry in (stored.history if stored else ()) if entry["type"] == "run"]
    if run_id not in runs:
        raise RunNotFound(
            f"Session {session_id!r} has no run {run_id!r}. read_session without run_id shows the ids of its runs.",
            session_id=session_id,
            run_id=run_id,
        )
    return len(runs) - runs[::-1].index(run_id)


def number_after(storage: SessionStorage, session_id: str, entry: int) -> int:
    """Return the number before which a page ends that has an entry, which its position from 0 on names."""
    stored = read_plain(storage, session_id)
    kinds = [one["type"] for one in (stored.history if stored else ())]
    return kinds[: entry + 1].count("run") + 1 if "run" in kinds else entry + 2


def _page(storage: SessionStorage, info: SessionInfo, limit: int, before: int | None) -> Page | None:
    if not info.runs:
        stored = read_plain(storage, info.session_id)
        if stored is None:
            return None
        end = len(stored.history) if before is None else min(before - 1, len(stored.history))
        begin = max(0, end - limit)
        return Page(list(enumerate(stored.history[begin:end], begin + 1)), begin + 1 if begin else None)
    end = info.runs if before is None else min(before - 1, info.runs)
    begin = max(0, end - limit)
    stored = read_plain(storage, info.session_id, last_runs=info.runs - begin if begin else None)
    if stored is None:
        return None
    entries: list[tuple[int | None, Entry]] = []
    number = begin
    for entry in stored.history:
        if entry["type"] == "run":
            number += 1
            if number > end:
                break
        entries.append((number if entry["type"] == "run" else None, entry))
    return Page(entries, begin + 1 if begin else None)


def shown(number: int | None, entry: Entry, detail: Detail) -> Entry:
    """Return an entry as a client gets it: with its number, and for a conversation without what nobody said."""
    numbered = {} if number is None else {"number": number}
    if detail == "full" or entry["type"] not in ("run", "item"):
        return {**numbered, **entry}
    return {**numbered, **(_conversation(entry) if entry["type"] == "run" else _conversation_in(entry))}


def _conversation_in(item: Entry) -> Entry:
    """Return an item of another framework with what was said in it, if anything, in the place of its data."""
    fields = {key: value for key, value in item.items() if key not in ("data", "session_state")}
    return _conversation({**fields, "messages": said} if (said := item_messages(item)) else fields) | {"type": "item"}


def _conversation(record: Entry) -> Entry:
    """Return a run or a step without what only programs need: tools and their results, states, and metrics."""
    fields = {key: value for key, value in record.items() if key not in _LEFT_OUT}
    if "messages" in fields:
        fields["messages"] = [
            {"role": message["role"], "content": message["content"]}
            for message in fields["messages"]
            if message["role"] in _SPOKEN and message.get("content")
        ]
    for name in ("member_runs", "steps"):
        if name in fields:
            fields[name] = [_conversation(part) for part in fields[name]]
    return fields
