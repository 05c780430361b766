"""The models of a document. Each class represents one kind of mapping, with the fields in the order of the format.

A time is given as a datetime with a time zone, or as ISO 8601 text with one, and read as a datetime in UTC, cut to
milliseconds. A time from a document keeps its text until the program sets it. If that text is not a time, the attribute
is None.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Annotated, Any, Generic, Literal
from uuid import uuid4

from pydantic import BaseModel, Discriminator, Field, PrivateAttr, Tag, TypeAdapter
from typing_extensions import TypeVar  # with a default, which the one of `typing` has from Python 3.13 on

from localstore.models.excerpt import bare, excerpt, session_repr
from localstore.models.fields import NO_TIME, OneOf, OnlyOneOf, OptionalTime, Time, current_time, null_as
from localstore.models.record import Record
from localstore.models.schema import SCHEMA_VERSION, SESSION_KEYS, Kind, Rating, Role, RunStatus, StepStatus

Parsed = TypeVar("Parsed", bound=BaseModel, default=Any)
"""The type of a run's `parsed`: the `response_model` of the agent."""


class ToolCall(Record):
    """A tool call that the model asked for.

    >>> ToolCall(id="call_1", name="weather", arguments={"city": "Wien"}).arguments["city"]
    'Wien'
    """

    id: str | None = None
    """Identifies the call: the message with its result has this `tool_call_id`."""
    name: str
    """The name of the tool."""
    arguments: Annotated[dict[str, Any] | str, null_as(dict)] = Field(default_factory=dict)
    """The arguments by name, or the model's text if it is not a JSON object that can be stored."""


class ContentPart(Record):
    """One part of a message's content: text, an image, audio or a file.

    >>> ContentPart(type="image", url="https://example.com/cat.png", mime_type="image/png").type
    'image'
    """

    type: str
    """`text`, `image`, `audio` or `file`."""
    text: str | None = None
    """The text of a part of type `text`."""
    url: str | None = None
    """The address of the content."""
    path: str | None = None
    """The path of the file that holds the content."""
    mime_type: str | None = None
    """The media type of the content, such as `image/png`."""


class Message(Record):
    """A message in a run: from the user, the model, a tool or the system.

    >>> Message(role="user", content="hi").text
    'hi'
    """

    role: Annotated[Role, OneOf(Role)]
    """`user`, `assistant`, `tool`, `system` or `developer`. A message from a document may have another role."""
    content: str | list[ContentPart] | None = None
    """Text, or a list of parts."""
    name: str | None = None
    """The name of the speaker, if the role does not identify it."""
    tool_calls: list[ToolCall] | None = None
    """The tool calls that the model asked for."""
    tool_call_id: str | None = None
    """In a message of role `tool`: the id of the tool call whose result it is."""
    state_changes: dict[str, Any] | None = None
    """In a message of role `tool`: the keys of `session_state` that the calls changed, with their new values.

    A removed key has the value None. An interrupted run is resumed with these changes.
    """

    def __repr__(self) -> str:
        calls = [f"calls {bare(call.name)}" for call in self.tool_calls or ()]
        text = [excerpt(self.text)] if self.text or not calls else []
        return f"Message({', '.join([bare(self.role), *text, *calls])})"

    @property
    def text(self) -> str:
        """The text of the message, "" if it has none. The texts of several parts are joined by newlines."""
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        return "\n".join(part.text for part in self.content if part.text is not None)


class Metrics(Record):
    """The cost of a run or of a step.

    >>> Metrics(input_tokens=12, output_tokens=3).duration_seconds is None
    True
    """

    input_tokens: int | None = None
    """The number of tokens that the model read."""
    cached_tokens: int | None = None
    """How many of the input tokens came from the server's cache. None if there are none."""
    output_tokens: int | None = None
    """The number of tokens that the model wrote."""
    reasoning_tokens: int | None = None
    """How many of the output tokens were spent on reasoning that is not part of the answer. None if there are none."""
    duration_seconds: float | None = None
    """The elapsed time in seconds."""


class Step(Record):
    """A finished or waiting step in a run of a workflow.

    If several steps have the same `name` and `within`, the last one replaces the others.

    >>> Step(name="draft", within=["review"], output="Hello", status="completed").output
    'Hello'
    """

    name: str
    """The name of the step."""
    within: list[str] | None = None
    """The names of the steps that contain this one, outermost first. A loop has its round added: `review[2]`."""
    created_at: Time = current_time()
    """When the step began."""
    input: Any = None
    """The input of the step, as JSON values."""
    output: Any = None
    """The output of the step, as JSON values."""
    messages: list[Message] | None = None
    """The messages of the agent that did the step."""
    member_runs: list[Run] | None = None
    """The runs of the members, if a team did the step."""
    session_state: dict[str, Any] | None = None
    """The whole session state after the step, if the step changed it."""
    question: str | None = None
    """The question to the person who has to confirm the step."""
    finish_reason: str | None = None
    """Why the answer of an agent that did the step is not complete, as in a run."""
    metrics: Metrics | None = None
    """The cost of the step."""
    error: str | None = None
    """Why the step failed."""
    status: Annotated[StepStatus, OneOf(StepStatus)] | None = None
    """`completed`, `error` or `cancelled`; or `waiting` for a person's confirmation, `confirmed` or `rejected`.

    A step from a document may have another status.
    """


class Entry(Record):
    """An entry of the history that is neither a run nor an update, made by another program. It is kept unchanged.

    >>> Entry.model_validate({"type": "note", "text": "Call back."}).type
    'note'
    """

    type: str
    """Any text but `run` and `update`."""
    created_at: OptionalTime = NO_TIME
    """When the entry was made."""


class Update(Record):
    """A change of the session outside a run. Each of its values applies to the session from this entry on.

    >>> Update(session_state={"cart": ["tea"]}).type
    'update'
    """

    type: Literal["update"] = "update"
    created_at: Time = current_time()
    """When the change was made."""
    instructions: str | None = None
    """The new system prompt."""
    session_state: dict[str, Any] | None = None
    """The new state, as a whole."""
    session_summary: Any = None
    """The new summary of the session."""
    session_data: dict[str, Any] | None = None
    """The new extra data, as a whole."""


class Run(Record, Generic[Parsed]):
    """A question to an agent, team or workflow, with its answer, everything in between, and how it ended.

    >>> run = Run(messages=[Message(role="user", content="hi"), Message(role="assistant", content="Hello!")])
    >>> run.question, run.answer, run.status
    ('hi', 'Hello!', 'completed')

    For a type checker, `Run[Trip]` is a run whose `parsed` is a Trip.
    """

    type: Literal["run"] = "run"
    run_id: str = Field(default_factory=lambda: str(uuid4()))
    """Identifies the run in its session."""
    agent_id: str | None = None
    """In a member run: the agent that ran."""
    team_id: str | None = None
    """In a member run: the team that ran."""
    workflow_id: str | None = None
    """In a member run: the workflow that ran."""
    tool_call_id: str | None = None
    """In a member run: the id of the tool call that started it."""
    replay_of: str | None = None
    """In a replay: the id of the run, in another session, whose question was asked again."""
    created_at: Time = current_time()
    """When the run began."""
    plan: list[str] | None = None
    """In a run of a workflow: the names of the steps that it was started with."""
    input: Any = None
    """The input of the run as JSON values, unless the first message is all of it."""
    messages: Annotated[list[Message], null_as(list)] = Field(default_factory=list)
    """The messages of this run, oldest first, without those of earlier runs."""
    member_runs: list[Run] | None = None
    """In a run of a team: the runs of its members."""
    steps: list[Step] | None = None
    """In a run of a workflow: its finished steps, in the order in which they were done."""
    output: Any = None
    """The answer as JSON values, if the caller asked for a typed answer."""
    instructions: str | None = None
    """The system prompt, if it changed in this run."""
    session_state: dict[str, Any] | None = None
    """The session's state as a whole, if it changed in this run."""
    session_summary: Any = None
    """The summary of the session so far, if it changed in this run."""
    session_data: dict[str, Any] | None = None
    """Extra data of the session as a whole, if it changed in this run."""
    state_conflicts: list[str] | None = None
    """Keys of `session_state` that another run changed at the same time. The value in this run counts."""
    model: str | None = None
    """The model that answered, as the server names it."""
    requested_model: str | None = None
    """The model that was asked for, if another one answered."""
    answered_by: str | None = None
    """What answered, if it is not a server with the Chat Completions API: `function`, or the name of a class."""
    finish_reason: str | None = None
    """Why the last answer is not complete: `length` if it was cut off at the limit of tokens."""
    metrics: Metrics | None = None
    """The cost of the run."""
    rating: Annotated[Rating, OneOf(Rating)] | None = None
    """A person's rating, `good` or `bad`. Another word in a document is kept and counts as no rating."""
    rating_note: str | None = None
    """The reason for the rating."""
    error: str | None = None
    """Why the run failed."""
    status: Annotated[RunStatus, OneOf(RunStatus), null_as(lambda: "completed")] = "completed"
    """`unfinished`, `completed`, `error` or `cancelled`. A run from a document may have another status."""

    _parsed: Any = PrivateAttr(default=None)

    def __document__(self) -> dict[str, Any]:
        fields = super().__document__()
        if not self.messages:
            del fields["messages"]
        if self.__pydantic_extra__:  # how the run ended comes last, after unknown keys
            for name in ("error", "status"):
                if name in fields:
                    fields[name] = fields.pop(name)
        return fields

    def keep_output(self, output: BaseModel) -> None:
        """Set `output` of this run to the JSON values of the given object, and `parsed` to the object itself."""
        self.output = output.model_dump(mode="json")
        self._parsed = output

    @property
    def parsed(self) -> Parsed:
        """The answer as an instance of the agent's `response_model`. None for a run read from a storage."""
        parsed: Parsed = self._parsed
        return parsed

    def __class_getitem__(cls, parsed: Any) -> Any:
        """Return the class itself: the parameter is for type checkers alone."""
        return cls

    def __repr__(self) -> str:
        question = [excerpt(self.question)] if self.question else []
        return f"Run({', '.join([repr(self.run_id), bare(self.status), *question])})"

    def _repr_html_(self) -> str:
        """Return the run as a notebook shows it: as in the HTML export, without scripts, in a frame of its own."""
        html: str = _notebook().run_html(self)
        return html

    @property
    def waiting(self) -> Step | None:
        """The first step of an unfinished workflow run that waits for a confirmation; None if there is none."""
        newest: dict[tuple[str, ...], Step] = {}
        for step in self.steps or () if self.status == "unfinished" else ():
            newest[(*(step.within or ()), step.name)] = step
        return next((step for step in newest.values() if step.status == "waiting"), None)

    @property
    def question(self) -> str:
        """The text of the first message of role `user`; without one, the input if it is text; otherwise ""."""
        for message in self.messages:
            if message.role == "user":
                return message.text
        return self.input if isinstance(self.input, str) else ""

    @property
    def answer(self) -> str:
        """The text of the last message of role `assistant`; "" if there is none."""
        for message in reversed(self.messages):
            if message.role == "assistant":
                return message.text
        return ""


def _entry_type(value: Any) -> str:
    entry_type = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return entry_type if entry_type in ("run", "update") else "entry"


HistoryEntry = Annotated[
    Annotated[Run, Tag("run")] | Annotated[Update, Tag("update")] | Annotated[Entry, Tag("entry")],
    Discriminator(_entry_type),
]


@cache
def entry_adapter() -> TypeAdapter[Any]:
    """Return what makes an entry of a history of its JSON value, and checks it. It takes long to make, once."""
    return TypeAdapter(HistoryEntry)


class Origin(Record):
    """The session that a fork was made from.

    >>> Origin(session_id="s1", run_id="r3").session_id
    's1'
    """

    session_id: str
    """The original session."""
    run_id: str | None = None
    """The id of the last run that was copied into the fork; None if no run was copied."""


class Session(Record):
    """One conversation of an agent, a team or a workflow. Read it, change it, and pass it to `storage.upsert`.

    >>> session = Session(session_id="s1", history=[Run(messages=[Message(role="user", content="hi")])])
    >>> [message.text for message in session.messages()]
    ['hi']
    """

    schema_version: int = SCHEMA_VERSION
    """The version of the document format."""
    session_id: str = Field(default_factory=lambda: str(uuid4()))
    """Identifies the session in its storage."""
    kind: Annotated[Kind, OnlyOneOf(Kind)] = "agent"
    """`agent`, `team` or `workflow`."""
    agent_id: str | None = None
    """The agent, in a session of kind `agent`."""
    team_id: str | None = None
    """The team, in a session of kind `team`."""
    workflow_id: str | None = None
    """The workflow, in a session of kind `workflow`."""
    user_id: str | None = None
    """The user who owns the session; None if it has no owner."""
    name: str | None = None
    """A name for people."""
    tags: Annotated[list[str], null_as(list)] = Field(default_factory=list)
    """Words to find the session by."""
    metadata: Annotated[dict[str, Any], null_as(dict)] = Field(default_factory=dict)
    """Any JSON values that the application keeps with the session."""
    forked_from: Origin | None = None
    """The session that this one was forked from."""
    part_of: str | None = None
    """The id of the session to which this sub-session belongs; None if it is a session of its own."""
    removed: dict[str, Any] | None = None
    """The ids of the entries that were removed on purpose, each with the time of its last removal.

    A key that begins with `blake2b:` stands for many ids that were removed together.
    """
    created_at: Time = current_time()
    """When the session began."""
    history: list[HistoryEntry] = Field(default_factory=list)
    """The entries that were read, oldest first: all of them, or with `last_runs` only the newest."""

    session_state: dict[str, Any] = Field(default_factory=dict)
    """The newest state of the session, even if only a part of the history was read.

    If this field or one of the next three was changed, `upsert` adds an `update` entry.
    """
    session_summary: Any = None
    """The newest summary."""
    session_data: dict[str, Any] = Field(default_factory=dict)
    """The newest extra data."""
    instructions: str | None = None
    """The newest system prompt."""

    _base: Any = PrivateAttr(default=None)
    """The session as it was read, for a three-way merge in `upsert`. None if it was not read from a storage."""

    def __document__(self) -> dict[str, Any]:
        """Return the header as a new dict: all keys before `history`, without empty tags and metadata."""
        hidden = {"history", *SESSION_KEYS}
        header = {name: value for name, value in super().__document__().items() if name not in hidden}
        return {name: value for name, value in header.items() if value or name not in ("tags", "metadata")}

    def current(self) -> dict[str, Any]:
        """Return the newest state, summary, data and instructions as a dict by key, without empty values."""
        return {name: value for name in SESSION_KEYS if (value := getattr(self, name)) not in (None, "", {})}

    @property
    def entity_id(self) -> str | None:
        """The id of the agent, team or workflow, depending on the session's kind; None if it has none."""
        value: str | None = getattr(self, f"{self.kind}_id")
        return value

    def __repr__(self) -> str:
        return session_repr("Session", self.session_id, len(self.runs), self.user_id)

    def _repr_html_(self) -> str:
        """Return the session as a notebook shows it: as in the HTML export, without scripts, in a frame of its own."""
        html: str = _notebook().session_html(self)
        return html

    @property
    def runs(self) -> list[Run]:
        """The runs that were read, oldest first."""
        return [entry for entry in self.history if isinstance(entry, Run)]

    def messages(self, last_runs: int | None = None) -> list[Message]:
        """Return the messages of the last `last_runs` runs (None: of all runs that were read), oldest first."""
        runs = self.runs if last_runs is None else self.runs[max(0, len(self.runs) - last_runs) :]
        return [message for run in runs for message in run.messages]


def _notebook() -> Any:
    """Return the module that renders sessions and runs for notebooks.

    It is imported by name when a notebook asks for it: the exports are built on the models, and not the reverse.
    """
    return import_module("localstore.exporting.notebook")


# The first validation of a process initialises pydantic. It happens here, because a fork waits for an import: a child
# that is forked in the middle of it would wait for ever.
Run(messages=[Message(role="user", content="")]).status = "unfinished"
