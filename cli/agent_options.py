"""The options of the commands in which an agent answers, and the agent that they describe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from localstore.models.filter import LISTED

from . import output
from .model_options import (
    DEFAULT_MODEL,
    base_url_option,
    find_key,
    make_model,
    max_tokens_option,
    model_of,
    temperature_option,
)

if TYPE_CHECKING:
    from localstore.agents.agent import Agent
    from localstore.agents.tools.tool import Tool
    from localstore.models.session import Session
    from localstore.models.session_info import SessionInfo
    from localstore.storage.contract import SessionStorage

HISTORY_RUNS, HISTORY_TOKENS = 20, 6000
"""The history that the model receives: at most this many runs and tokens."""

_OPTIONS = (
    click.option(
        "--model", metavar="NAME", help=f"Use this model. Default: the session's last model, else {DEFAULT_MODEL}."
    ),
    base_url_option,
    click.option(
        "--user", metavar="USER", help="Continue only sessions of this user. A new session belongs to this user."
    ),
    click.option("--system", metavar="TEXT", help="Send TEXT as the system message. Default: the session's own."),
    max_tokens_option,
    temperature_option,
    click.option("--tools", metavar="FILE.py", help="Let the model call the public functions of this Python file."),
)


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """The values of the options that describe an agent."""

    model: str | None
    base_url: str | None
    user: str | None
    system: str | None
    max_tokens: int | None
    temperature: float | None
    tools: tuple[Tool, ...]

    def system_message(self, session: Session | None) -> str | None:
        """Return the instructions for a session: those of the option, otherwise its own."""
        return self.system or (session.instructions if session is not None else None)

    def newest_session(self, storage: SessionStorage) -> SessionInfo | None:
        """Return the most recently active session of an agent and of this user, or None if there is none.

        Archived sessions do not count.
        """
        rows = storage.list_sessions(where=replace(LISTED, user=self.user, kind="agent"), limit=1)
        return rows[0] if rows else None

    def make_agent(self, storage: SessionStorage, info: SessionInfo | None) -> Agent:
        """Return an agent in a session of the store, or in a new one if `info` is None.

        Its model is that of the option, else the session's last one, else DEFAULT_MODEL. Raises UsageError if the last
        one is not on a server, SessionNotFound if this user has no such session, and KindMismatch if it is no agent's.
        """
        from localstore.agents.agent import Agent

        session = None if info is None else storage.read(info.session_id, last_runs=HISTORY_RUNS)
        model = self.model or (session and model_of(session)) or DEFAULT_MODEL
        agent: Agent = Agent(
            model=make_model(model, self.base_url, max_tokens=self.max_tokens, temperature=self.temperature),
            instructions=self.system_message(session),
            tools=self.tools,
            show_tool_calls=output.to_terminal(),
            user_id=self.user,
            storage=storage,
            num_history_runs=HISTORY_RUNS,
            max_history_tokens=HISTORY_TOKENS,
            save_partial=True,
        )
        if info is not None:
            agent.load_session(info.session_id)
        return agent


def agent_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that describe an agent to a command, which gets them as one AgentOptions named `options`.

    Raises UsageError before the command is called if a value is invalid, or there is no API key.
    """

    @wraps(command)
    def with_options(**values: Any) -> Any:
        fields = {name: values.pop(name) for name in AgentOptions.__slots__}
        for name in ("user", "model", "tools"):
            if fields[name] == "":
                raise click.UsageError(f"--{name} is empty", click.get_current_context())
        find_key(fields["base_url"])
        fields["tools"] = () if fields["tools"] is None else _read_tools(fields["tools"])
        return command(**values, options=AgentOptions(**fields))

    for option in reversed(_OPTIONS):
        option(with_options)
    return with_options


def _read_tools(file: str) -> tuple[Tool, ...]:
    from .tool_file import read_tools

    return tuple(read_tools(file))
