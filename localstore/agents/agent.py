"""An agent that remembers: it asks a model, and a storage keeps every run of the conversation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from localstore.agents.events import Event
from localstore.agents.memory_storage import AgentStorage
from localstore.agents.models.model import Model
from localstore.agents.prompts.history import HistoryWindow
from localstore.agents.prompts.question import Question, Source, messages_of, only_asked, whole_rounds
from localstore.agents.prompts.summary import Summaries
from localstore.agents.run_spec import RunSpec
from localstore.agents.runs import driver
from localstore.agents.runs.agent_run import AgentRun
from localstore.agents.runs.run_store import SessionRunStore
from localstore.agents.runs.summary_update import SummaryUpdate
from localstore.agents.runs.team_run import new_run
from localstore.agents.session_owner import SessionOwner, kind_of
from localstore.agents.threads import run_in_thread
from localstore.agents.tools.history_tools import read_chat_history as chat_history_tool
from localstore.agents.tools.history_tools import search_previous_sessions
from localstore.agents.tools.tool import Tool, tools_by_name
from localstore.models.session import Kind, Message, Run

if TYPE_CHECKING:
    from pydantic import BaseModel


class Agent(SessionOwner):
    """Answers questions with a model and its tools, and stores each run in a session.

    The question is stored as an unfinished run before the model is called, each round of tool calls is stored when it
    is done, and the answer, or how it failed, finishes the run. The cost of a run does not depend on the length of the
    session. Without `storage` the runs are kept in memory.

    **Tools** are functions (or `Tool`s); what one raises is told to the model. After `max_tool_rounds` rounds the
    model has to answer. With `response_model`, a pydantic class, the answer is data: `run.output`, `run.parsed`.

    **Memory.** With `add_history_to_messages` the model is given the last `num_history_runs` completed runs, as many
    as fit into `max_history_tokens` (estimated: a quarter of the bytes). `read_chat_history` gives it a tool for older
    ones, `search_previous_sessions_history` one for the user's other sessions. `enable_session_summaries` keeps a
    `session_summary` of the runs that fell out of the history and gives that to the model instead. `examples` are
    messages that stand between the instructions and the history.

    **State.** `session_state` follows the session: at the start of a run it takes over what is stored there, except
    for the top-level keys that were changed on `agent.session_state` since; what the run's tools, or the owner, changed
    is stored with the run. A key that another run changed meanwhile as well is named in the run's `state_conflicts`,
    and the later value counts; with `strict_state` the run fails with StateConflict. The state that the agent is made
    with holds where the session has none. `{key}` in the instructions stands for a key of the state.

    `description` is what the leader of a team is told of this agent.

    `save_partial` stores what has been streamed about five times a second, so that it survives a kill.

    One agent may be used by several threads and tasks, and for several sessions at once (`run(..., session_id=,
    user_id=)`): each run has a copy of its session's state. A session that was deleted after the agent has seen it does
    not come back: `run` raises SessionNotFound.
    """

    def __init__(
        self,
        *,
        model: Model,
        name: str | None = None,
        agent_id: str | None = None,
        description: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
        storage: AgentStorage | None = None,
        session_state: dict[str, Any] | None = None,
        instructions: str | Sequence[str] | None = None,
        examples: Sequence[Message] = (),
        tools: Sequence[Callable[..., Any] | Tool] = (),
        max_tool_rounds: int = 10,
        show_tool_calls: bool = False,
        response_model: type[BaseModel] | None = None,
        add_history_to_messages: bool = False,
        num_history_runs: int = 3,
        max_history_tokens: int | None = None,
        read_chat_history: bool = False,
        search_previous_sessions_history: bool = False,
        enable_session_summaries: bool = False,
        save_partial: bool = False,
        strict_state: bool = False,
    ) -> None:
        """Raises TypeError and ValueError, which say what to pass."""
        if not hasattr(model, "respond"):
            raise TypeError(f"model must be a model such as OpenAIChat(id={str(model)!r}), not {kind_of(model)}")
        if response_model is not None and not hasattr(response_model, "model_validate_json"):
            raise TypeError(f"response_model must be a class of pydantic.BaseModel, not {response_model!r}")
        super().__init__(
            name=name,
            entity_id=agent_id,
            session_id=session_id,
            user_id=user_id,
            storage=storage,
            session_state=session_state,
            strict_state=strict_state,
        )
        self.model = model
        self.description = description
        self.instructions = instructions
        self.examples = list(examples)
        self.max_tool_rounds = max_tool_rounds
        self.show_tool_calls = show_tool_calls
        self.response_model = response_model
        self.add_history_to_messages = add_history_to_messages
        self.num_history_runs = num_history_runs
        self.max_history_tokens = max_history_tokens
        self.save_partial = save_partial
        self._summaries = (
            Summaries(num_history_runs if add_history_to_messages else 0) if enable_session_summaries else None
        )
        more = list(tools)
        if read_chat_history:
            more.append(chat_history_tool(self.sessions("read_chat_history")))
        if search_previous_sessions_history:
            more.append(search_previous_sessions(self.sessions("search_previous_sessions_history")))
        self.tools = tools_by_name(more)

    @property
    def agent_id(self) -> str | None:
        """The agent's id: what was given, else made of its name."""
        return self.entity_id

    # Running

    def run(
        self,
        message: Question,
        *,
        images: Sequence[Source] = (),
        files: Sequence[Source] = (),
        session_id: str | None = None,
        user_id: str | None = None,
    ) -> Run:
        """Ask the model and return the stored run. `images` and `files` (URLs or paths) belong to the question.

        What the model raises is raised again after the run was stored with status `error`, or `cancelled` for
        KeyboardInterrupt, with what had arrived. Errors of the storage: OwnerMismatch, SessionNotFound, KindMismatch,
        DocumentBroken, UnstorableValue, StateConflict, LockTimeout, OSError; those that are known before the model is
        called are raised before, and one that is raised behind the answer has it as its attribute `run`. Raises
        ResponseInvalid for an answer that is no `response_model`, FileNotFoundError for a file that is not there.
        """
        return driver.run(self._asking(message, images, files, session_id, user_id).execute)

    async def arun(
        self,
        message: Question,
        *,
        images: Sequence[Source] = (),
        files: Sequence[Source] = (),
        session_id: str | None = None,
        user_id: str | None = None,
    ) -> Run:
        """Do what `run` does without blocking the event loop. A cancelled task leaves a run `cancelled`.

        Async tools that the model calls in one round run at once.
        """
        return await driver.arun(self._asking(message, images, files, session_id, user_id).execute)

    def stream(
        self,
        message: Question,
        *,
        images: Sequence[Source] = (),
        files: Sequence[Source] = (),
        session_id: str | None = None,
        user_id: str | None = None,
    ) -> Generator[Event]:
        """Ask the model, and give what happens as it happens; the last event is RunFinished.

        Raises what `run` raises. Whoever stops early (`close()`, or the end of a `for` that is left) cancels the run:
        it is stored as `cancelled`, with what had arrived.
        """
        return driver.stream_events(self._asking(message, images, files, session_id, user_id).execute)

    def astream(
        self,
        message: Question,
        *,
        images: Sequence[Source] = (),
        files: Sequence[Source] = (),
        session_id: str | None = None,
        user_id: str | None = None,
    ) -> AsyncIterator[Event]:
        """Do what `stream` does without blocking the event loop."""
        return driver.astream_events(self._asking(message, images, files, session_id, user_id).execute)

    def resume(self) -> Run | None:
        """Run the session's last run again when it was never finished, failed, or was cancelled; None when there is
        nothing to resume.

        An unfinished one goes on behind its last whole round of tool calls and is finished in its place. It may be at
        work in another process: then the later of the two raises Conflict. A failed or cancelled one stays as it is,
        and its question is asked in a new run. Raises what `run` raises.
        """
        resumed = self._resuming()
        return None if resumed is None else driver.run(resumed.execute)

    async def aresume(self) -> Run | None:
        """Do what `resume` does without blocking the event loop."""
        resumed = await run_in_thread(self._resuming)
        return None if resumed is None else await driver.arun(resumed.execute)

    def stream_resumed(self) -> Generator[Event]:
        """Do what `resume` does, and give what happens as it happens; no event when there is nothing to resume."""
        resumed = self._resuming()
        if resumed is not None:
            yield from driver.stream_events(resumed.execute)

    def _asking(
        self,
        message: Question,
        images: Sequence[Source],
        files: Sequence[Source],
        session_id: str | None,
        user_id: str | None,
    ) -> AgentRun:
        run = Run(messages=messages_of(message, images, files), status="unfinished")
        return self._new_run(run, session_id or self.session_id, user_id or self.user_id)

    def _resuming(self) -> AgentRun | None:
        session = self.read(self.session_id, self.user_id, 1)
        if session is None or not session.runs or session.runs[-1].status == "completed":
            return None
        last = session.runs[-1]
        if last.status == "unfinished":
            whole = whole_rounds(last.messages)
            if len(whole) < len(last.messages):  # what was half said would be in the way of what comes now
                last.messages = whole
                self.store_changes(session)
            return self._new_run(last.model_copy(deep=True), self.session_id, self.user_id, is_stored=True)
        run = Run(messages=only_asked(last.messages), status="unfinished")
        return self._new_run(run, self.session_id, self.user_id)

    def print_response(
        self,
        message: Question,
        *,
        images: Sequence[Source] = (),
        files: Sequence[Source] = (),
        markdown: bool = False,
        show_message: bool = True,
    ) -> None:
        """Run, and print the question (with `show_message`) and the answer as it arrives: panels on a terminal, else
        plain text.

        `markdown` renders the answer as Markdown on a terminal. With `show_tool_calls` each tool call is printed, and
        in short what it gave. Raises what `run` raises.
        """
        from localstore.agents.terminal.response import print_response

        question = "\n".join(item.text for item in messages_of(message)) if show_message else None
        events = self.stream(message, images=images, files=files)
        print_response(question, events, markdown=markdown, tool_calls=self.show_tool_calls)

    def cli_app(self, *, markdown: bool = True) -> None:
        """Talk with the person at the terminal until they say bye: questions, streamed answers, and commands
        (`/help` lists them) for the sessions of this agent's user.

        Ctrl-C stops an answer; errors of the model and the storage are told in one line, and the talk goes on. Lines
        that do not come from a terminal are questions as well: then the answers alone go to the standard output, as
        plain text.
        """
        from localstore.agents.terminal.chat import Chat

        Chat(self, markdown=markdown).run()

    # Sessions

    def get_messages_for_session(self, session_id: str | None = None) -> list[Message]:
        """All messages of this session or of another one of this user, oldest first; none when it does not exist."""
        session = self.storage.read(session_id or self.session_id, user_id=self.user_id)
        return [] if session is None else session.messages()

    def fork(self, run_id: str | None = None, *, session_id: str | None = None) -> str:
        """Go on in a new session that continues from a run of this one (the last one, when None); returns its id.

        Its header says where it comes from. This session stays as it is. Raises SessionNotFound, LookupError for a run
        that is not there, Conflict when there is a session `session_id`.
        """
        from localstore.storage.branching import fork

        storage = self.sessions("fork")
        forked = fork(storage, self.session_id, run_id, new_id=session_id, user_id=self.user_id)
        self.follow(forked, self.read(forked, self.user_id, 0))
        return forked

    def undo(self) -> Run | None:
        """Take the last run out of the session and return it; None when there is none. The state goes back as well.

        The run is set aside in the store: `localstore rescue` lists it and puts it back. Raises SessionNotFound,
        OwnerMismatch.
        """
        from localstore.storage.branching import undo

        undone = undo(self.sessions("undo"), self.session_id, user_id=self.user_id)
        self.follow(self.session_id, self.read(self.session_id, self.user_id, 0))
        return None if undone is None else undone.run

    # What a run needs

    kind: Kind = "agent"

    def run_spec(self) -> RunSpec:
        """Return the settings for a run that begins now."""
        window = None
        if self.add_history_to_messages:
            window = HistoryWindow(self.num_history_runs, self.max_history_tokens, self._summaries)
        instructions = self.instructions
        return RunSpec(
            kind=self.kind,
            entity_id=self.entity_id,
            description=self.description,
            model=self.model,
            instructions=instructions if isinstance(instructions, str) else "\n".join(instructions or ()),
            examples=tuple(self.examples),
            tools=dict(self.tools),
            max_tool_rounds=self.max_tool_rounds,
            response_model=self.response_model,
            history=window,
            summaries=self._summaries,
            save_partial=self.save_partial,
        )

    def _new_run(self, run: Run, session_id: str, user_id: str | None, *, is_stored: bool = False) -> AgentRun:
        spec = self.run_spec()
        new = new_run(spec, run, SessionRunStore(self, session_id, user_id, is_stored))
        if spec.summaries is not None:
            new.summary_update = SummaryUpdate(spec.summaries, spec.model, self, session_id, user_id)
        return new
