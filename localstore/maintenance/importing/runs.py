"""Group the messages of a conversation into runs: each question of the user begins one."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import NAMESPACE_URL, uuid5

from localstore.maintenance.importing.fields import NO_TIME
from localstore.maintenance.importing.source import Entry

IMPORTED = "imported"
"""The key for data that a document has no field for: a mapping in a message, a list in a run."""
_LISTS = ("uuids", "content")
"""Keys of `imported` whose lists are joined when parts of an answer become one message."""
_TOKENS = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")
_METRICS = (*_TOKENS, "duration_seconds")
_ENDING = ("error", "finish_reason", "status")
"""Keys of a run that say how it ended."""
_FIRST = ("type", "run_id", "agent_id", "tool_call_id", "created_at", "input", "messages", "member_runs")
_LAST = ("metrics", "error", "status")


@dataclass(slots=True)
class Turn:
    """A message or another event of a conversation, with what it says about its run."""

    message: dict[str, Any] | None = None
    created_at: str | None = None
    is_question: bool = False
    """Whether it begins a run."""
    id: str | None = None
    """The id of the message in its source."""
    answer_id: str | None = None
    """The id of the model's answer that this is a part of. Parts of one answer become one message."""
    run: dict[str, Any] = field(default_factory=dict)
    """Keys of the run. Of several values, the last one counts."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """The cost of this part. The last part of an answer has the cost of the whole answer."""
    other: dict[str, Any] | None = None
    """The event as the source has it, if it is not a message."""


@dataclass(slots=True)
class _OpenRun:
    run_id: str | None = None
    created_at: str | None = None
    messages: list[dict[str, Any]] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)
    costs: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[str, tuple[dict[str, Any], int]] = field(default_factory=dict)
    """The message of each answer, by its id, and the position of its cost in `costs`."""
    others: list[dict[str, Any]] = field(default_factory=list)
    has_question: bool = False

    def add(self, turn: Turn) -> None:
        self.created_at = self.created_at or turn.created_at
        if turn.message is not None and turn.message["role"] == "assistant":
            for key in _ENDING:
                self.fields.pop(key, None)  # the model was asked again
        self.fields |= turn.run
        if turn.other is not None:
            self.others.append(turn.other)
        if turn.is_question:
            self.run_id, self.created_at = turn.id or self.run_id, turn.created_at or self.created_at
            self.has_question = True
        if turn.message is None:
            self.costs.append(turn.metrics)
            return
        if turn.answer_id in self.answers:
            message, position = self.answers[turn.answer_id]
            _extend(message, turn.message)
            self.costs[position] = turn.metrics
            return
        self.messages.append(dict(turn.message))
        if turn.answer_id is not None:
            self.answers[turn.answer_id] = self.messages[-1], len(self.costs)
        self.costs.append(turn.metrics)


def _extend(message: dict[str, Any], part: dict[str, Any]) -> None:
    """Add another part of the same answer to its message, in place."""
    for key, value in part.items():
        before = message.get(key)
        if before is None:
            message[key] = value
        elif key == "content":
            message[key] = joined(before, value)
        elif key == "reasoning":
            message[key] = f"{before}\n\n{value}"
        elif key == "tool_calls":
            message[key] = [*before, *value]
        elif key == IMPORTED:
            message[key] = {**before, **value, **_joined_lists(before, value)}
        else:
            message[key] = value


def _joined_lists(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    pairs = {name: (one.get(name), other.get(name)) for name in _LISTS}
    return {
        name: [*first, *second]
        for name, (first, second) in pairs.items()
        if isinstance(first, list) and isinstance(second, list)
    }


def joined(one: Any, other: Any) -> Any:
    """Return two contents of a message as one."""
    if isinstance(one, str) and isinstance(other, str):
        return f"{one}\n\n{other}"
    both = [[{"type": "text", "text": part}] if isinstance(part, str) else part for part in (one, other)]
    return [*both[0], *both[1]]


def group(session_id: str, turns: Iterable[Turn], *, is_over: bool = False) -> list[Entry]:
    """Return the runs of a conversation.

    Turns before the first question belong to the first run. A run has the id of its question. If the question has no
    id, or two questions have the same one, the id is made from the session's id and the number of the run. A run whose
    last message is not an answer is cancelled, or unfinished if it is the last run.

    Args:
        session_id: The session.
        turns: The parts of the conversation, oldest first.
        is_over: True if the last run cannot continue, and so is never unfinished.
    """
    opened: list[_OpenRun] = []
    for turn in turns:
        if not opened or (turn.is_question and opened[-1].has_question):
            opened.append(_OpenRun())
        opened[-1].add(turn)
    entries: list[Entry] = []
    ids: set[str] = set()
    instructions = None
    latest = next((run.created_at for run in opened if run.created_at is not None), NO_TIME)
    for number, run in enumerate(opened):
        run_id = run.run_id
        if run_id is None or run_id in ids:
            run_id = str(uuid5(NAMESPACE_URL, f"localstore:{session_id}:{number}"))
        ids.add(run_id)
        latest = run.created_at or latest
        if run.fields.get("instructions") in (None, instructions):
            run.fields.pop("instructions", None)
        else:
            instructions = run.fields["instructions"]
        may_continue = number == len(opened) - 1 and not is_over
        entries.append(_entry(run, run_id, latest, "unfinished" if may_continue else "cancelled"))
    return entries


def _entry(run: _OpenRun, run_id: str, created_at: str, otherwise: Literal["unfinished", "cancelled"]) -> Entry:
    fields = {key: value for key, value in run.fields.items() if value is not None}
    status = fields.pop("status", None)
    if status is None:
        status = "error" if "error" in fields else "completed" if _is_answered(run.messages) else otherwise
    entry: Entry = {"type": "run", "run_id": run_id, "created_at": created_at}
    if run.messages:
        entry["messages"] = [_with_imported_last(message) for message in run.messages]
    if run.others:
        fields[IMPORTED] = run.others
    if metrics := total(run.costs):
        fields["metrics"] = metrics
    return in_order({**entry, **fields, "status": status})


def _with_imported_last(message: dict[str, Any]) -> dict[str, Any]:
    if IMPORTED in message and next(reversed(message)) != IMPORTED:
        message[IMPORTED] = message.pop(IMPORTED)
    return message


def in_order(entry: Entry) -> Entry:
    """Return a run with its keys in the order of a document."""
    first = {key: entry[key] for key in _FIRST if key in entry}
    last = {key: entry[key] for key in _LAST if key in entry}
    return {**first, **{key: value for key, value in entry.items() if key not in first and key not in last}, **last}


def total(costs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the sum of several metrics. Values that are None or not known are left out.

    >>> total([{"input_tokens": 3}, {"input_tokens": 4, "output_tokens": None}])
    {'input_tokens': 7}
    """
    result: dict[str, Any] = {}
    for cost in costs:
        for key in _METRICS:
            if cost.get(key) is not None:
                result[key] = result.get(key, 0) + cost[key]
    for key in ("cached_tokens", "reasoning_tokens"):
        if result.get(key) == 0:
            del result[key]
    return {key: min(value, 2**63 - 1) if key in _TOKENS else value for key, value in result.items()}


def _is_answered(messages: list[dict[str, Any]]) -> bool:
    last = next((message for message in reversed(messages) if message["role"] != "system"), None)
    return last is not None and last["role"] == "assistant" and not last.get("tool_calls")
