"""Convert runs of agno 1.x to entries of the history and back, so that agno receives each run unchanged."""

import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import orjson

from localstore.errors import UnstorableValue
from localstore.format.values import to_json_value
from localstore.format.versions import CannotUpgrade, Document
from localstore.format.versions.agno import run_fields, session_run_down, shared_fields
from localstore.format.versions.agno_conversation import ANSWERING, Conversation
from localstore.format.versions.agno_messages import FROM_HISTORY
from localstore.format.versions.agno_runs import ordered, run_up
from localstore.integrations.agno.json_diff import applied, difference
from localstore.integrations.agno.tool_calls import without_lost_fields

NOTE = "agno"
"""The key of an entry that holds the parts of agno's run that the entry has no field for.

The value (the "note") is a difference as in `json_diff`, with these additional keys.

`history`: the ids of the runs whose messages agno copies before the messages of this run. `system`: false if the run
has no system message. `compact`: true if the arguments of tool calls contain no spaces. `beside`: the ids of member
runs that agno also keeps as runs of the session. `interactions`: the requests to the members of a team, and their
answers."""

DIFFERENCE_KEYS = ("set", "drop", "in", "is")
"""The keys of a note that are those of a difference."""
_COUNTED = (
    *("input_tokens", "output_tokens", "total_tokens", "audio_tokens", "input_audio_tokens", "output_audio_tokens"),
    *("cached_tokens", "cache_write_tokens", "reasoning_tokens", "prompt_tokens", "completion_tokens"),
)
"""The metrics that agno sets to 0 if the model does not report them. It sets all others to null."""
_SORTED = orjson.OPT_SORT_KEYS


class RunDigest(NamedTuple):
    """Identifies the own messages of a run, to recognise copies of them in later runs."""

    run_id: str
    messages: int
    """The number of own messages."""
    hash: int
    """The hash of the own messages. Valid in this process only."""


def digest_of(run: Document) -> RunDigest:
    """Return the digest of a run in agno's form."""
    own = own_messages(run)
    return RunDigest(run["run_id"], len(own), hash(tuple(map(_message_hash, own))))


def own_messages(run: Document) -> list[Document]:
    """Return the messages that agno copies from this run into later runs: no copies, and no system messages."""
    messages = run.get("messages") or ()
    return [message for message in messages if not message.get(FROM_HISTORY) and message.get("role") != "system"]


def _message_hash(message: Document) -> int:
    return hash(orjson.dumps({**message, FROM_HISTORY: False}, option=_SORTED))


def history_copies(run: Document) -> tuple[int, list[Document]]:
    """Return the index of the first copy of an earlier message in a run of agno, and the list of the copies.

    Without copies, the index is the position where they would be inserted: after the system message.
    """
    messages = run.get("messages") or []
    start = 1 if messages and messages[0].get("role") == "system" and not messages[0].get(FROM_HISTORY) else 0
    end = start
    while end < len(messages) and messages[end].get(FROM_HISTORY) is True:
        end += 1
    return start, messages[start:end]


def copied_runs(copies: list[Document], earlier: Iterable[RunDigest]) -> list[str] | None:
    """Return the ids of the runs that the messages `copies` were copied from, oldest first.

    Return None if the origin of a message is not found. `earlier` yields the digests of the earlier runs, newest first.
    """
    hashes = [_message_hash(message) for message in copies]
    end = len(hashes)
    run_ids: list[str] = []
    for run in earlier:
        if end == 0:
            break
        start = end - run.messages
        if run.messages and start >= 0 and hash(tuple(hashes[start:end])) == run.hash:
            run_ids.insert(0, run.run_id)
            end = start
    return run_ids if end == 0 else None


class RunConverter:
    """Converts the runs of one session between agno's form and entries of its document."""

    def __init__(self, header: Document) -> None:
        """`header` is the header of the session's document."""
        self.header = header
        self._shared = shared_fields(header, header["kind"])
        self._fields = run_fields(header)

    def to_entry(
        self,
        run: Document,
        position: str,
        instructions: str | None,
        find_copied_runs: Callable[[list[Document]], list[str] | None],
    ) -> Document:
        """Return the entry for a run of plain values. Does not change `run`.

        Args:
            run: The run in agno's form.
            position: A text that is unique in the session. A run without an id gets an id derived from it.
            instructions: The instructions that apply before the run, or None.
            find_copied_runs: Takes copied messages and returns the ids of the runs they come from, or None if unknown.
                If None, the entry keeps the copies.

        Raises UnstorableValue if `run` is not a valid run of agno.
        """
        own = dict(run)
        note: Document = {}
        start, copies = history_copies(run)
        if copies and (run_ids := find_copied_runs(copies)) is not None:
            note["history"] = run_ids
            own["messages"] = [*run["messages"][:start], *run["messages"][start + len(copies) :]]
        conversation = Conversation(self.header["session_id"], self._shared, instructions=instructions)
        try:
            entry = run_up(own, (), conversation, position)
        except CannotUpgrade as error:
            raise UnstorableValue(f"A run of agno cannot be stored: {error}. Nothing was written.") from None
        first_is_system = (own.get("messages") or [{}])[0].get("role") == "system"
        entry_has_system = (entry.get("messages") or [{}])[0].get("role") == "system"
        if conversation.instructions and (entry_has_system or not first_is_system):
            note["system"] = False
        return self._with_note(entry, own, conversation.instructions, note)

    def with_run(self, entry: Document, run: Document, instructions: str | None) -> Document:
        """Return `entry` with a note from which `to_run`, with these instructions, gives `run`. Changes no argument."""
        note = {key: value for key, value in note_of(entry).items() if key not in DIFFERENCE_KEYS}
        return self._with_note({key: value for key, value in entry.items() if key != NOTE}, run, instructions, note)

    def _with_note(self, entry: Document, run: Document, instructions: str | None, note: Document) -> Document:
        changes = difference(self._convert_back(entry, instructions, note), run)
        if changes and any(message.get("tool_calls") for message in entry.get("messages") or ()):
            compact_note = {**note, "compact": True}
            fewer = difference(self._convert_back(entry, instructions, compact_note), run)
            if len(json.dumps(fewer)) < len(json.dumps(changes)):
                note, changes = compact_note, fewer
        note = {**note, **changes}
        return ordered({**entry, NOTE: to_json_value(note)}) if note else entry

    def to_run(self, entry: Document, instructions: str | None) -> Document:
        """Return the run of an entry in agno's form, without the copies of earlier messages.

        `instructions` are the instructions that apply to this run, or None. Does not change `entry`.
        """
        note = note_of(entry)
        run: Document = applied(self._convert_back(entry, instructions, note), note)
        return run

    def _convert_back(self, entry: Document, instructions: str | None, note: Document) -> Document:
        if instructions and note.get("system") is not False:
            entry = {**entry, "instructions": instructions}
        elif "instructions" in entry:
            entry = {key: value for key, value in entry.items() if key != "instructions"}
        run = session_run_down(entry, self.header, self._shared, self._fields)
        _imitate_agno(run)
        if note.get("compact") is True:
            for message in run.get("messages") or ():
                for call in message.get("tool_calls") or ():
                    _compact_arguments(call["function"])
        return run


def note_of(entry: Document) -> Document:
    """Return the value of `NOTE` in an entry, or an empty mapping if there is none."""
    note = entry.get(NOTE)
    return note if isinstance(note, dict) else {}


def insert_history(run: Document, copies: list[Document]) -> None:
    """Insert `copies` of earlier messages into `run`, in place: after its system message, before its own messages."""
    start = history_copies(run)[0]
    messages = run.get("messages") or []  # without any, all messages of the run are copies
    run["messages"] = [*messages[:start], *copies, *messages[start:]]


def history_copy(message: Document) -> Document:
    """Return a copy of a message in the form that agno inserts into later runs: marked as copied from the history."""
    copy: Document = {**message, FROM_HISTORY: True}
    for key in ("tool_calls", "metrics", "tool_args"):
        if key in copy:
            copy[key] = orjson.loads(orjson.dumps(copy[key]))
    return copy


def _imitate_agno(run: Document) -> None:
    """Change a run in place to the form that agno 1.8 writes.

    agno writes RUNNING for completed runs, lists token counts per model call, and omits the names of steps.
    """
    if run.get("status") == "COMPLETED" and "workflow_name" not in run and "step_responses" not in run:
        run["status"] = "RUNNING"
    measured = [
        message["metrics"]
        for message in run.get("messages") or ()
        if message.get("metrics") and message.get("role") in ANSWERING and not message.get(FROM_HISTORY)
    ]
    if measured:
        run["metrics"] = _metrics_per_call(measured)
    for member in run.get("member_responses") or ():
        _imitate_agno(member)
    for step in run.get("step_responses") or ():
        del step["step_name"], step["created_at"]
        response = step.get("response")
        if isinstance(response, dict):
            _imitate_agno(response)
            if isinstance(step.get("metrics"), dict) and "metrics" in response:
                step["metrics"]["metrics"] = response["metrics"]


def _metrics_per_call(measured: list[Document]) -> Document:
    """Return the metrics of a run from the metrics of its messages: for each metric, a list of its values per call."""
    metrics: Document = {key: [0] * len(measured) for key in _COUNTED}
    for index, of_call in enumerate(measured):
        for key, value in of_call.items():
            if key in _COUNTED:
                metrics[key][index] = value
            else:
                metrics.setdefault(key, []).append(value)
    return metrics


def _compact_arguments(function: Document) -> None:
    """Remove the spaces between the JSON tokens of `function["arguments"]`, in place. Invalid JSON stays as it is."""
    try:
        function["arguments"] = json.dumps(json.loads(function["arguments"]), ensure_ascii=False, separators=(",", ":"))
    except ValueError:
        return  # the model wrote invalid JSON


def run_hash(run: Document) -> int | None:
    """Return a hash that is equal for a run before and after agno reads it. Valid in this process only.

    Return None if the run nests too deeply or if a document cannot hold one of its values.
    """
    try:
        return value_hash(without_lost_fields(run))
    except RecursionError:
        return None


def value_hash(value: Any) -> int | None:
    """Return a hash that is equal for values that a document stores in the same form. Valid in this process only.

    Return None if a document cannot hold the value.
    """
    try:
        return hash(orjson.dumps(value, default=to_json_value, option=_SORTED))
    except (TypeError, ValueError):
        return None
