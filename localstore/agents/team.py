"""A team of agents: a leader that asks its members, and one session that keeps what all of them said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, get_args

from localstore.agents.agent import Agent
from localstore.agents.run_spec import Mode, RunSpec, TeamSpec
from localstore.agents.runs.team_run import Delegate
from localstore.agents.tools.tool import tools_by_name
from localstore.models.session import Kind, Message

if TYPE_CHECKING:
    from pydantic import BaseModel

    from localstore.agents.memory_storage import AgentStorage
    from localstore.agents.models.model import Model
    from localstore.agents.tools.tool import Tool


class LeaderOptions(TypedDict, total=False):
    """What a team's leader takes as any agent does."""

    name: str | None
    description: str | None
    session_id: str | None
    user_id: str | None
    storage: AgentStorage | None
    session_state: dict[str, Any] | None
    instructions: str | Sequence[str] | None
    examples: Sequence[Message]
    tools: Sequence[Callable[..., Any] | Tool]
    max_tool_rounds: int
    show_tool_calls: bool
    response_model: type[BaseModel] | None
    add_history_to_messages: bool
    num_history_runs: int
    max_history_tokens: int | None
    read_chat_history: bool
    search_previous_sessions_history: bool
    enable_session_summaries: bool
    save_partial: bool
    strict_state: bool


class Team(Agent):
    """Answers questions with several agents. It is an agent itself, the leader, and has its methods and options.

    `mode` says how:

    - `coordinate`: the leader gives members tasks, by calls of a tool; several at once go on at the same time, and it
      may ask again. It writes the answer.
    - `route`: the leader picks one member, and the member's answer to the question is the answer.
    - `collaborate`: all members answer the question at the same time, and the leader makes one answer of theirs.

    A member is an Agent or a Team, with a name of its own. The session stores the leader's run, in which the members'
    stand as `member_runs`. Members share the team's session, user and state: each has a copy of it, and what it changed
    is taken over by top-level key when it is done; of two that change one key at once, the later one counts. A member
    with `add_history_to_messages` is given what it was asked itself earlier in this session, by its own
    `num_history_runs` and `max_history_tokens`. Its own storage, session, state and summaries are not used. What a
    member raises is told to the leader, and stands in its run.

    What a member did inside is stored with the end of the leader's run; what it answered, with the leader's round. With
    `save_partial` each member's run is stored when it is done, and the document is then written anew at the end.
    """

    kind: Kind = "team"

    def __init__(
        self,
        *,
        members: Sequence[Agent],
        model: Model,
        mode: Mode = "coordinate",
        team_id: str | None = None,
        **options: Unpack[LeaderOptions],
    ) -> None:
        """Raises TypeError and ValueError, which say what to pass."""
        if mode not in get_args(Mode):
            raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}, not {mode!r}")
        self.members = _by_name(members)
        self.mode = mode
        super().__init__(model=model, agent_id=team_id, **options)
        if mode != "collaborate":
            self.tools = tools_by_name([Delegate(self._member_specs(), routes=mode == "route"), *self.tools.values()])

    @property
    def team_id(self) -> str | None:
        """The team's id: what was given, else made of its name."""
        return self.entity_id

    def run_spec(self) -> RunSpec:
        """Return the settings for a run that begins now, with those of the members."""
        return replace(super().run_spec(), team=TeamSpec(self.mode, self._member_specs()))

    def _member_specs(self) -> dict[str, RunSpec]:
        return {name: member.run_spec() for name, member in self.members.items()}


def _by_name(members: Sequence[Agent]) -> dict[str, Agent]:
    if isinstance(members, Agent) or not all(isinstance(member, Agent) for member in members):
        raise TypeError("members must be a list of Agents and Teams")
    if not members:
        raise ValueError("A team needs at least one member: members=[Agent(name=..., ...)]")
    found: dict[str, Agent] = {}
    ids = set()
    for number, member in enumerate(members, 1):
        name = member.name or member.agent_id
        if name is None or member.agent_id is None:
            raise ValueError(f"Member {number} of the team has no name. Give it one: Agent(name=..., ...)")
        if name in found or member.agent_id in ids:
            raise ValueError(f"Two members of the team are named {name!r}. Rename one: Agent(name=..., ...)")
        found[name] = member
        ids.add(member.agent_id)
    return found
