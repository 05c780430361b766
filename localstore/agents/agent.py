"""An agent: a model with tools whose conversations are stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic

from localstore.agents.agent_sessions import AgentSessions
from localstore.agents.events import Event
from localstore.agents.memory_storage import MemoryStorage
from localstore.agents.models.model import Model
from localstore.agents.prompts.history import HistoryWindow
from localstore.agents.prompts.question import Question, Source, question_messages, question_of, whole_rounds
from localstore.agents.prompts.summary import Summaries
from localstore.agents.run_spec import RunSpec
from localstore.agents.runs import driver
from localstore.agents.runs.agent_run import AgentRun
from localstore.agents.runs.run_store import SessionRunStore
from localstore.agents.runs.summary_update import SummaryUpdate
from localstore.agents.runs.team_run import new_run
from localstore.agents.session_owner import kind_of
from localstore.agents.tools.history_tools import read_chat_history as chat_history_tool
from localstore.agents.tools.history_tools import search_previous_sessions
from localstore.agents.tools.tool import Tool, tools_by_name
from localstore.models.schema import Kind
from localstore.models.session import Message, Parsed, Run
from localstore.storage.arguments import check_count, check_flag, check_text, optional
from localstore.storage.contract import AgentStorage
from localstore.storage.threads import run_in_thread

if TYPE_CHECKING:
    from pydantic import BaseModel


class Agent(AgentSessions, Generic[Parsed]):
    """Answers questions with a model and its tools, and stores each run in a session.

    The question is stored as an unfinished run before the model is called, and each round of tool calls is stored when
    it ends. Storing the answer, or the error that the run failed with, finishes the run. The cost of a run does not
    depend on the length of the session. Without `storage`, sessions are kept in memory.

    **History.** An agent with a storage remembers: the model also receives the session's last three completed runs.
    `num_history_runs` changes their number, and `add_history_to_messages=False` turns the history off. An agent without
    a storage sends history only with `add_history_to_messages=True`.

    **State.** At the start of a run, `session_state` is updated to the stored state of the session, except for the
    top-level keys that the caller has changed on `agent.session_state` in the meantime. Changes made by the run's tools
    or by the caller are stored with the run. If another run changed the same key in the meantime, the later value is
    kept, and the run lists the key in its `state_conflicts`.

    Several threads and tasks may use one agent at the same time, also for different sessions
    (`run(..., session_id=, user_id=)`): each run has a copy of its session's state. A session that is deleted after the
    agent has read or written it is not created again: `run` raises SessionNotFound.

    >>> from localstore import Agent, FunctionModel
    >>> agent = Agent(model=FunctionModel(lambda messages: f"You said: {messages[-1].text}"))
    >>> agent.run("hello").answer
    'You said: hello'
    """

    checks: ClassVar = {
        **AgentSessions.checks,
        "description": check_text,
        "max_tool_rounds": check_count,
        "show_tool_calls": check_flag,
        "add_history_to_messages": optional(check_flag),
        "num_history_runs": check_count,
        "max_history_tokens": optional(check_count),
        "save_partial": check_flag,
    }

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
        session_state: dict[str, Any] | BaseModel | None = None,
        state_model: type[BaseModel] | None = None,
        instructions: str | Sequence[str] | None = None,
        examples: Sequence[Message] = (),
        tools: Sequence[Callable[..., Any] | Tool] = (),
        max_tool_rounds: int = 10,
        show_tool_calls: bool = False,
        response_model: type[Parsed] | None = None,
        add_history_to_messages: bool | None = None,
        num_history_runs: int = 3,
        max_history_tokens: int | None = None,
        read_chat_history: bool = False,
        search_previous_sessions_history: bool = False,
        enable_session_summaries: bool = False,
        save_partial: bool = False,
        strict_state: bool = False,
    ) -> None:
        """Create an agent. Raises TypeError or ValueError if an argument is invalid; the message says what to pass.

        Args:
            model: The model that answers, such as `OpenAIChat(id=...)` or `FunctionModel(function)`.
            name: The agent's name, shown to people.
            agent_id: The id to store with the agent's sessions. Derived from `name` by default.
            description: What the agent does, for the leader of a team.
            session_id: The session to use; it may exist already. A new one by default.
            user_id: The owner of the sessions.
            storage: Where sessions are stored, such as `JsonStorage(path)`.
            session_state: The initial state: it applies to keys that the session does not have yet.
            state_model: A pydantic class for the state. `session_state` stays a dict, but its values have the types of
                the fields, also after the session was read again: sets, dates, models. Without it, values come back as
                JSON values, and a warning names those that change their type.
            instructions: The system message. `{key}` is replaced by the value of that key in the state.
            examples: Messages between the instructions and the history, to show the model how to answer.
            tools: Functions that the model may call. Tool exceptions are reported to the model.
            max_tool_rounds: The maximum number of rounds of tool calls before the model must answer.
            show_tool_calls: Whether `print_response` and `cli_app` show tool calls.
            response_model: A pydantic class for the answer, which is then available as `run.parsed` and `run.output`.
            add_history_to_messages: Whether to send the model the session's last completed runs. The default is to send
                them if there is a `storage`.
            num_history_runs: The maximum number of runs to send.
            max_history_tokens: The maximum number of tokens in the history, estimated as a quarter of its size in
                bytes. The newest runs that fit are sent, and no run is sent in part. None means no limit.
            read_chat_history: Whether the model gets a tool that reads older runs of the session.
            search_previous_sessions_history: Whether the model gets a tool that searches the user's other sessions.
            enable_session_summaries: Whether the model summarises runs that are too old for the history. The summary is
                stored as `session_summary` and sent to the model in place of those runs.
            save_partial: Whether to store a partial answer about five times a second, so that it survives a crash.
            strict_state: Whether the run fails with StateConflict if another run has changed the same key of the state.
        """
        if isinstance(model, type):
            raise TypeError(f"model must be an instance of {model.__name__}, not the class: {model.__name__}(...)")
        if not hasattr(model, "respond"):
            example = "FunctionModel(function)" if callable(model) else f"OpenAIChat(id={str(model)!r})"
            raise TypeError(f"model must be a model such as {example}, not {kind_of(model)}")
        if not isinstance(instructions, str | None) and not _are_all(instructions, str):
            raise TypeError("instructions must be text or a list of texts")
        if not _are_all(examples, Message):
            raise TypeError("examples must be a list of Messages, such as storage.examples()")
        if response_model is not None and not hasattr(response_model, "model_validate_json"):
            raise TypeError(f"response_model must be a class of pydantic.BaseModel, not {response_model!r}")
        super().__init__(
            name=name,
            entity_id=agent_id,
            session_id=session_id,
            user_id=user_id,
            storage=storage,
            session_state=session_state,
            state_model=state_model,
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
        kept = num_history_runs if self._sends_history(None) else 0
        self._summaries = Summaries(kept) if enable_session_summaries else None
        check_flag("read_chat_history", read_chat_history)
        check_flag("search_previous_sessions_history", search_previous_sessions_history)
        check_flag("enable_session_summaries", enable_session_summaries)
        own_tools: list[Tool] = []
        if read_chat_history:
            own_tools.append(chat_history_tool(self.sessions("read_chat_history")))
        if search_previous_sessions_history:
            own_tools.append(search_previous_sessions(self.sessions("search_previous_sessions_history")))
        self.tools = tools_by_name([*tools_by_name(tools).values(), *own_tools])

    @property
    def agent_id(self) -> str | None:
        """The id stored with the agent's sessions, or None if the agent has neither an id nor a name."""
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
    ) -> Run[Parsed]:
        """Ask the model a question, store the run, and return it.

        If the model raises an error, the run is stored with status `error` (`cancelled` for KeyboardInterrupt) and the
        part of the answer that was received. Then the error is raised again.

        Args:
            message: The question: text, a Message, or several Messages.
            images: URLs or paths of images to send with the question.
            files: URLs or paths of files to send with the question.
            session_id: The session to use instead of the agent's current one.
            user_id: The user to use instead of the agent's `user_id`.

        Raises FileNotFoundError if a file does not exist, and ResponseInvalid if the answer does not fit
        `response_model`. May raise an error of the storage: OwnerMismatch, SessionNotFound, KindMismatch,
        DocumentBroken, UnstorableValue, StateConflict, LockTimeout or OSError. Errors that can be detected before the
        model is called are raised before. If an error is raised after the model has answered, its attribute `run` is
        the run with the answer.

        >>> from localstore import Agent, FunctionModel
        >>> agent = Agent(model=FunctionModel(lambda messages: "It is 42."))
        >>> run = agent.run("What is the answer?")
        >>> run.status, run.answer
        ('completed', 'It is 42.')
        """
        return driver.run(self._new_question(message, images, files, session_id, user_id).execute)

    async def arun(
        self,
        message: Question,
        *,
        images: Sequence[Source] = (),
        files: Sequence[Source] = (),
        session_id: str | None = None,
        user_id: str | None = None,
    ) -> Run[Parsed]:
        """Do the same as `run` without blocking the event loop. Cancelling the task cancels the run.

        Async tools that the model calls in the same round run concurrently.
        """
        return await driver.arun(self._new_question(message, images, files, session_id, user_id).execute)

    def stream(
        self,
        message: Question,
        *,
        images: Sequence[Source] = (),
        files: Sequence[Source] = (),
        session_id: str | None = None,
        user_id: str | None = None,
    ) -> Generator[Event]:
        """Ask the model a question, and yield the events of the run as they happen. The last event is RunFinished.

        The arguments and errors are those of `run`. If the generator is closed early, for example by leaving a `for`
        loop, the run is stored as `cancelled` with the part of the answer that was received.

        >>> from localstore import Agent, FunctionModel
        >>> from localstore.agents.events import TextDelta
        >>> agent = Agent(model=FunctionModel(lambda messages: iter(["It is ", "42."])))
        >>> [event.text for event in agent.stream("What is the answer?") if isinstance(event, TextDelta)]
        ['It is ', '42.']
        """
        return driver.stream_events(self._new_question(message, images, files, session_id, user_id).execute)

    def astream(
        self,
        message: Question,
        *,
        images: Sequence[Source] = (),
        files: Sequence[Source] = (),
        session_id: str | None = None,
        user_id: str | None = None,
    ) -> AsyncIterator[Event]:
        """Do the same as `stream` without blocking the event loop."""
        return driver.astream_events(self._new_question(message, images, files, session_id, user_id).execute)

    def resume(self) -> Run[Parsed] | None:
        """Continue the session's last run if it is not completed; return it, or None if there is nothing to resume.

        An unfinished run continues after its last complete round of tool calls. If another process is still working on
        it, the process that stores later raises Conflict. A failed or cancelled run is not changed; its question is
        asked in a new run. Raises the same errors as `run`.
        """
        resumed = self._run_to_resume()
        return None if resumed is None else driver.run(resumed.execute)

    async def aresume(self) -> Run[Parsed] | None:
        """Do the same as `resume` without blocking the event loop."""
        resumed = await run_in_thread(self._run_to_resume)
        return None if resumed is None else await driver.arun(resumed.execute)

    def stream_resumed(self) -> Generator[Event]:
        """Do the same as `resume`, and yield events as they happen; yield none if there is nothing to resume."""
        resumed = self._run_to_resume()
        if resumed is not None:
            yield from driver.stream_events(resumed.execute)

    def _new_question(
        self,
        message: Question,
        images: Sequence[Source],
        files: Sequence[Source],
        session_id: str | None,
        user_id: str | None,
    ) -> AgentRun:
        run = Run(messages=question_messages(message, images, files), status="unfinished")
        return self._new_run(run, session_id or self.session_id, user_id or self.user_id)

    def _run_to_resume(self) -> AgentRun | None:
        session = self.read(self.session_id, self.user_id, 1)
        if session is None or not session.runs or session.runs[-1].status == "completed":
            return None
        last = session.runs[-1]
        if last.status == "unfinished":
            whole = whole_rounds(last.messages)
            if len(whole) < len(last.messages):  # new messages cannot be appended after a partial answer
                last.messages = whole
                self.store_changes(session)
            return self._new_run(last.model_copy(deep=True), self.session_id, self.user_id, is_stored=True)
        run = Run(messages=question_of(last.messages), status="unfinished")
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
        """Ask the model a question, and print the answer as it arrives.

        On a terminal, the answer is shown in a panel; otherwise it is printed as plain text.

        Args:
            message: The question.
            images: URLs or paths of images to send with the question.
            files: URLs or paths of files to send with the question.
            markdown: Whether to render the answer as Markdown, on a terminal or in a Jupyter notebook.
            show_message: Whether to print the question as well.

        If the agent has `show_tool_calls`, each tool call and a shortened result are printed too. Raises the same
        errors as `run`.
        """
        from localstore.agents.terminal.response import print_response

        question = "\n".join(item.text for item in question_messages(message)) if show_message else None
        events = self.stream(message, images=images, files=files)
        print_response(question, events, markdown=markdown, tool_calls=self.show_tool_calls)

    def cli_app(self, *, markdown: bool = True) -> None:
        """Run an interactive chat at the terminal: questions, streamed answers, and commands (`/help` lists them).

        Ctrl-C stops an answer, and `bye` or Ctrl-D ends the chat. An error of the model or the storage is shown on one
        line, and the chat continues. If standard input is not a terminal, each line of it is a question, and only the
        answers are written to standard output, as plain text. If `markdown` is true, answers on a terminal are rendered
        as Markdown.
        """
        from localstore.agents.terminal.chat import Chat

        Chat(self, markdown=markdown).run()

    # Settings of a run

    kind: Kind = "agent"

    def run_spec(self, *, remembers: bool | None = None) -> RunSpec:
        """Return a snapshot of the settings for a new run.

        `remembers` decides about the history if `add_history_to_messages` is None. If both are None, the history is
        sent if the agent has a storage.
        """
        window = None
        if self._sends_history(remembers):
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

    def _sends_history(self, remembers: bool | None) -> bool:
        if self.add_history_to_messages is not None:
            return self.add_history_to_messages
        return not isinstance(self.storage, MemoryStorage) if remembers is None else remembers

    def _new_run(self, run: Run, session_id: str, user_id: str | None, *, is_stored: bool = False) -> AgentRun:
        self._undoing = None
        spec = self.run_spec()
        agent_run = new_run(spec, run, SessionRunStore(self, session_id, user_id, is_stored))
        if spec.summaries is not None:
            agent_run.summary_update = SummaryUpdate(spec.summaries, spec.model, self, session_id, user_id)
        return agent_run


def _are_all(values: object, kind: type) -> bool:
    return isinstance(values, Iterable) and all(isinstance(value, kind) for value in values)
