"""One run of agno 1.x as an entry of the history, in such a way that agno gets it back as it was."""

import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import orjson

from localstore.errors import UnstorableValue
from localstore.format.values import to_json_value
from localstore.format.versions import CannotUpgrade, Document
from localstore.format.versions.agno import fields_of, known_of, session_run_down
from localstore.format.versions.agno_conversation import ANSWERING, Conversation
from localstore.format.versions.agno_messages import FROM_HISTORY
from localstore.format.versions.agno_runs import ordered, run_up
from localstore.integrations.agno.json_diff import applied, difference
from localstore.integrations.agno.tool_calls import without_forgotten

NOTE = "agno"
"""The key of an entry that says how agno's run differs from what is made of the entry. Beside the keys of a difference:
`history`, the ids of the runs whose messages agno put before those of this run; `system` false, when it had no system
message; `compact` true, when the arguments of its tool calls have no blanks; `beside`, the ids of member runs that agno
keeps as runs of the session as well; `interactions`, what the members of a team were told."""

_COUNTED = (
    *("input_tokens", "output_tokens", "total_tokens", "audio_tokens", "input_audio_tokens", "output_audio_tokens"),
    *("cached_tokens", "cache_write_tokens", "reasoning_tokens", "prompt_tokens", "completion_tokens"),
)
"""The metrics of a message in agno that are 0 when nobody told them; others are null."""
_SORTED = orjson.OPT_SORT_KEYS


class Told(NamedTuple):
    """The own messages of a run, as a later run repeats them."""

    run_id: str
    messages: int
    sameness: int


def told_by(raw: Document) -> Told:
    """What later runs repeat of this one."""
    own = own_messages(raw)
    return Told(raw["run_id"], len(own), hash(tuple(map(_sameness, own))))


def own_messages(raw: Document) -> list[Document]:
    """The messages of a run in agno's form that agno puts before those of later runs."""
    messages = raw.get("messages") or ()
    return [message for message in messages if not message.get(FROM_HISTORY) and message.get("role") != "system"]


def _sameness(message: Document) -> int:
    return hash(orjson.dumps({**message, FROM_HISTORY: False}, option=_SORTED))


def repeated(raw: Document) -> tuple[int, list[Document]]:
    """Where the copies of earlier messages start in a run of agno, and which they are."""
    messages = raw.get("messages") or []
    start = 1 if messages and messages[0].get("role") == "system" and not messages[0].get(FROM_HISTORY) else 0
    end = start
    while end < len(messages) and messages[end].get(FROM_HISTORY) is True:
        end += 1
    return start, messages[start:end]


def sources(copies: list[Document], before: Iterable[Told]) -> list[str] | None:
    """The runs that the copies are of, oldest first, out of those `before`, newest first; None when not all are."""
    samenesses = [_sameness(message) for message in copies]
    end = len(samenesses)
    found: list[str] = []
    for run in before:
        if end == 0:
            break
        start = end - run.messages
        if run.messages and start >= 0 and hash(tuple(samenesses[start:end])) == run.sameness:
            found.insert(0, run.run_id)
            end = start
    return found if end == 0 else None


class Runs:
    """The runs of one session, on the way to agno and back."""

    def __init__(self, header: Document) -> None:
        self.header = header
        self._known = known_of(header, header["kind"])
        self._fields = fields_of(header)

    def entry(
        self,
        raw: Document,
        position: str,
        instructions: str | None,
        find_sources: Callable[[list[Document]], list[str] | None],
    ) -> Document:
        """The entry for a run of plain values. `instructions` are those that hold before it.

        Raises UnstorableValue for what is no run of agno.
        """
        told = dict(raw)
        note: Document = {}
        start, copies = repeated(raw)
        if copies and (found := find_sources(copies)) is not None:
            note["history"] = found
            told["messages"] = [*raw["messages"][:start], *raw["messages"][start + len(copies) :]]
        conversation = Conversation(self.header["session_id"], self._known, instructions=instructions)
        try:
            entry = run_up(told, (), conversation, position)
        except CannotUpgrade as error:
            raise UnstorableValue(f"A run of agno cannot be stored: {error}. Nothing was written.") from None
        first_is_system = (told.get("messages") or [{}])[0].get("role") == "system"
        kept_is_system = (entry.get("messages") or [{}])[0].get("role") == "system"
        if conversation.instructions and (kept_is_system or not first_is_system):
            note["system"] = False
        changes = difference(self._back(entry, conversation.instructions, note), told)
        if changes and any(message.get("tool_calls") for message in entry.get("messages") or ()):
            compactly = {**note, "compact": True}
            others = difference(self._back(entry, conversation.instructions, compactly), told)
            if len(json.dumps(others)) < len(json.dumps(changes)):
                note, changes = compactly, others
        note |= changes
        return ordered({**entry, NOTE: to_json_value(note)}) if note else entry

    def bare(self, entry: Document, instructions: str | None) -> Document:
        """The run in agno's form, without the copies of earlier messages. `instructions`: those that hold with it."""
        note = note_of(entry)
        run: Document = applied(self._back(entry, instructions, note), note)
        return run

    def _back(self, entry: Document, instructions: str | None, note: Document) -> Document:
        if instructions and note.get("system") is not False:
            entry = {**entry, "instructions": instructions}
        elif "instructions" in entry:
            entry = {key: value for key, value in entry.items() if key != "instructions"}
        run = session_run_down(entry, self.header, self._known, self._fields)
        _as_agno_leaves_it(run)
        if note.get("compact") is True:
            for message in run.get("messages") or ():
                for call in message.get("tool_calls") or ():
                    _write_compactly(call["function"])
        return run


def note_of(entry: Document) -> Document:
    """What the entry says for agno alone."""
    note = entry.get(NOTE)
    return note if isinstance(note, dict) else {}


def put_before(run: Document, copies: list[Document]) -> None:
    """Give a run the copies of earlier messages that agno puts before its own."""
    start = repeated(run)[0]
    run["messages"] = [*run["messages"][:start], *copies, *run["messages"][start:]]


def copied(message: Document) -> Document:
    """A copy as agno puts it before the messages of a later run."""
    copy: Document = {**message, FROM_HISTORY: True}
    for key in ("tool_calls", "metrics", "tool_args"):
        if key in copy:
            copy[key] = orjson.loads(orjson.dumps(copy[key]))
    return copy


def _as_agno_leaves_it(run: Document) -> None:
    """agno 1.8 says of its finished runs that they are running, counts tokens by call of the model, and does not write
    the names of steps."""
    if run.get("status") == "COMPLETED" and "workflow_name" not in run and "step_responses" not in run:
        run["status"] = "RUNNING"
    measured = [
        message["metrics"]
        for message in run.get("messages") or ()
        if message.get("metrics") and message.get("role") in ANSWERING and not message.get(FROM_HISTORY)
    ]
    if measured:
        run["metrics"] = _by_call(measured)
    for member in run.get("member_responses") or ():
        _as_agno_leaves_it(member)
    for step in run.get("step_responses") or ():
        del step["step_name"], step["created_at"]
        response = step.get("response")
        if isinstance(response, dict):
            _as_agno_leaves_it(response)
            if isinstance(step.get("metrics"), dict) and "metrics" in response:
                step["metrics"]["metrics"] = response["metrics"]


def _by_call(measured: list[Document]) -> Document:
    """The metrics of a run, by those of its calls of the model."""
    metrics: Document = {key: [0] * len(measured) for key in _COUNTED}
    for index, told in enumerate(measured):
        for key, value in told.items():
            if key in _COUNTED:
                metrics[key][index] = value
            else:
                metrics.setdefault(key, []).append(value)
    return metrics


def _write_compactly(function: Document) -> None:
    try:
        function["arguments"] = json.dumps(json.loads(function["arguments"]), ensure_ascii=False, separators=(",", ":"))
    except ValueError:
        return  # the model wrote no valid object: it stays as it is


def form_of(run: Document) -> int | None:
    """The form of a run, equal before agno read it and after."""
    try:
        return form(without_forgotten(run))
    except RecursionError:
        return None


def form(value: Any) -> int | None:
    """Equal for equal values of whatever types that have a form in a document; None where one has none. In this process
    only."""
    try:
        return hash(orjson.dumps(value, default=to_json_value, option=_SORTED))
    except (TypeError, ValueError):
        return None
