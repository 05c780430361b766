"""The records of a session: what a document holds, as pydantic models.

Keys that a model does not know are kept, read and written again. A field that is None is absent in the document.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import uuid4

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, PrivateAttr, Tag, ValidationError

from localstore.models.schema import SCHEMA_VERSION, SESSION_KEYS

Kind = Literal["agent", "team", "workflow"]


def now() -> str:
    """The time in the form that documents use: UTC, ISO 8601, milliseconds."""
    return time_text(datetime.now(UTC))


def time_text(moment: datetime) -> str:
    """A moment in the form that documents use. One without a time zone is taken as local time."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _time(value: object) -> object:
    """Times in the form of the format. A text that is no time, or that names no time zone, stays as it is."""
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, str) and not (len(value) == len("2026-11-22T07:01:20.123Z") and value[-1] == "Z"):
        try:
            moment = datetime.fromisoformat(value)
            return value if moment.tzinfo is None else time_text(moment)
        except (ValueError, OverflowError):  # in UTC, the first and the last day may be out of the calendar
            return value
    return value


Time = Annotated[str, BeforeValidator(_time)]


def _null_is(make: Callable[[], object]) -> BeforeValidator:
    """For a field that always has a value: null in a document is the same as a key that is not there."""
    return BeforeValidator(lambda value: make() if value is None else value)


class Record(BaseModel):
    """A mapping in a document: known fields in the order of the format, then the keys that we do not know."""

    model_config = ConfigDict(extra="allow", validate_assignment=True, protected_namespaces=())

    def __document__(self) -> dict[str, Any]:
        """The fields that have a value, one level deep; the values are not converted."""
        known = {name: value for name, value in self.__dict__.items() if value is not None}
        if self.__pydantic_extra__:
            known.update(self.__pydantic_extra__)
        return known


class ToolCall(Record):
    """A call that the model asked for. `arguments` is an object whenever the model wrote one, else its raw text."""

    id: str | None = None
    name: str
    arguments: Annotated[dict[str, Any] | str, _null_is(dict)] = Field(default_factory=dict)


class ContentPart(Record):
    """One part of a message that is more than text: `type` says which (`text`, `image`, `audio`, `file`)."""

    type: str
    text: str | None = None
    url: str | None = None
    path: str | None = None
    mime_type: str | None = None


class Message(Record):
    """One message of a run. `content` is text, or a list of parts.

    `state_changes`, in the answer to a tool call, are the keys of the `session_state` that it changed, None for one
    that is gone: a run that was interrupted goes on with them.
    """

    role: str
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    state_changes: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        """The message's text; the texts of its parts joined by newlines."""
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        return "\n".join(part.text for part in self.content if part.text is not None)


class Metrics(Record):
    """What a run cost."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    duration_seconds: float | None = None


class Step(Record):
    """One step of a workflow's run that is over. `within` names the steps that it stands in, outermost first.

    `status` is `completed`, `error` or `cancelled`; or `waiting` for a confirmation, `confirmed` or `rejected`. Of
    several with the same name and the same `within`, the last one counts. `session_state` is the state behind the step,
    when it changed it, `question` what a person is asked to confirm.
    """

    name: str
    within: list[str] | None = None
    created_at: Time = Field(default_factory=now)
    input: Any = None
    output: Any = None
    messages: list[Message] | None = None
    member_runs: list[Run] | None = None
    session_state: dict[str, Any] | None = None
    question: str | None = None
    metrics: Metrics | None = None
    error: str | None = None
    status: str | None = None


class Entry(Record):
    """An item of the history that is neither a run nor an update: kept as it is."""

    type: str
    created_at: Time | None = None


class Update(Record):
    """A change of the session's state that was made outside a run."""

    type: Literal["update"] = "update"
    created_at: Time = Field(default_factory=now)
    instructions: str | None = None
    session_state: dict[str, Any] | None = None
    session_summary: Any = None
    session_data: dict[str, Any] | None = None


class Run(Record):
    """One run: a question, what followed from it, and how it ended.

    `status` is `unfinished`, `completed`, `error` or `cancelled`. `session_state`, `session_summary`, `session_data`
    and `instructions` are set only when they changed in this run. `output` is the answer as data, where data was asked
    for. `state_conflicts` names the keys of `session_state` that another run had changed meanwhile; the value here
    counts. `agent_id`, `team_id`, `workflow_id` and `tool_call_id` stand in member runs. `rating` is what a person
    thinks of it, `good` or `bad`; another word, typed by hand, is kept and rates nothing. `rating_note` says why.
    `replay_of` is the run of another session whose question was asked again. `plan` are the steps that a workflow's run
    was started with.
    """

    type: Literal["run"] = "run"
    run_id: str = Field(default_factory=lambda: str(uuid4()))
    agent_id: str | None = None
    team_id: str | None = None
    workflow_id: str | None = None
    tool_call_id: str | None = None
    replay_of: str | None = None
    created_at: Time = Field(default_factory=now)
    plan: list[str] | None = None
    input: Any = None
    messages: Annotated[list[Message], _null_is(list)] = Field(default_factory=list)
    member_runs: list[Run] | None = None
    steps: list[Step] | None = None
    output: Any = None
    instructions: str | None = None
    session_state: dict[str, Any] | None = None
    session_summary: Any = None
    session_data: dict[str, Any] | None = None
    state_conflicts: list[str] | None = None
    model: str | None = None
    metrics: Metrics | None = None
    rating: str | None = None
    rating_note: str | None = None
    error: str | None = None
    status: Annotated[str, _null_is(lambda: "completed")] = "completed"

    _parsed: Any = PrivateAttr(default=None)

    def __document__(self) -> dict[str, Any]:
        known = super().__document__()
        if not self.messages:
            del known["messages"]
        if self.__pydantic_extra__:  # how it ended comes last, after keys that we do not know
            for name in ("error", "status"):
                if name in known:
                    known[name] = known.pop(name)
        return known

    def keep_output(self, output: BaseModel) -> None:
        """Make `output` of an object, which `parsed` then gives."""
        self.output = output.model_dump(mode="json")
        self._parsed = output

    @property
    def parsed(self) -> Any:
        """The answer as an object of the agent's `response_model`; None for a run that was read from a storage."""
        return self._parsed

    @property
    def waiting(self) -> Step | None:
        """The step of a workflow's unfinished run that waits for a confirmation; the first one, of several."""
        last: dict[tuple[str, ...], Step] = {}
        for step in self.steps or () if self.status == "unfinished" else ():
            last[(*(step.within or ()), step.name)] = step
        return next((step for step in last.values() if step.status == "waiting"), None)

    @property
    def question(self) -> str:
        """The text of the run's first message of role `user`, else its input when that is text, else ''."""
        for message in self.messages:
            if message.role == "user":
                return message.text
        return self.input if isinstance(self.input, str) else ""

    @property
    def answer(self) -> str:
        """The text of the run's last message of role `assistant`, or ''."""
        for message in reversed(self.messages):
            if message.role == "assistant":
                return message.text
        return ""


def _entry_type(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return kind if kind in ("run", "update") else "entry"


HistoryEntry = Annotated[
    Annotated[Run, Tag("run")] | Annotated[Update, Tag("update")] | Annotated[Entry, Tag("entry")],
    Discriminator(_entry_type),
]


def is_validated(entry: Any) -> bool:
    """Whether an entry is made of records that were validated. Lists that were changed in place may hold anything."""
    if type(entry) is not Run or not all(type(text) is str for text in (entry.run_id, entry.created_at, entry.status)):
        return False
    for message in entry.messages:
        if type(message) is not Message:
            return False
        if message.tool_calls is not None and any(type(call) is not ToolCall for call in message.tool_calls):
            return False
        if type(message.content) is list and any(type(part) is not ContentPart for part in message.content):
            return False
    return entry.member_runs is None and entry.steps is None


def first_problem(error: ValidationError, where: str = "") -> str:
    """The first problem and where it is, below `where`: `messages[0].role: Field required`."""
    first = error.errors(include_url=False, include_context=False)[0]
    for step in first["loc"]:
        if step not in ("run", "update", "entry") or not where.endswith("]"):
            where += f"[{step}]" if isinstance(step, int) else f".{step}" if where else str(step)
    return f"{where}: {first['msg']}" if where else first["msg"]


class Origin(Record):
    """Where a session was forked: the session, and the last run that was taken along."""

    session_id: str
    run_id: str | None = None


class Session(Record):
    """One conversation. Read it, change it, and hand it to `storage.upsert`.

    `history` holds the entries that were read: all, or with `last_runs` only the newest. `session_state`,
    `session_summary`, `session_data` and `instructions` are the newest values in the whole session, whatever was
    read; changing one and calling `upsert` adds an `update` entry.
    """

    schema_version: int = SCHEMA_VERSION
    session_id: str = Field(default_factory=lambda: str(uuid4()))
    kind: Kind = "agent"
    agent_id: str | None = None
    team_id: str | None = None
    workflow_id: str | None = None
    user_id: str | None = None
    name: str | None = None
    tags: Annotated[list[str], _null_is(list)] = Field(default_factory=list)
    metadata: Annotated[dict[str, Any], _null_is(dict)] = Field(default_factory=dict)
    forked_from: Origin | None = None
    created_at: Time = Field(default_factory=now)
    history: list[HistoryEntry] = Field(default_factory=list)

    session_state: dict[str, Any] = Field(default_factory=dict)
    session_summary: Any = None
    session_data: dict[str, Any] = Field(default_factory=dict)
    instructions: str | None = None

    _base: Any = PrivateAttr(default=None)
    """What was read, for a three-way merge on `upsert`; None for a session that was not read."""

    def __document__(self) -> dict[str, Any]:
        """The header: every key of the document before `history`."""
        hidden = {"history", *SESSION_KEYS}
        header = {name: value for name, value in super().__document__().items() if name not in hidden}
        return {name: value for name, value in header.items() if value or name not in ("tags", "metadata")}

    def current(self) -> dict[str, Any]:
        """The newest state of the session by key, empty values left out."""
        return {name: value for name in SESSION_KEYS if (value := getattr(self, name)) not in (None, "", {})}

    @property
    def entity_id(self) -> str | None:
        """The id of the agent, team or workflow, as the session's kind says."""
        value: str | None = getattr(self, f"{self.kind}_id")
        return value

    @property
    def runs(self) -> list[Run]:
        """The runs that were read, oldest first."""
        return [entry for entry in self.history if isinstance(entry, Run)]

    def messages(self, last_runs: int | None = None) -> list[Message]:
        """The messages of the last runs (of all that were read, when None), oldest first."""
        runs = self.runs if last_runs is None else self.runs[max(0, len(self.runs) - last_runs) :]
        return [message for run in runs for message in run.messages]
