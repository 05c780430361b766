"""A team of agents: a leader that asks its members, with one session for all their messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypedDict, Unpack, get_args

from localstore.agents.agent import Agent
from localstore.agents.run_spec import Mode, RunSpec, TeamSpec
from localstore.agents.runs.team_run import Delegate
from localstore.agents.tools.tool import tools_by_name
from localstore.models.nearest import not_one_of
from localstore.models.schema import Kind
from localstore.models.session import Message, Parsed

if TYPE_CHECKING:
    from pydantic import BaseModel

    from localstore.agents.models.model import Model
    from localstore.agents.tools.tool import Tool
    from localstore.storage.contract import AgentStorage


class LeaderOptions(TypedDict, Generic[Parsed], total=False):
    """The arguments of `Agent` that `Team` also accepts, for its leader."""

    name: str | None
    description: str | None
    session_id: str | None
    user_id: str | None
    storage: AgentStorage | None
    session_state: dict[str, Any] | BaseModel | None
    state_model: type[BaseModel] | None
    instructions: str | Sequence[str] | None
    examples: Sequence[Message]
    tools: Sequence[Callable[..., Any] | Tool]
    max_tool_rounds: int
    show_tool_calls: bool
    response_model: type[Parsed] | None
    add_history_to_messages: bool | None
    num_history_runs: int
    max_history_tokens: int | None
    read_chat_history: bool
    search_previous_sessions_history: bool
    enable_session_summaries: bool
    save_partial: bool
    strict_state: bool


class Team(Agent[Parsed]):
    """Answers questions with several agents. A team is itself an agent, the leader, and has all methods of Agent.

    - In mode `coordinate`, the leader assigns tasks to members by calling a tool, several at a time if it chooses to,
      and writes the answer.
    - In mode `route`, the leader picks one member, whose answer becomes the team's answer.
    - In mode `collaborate`, all members answer the question concurrently, and the leader combines their answers.

    The session stores the leader's run, with the members' runs as its `member_runs`. Members use the team's session,
    user, state and storage instead of their own, and make no summaries. Each member works on a copy of the state. When
    it is done, the top-level keys that it changed are copied to the team's state; if two members change the same key,
    the later value is kept. An error of a member is stored in the member's run and reported to the leader.

    If the team sends history to its leader, as it does by default with a storage, each member also receives its own
    earlier questions and answers in this session, limited by its own `num_history_runs` and `max_history_tokens`. A
    member's own `add_history_to_messages` overrides this.

    Members' runs are stored when the leader's run ends; their answers are stored earlier, with the leader's round of
    tool calls. With `save_partial`, each member's run is stored as soon as it ends, and the document is rewritten once
    at the end.

    >>> from localstore import Agent, FunctionModel, Team
    >>> anna = Agent(model=FunctionModel(lambda messages: "By train."), name="Anna")
    >>> team = Team(members=[anna], mode="collaborate", model=FunctionModel(lambda messages: "Take the train."))
    >>> run = team.run("How do I get to Graz?")
    >>> run.answer, [member_run.answer for member_run in run.member_runs]
    ('Take the train.', ['By train.'])
    """

    kind: Kind = "team"

    def __init__(
        self,
        *,
        members: Sequence[Agent],
        model: Model,
        mode: Mode = "coordinate",
        team_id: str | None = None,
        **options: Unpack[LeaderOptions[Parsed]],
    ) -> None:
        """Create a team. Raises TypeError or ValueError if an argument is invalid; the message says what to pass.

        Args:
            members: Agents and Teams. Each needs a name, and no two may have the same one.
            model: The model of the leader.
            mode: How the team answers: "coordinate", "route" or "collaborate".
            team_id: The id to store with the team's sessions. Derived from `name` by default.
            options: Other arguments of `Agent`, which apply to the leader. LeaderOptions lists them.
        """
        if mode not in get_args(Mode):
            raise ValueError(f"mode {not_one_of(mode, get_args(Mode))}")
        self.members = _by_name(members)
        self.mode = mode
        super().__init__(model=model, agent_id=team_id, **options)
        if mode != "collaborate":
            self.tools = tools_by_name(
                [Delegate(self._member_specs(remembers=False), routes=mode == "route"), *self.tools.values()]
            )

    @property
    def team_id(self) -> str | None:
        """The id stored with the team's sessions, or None if the team has neither an id nor a name."""
        return self.entity_id

    def run_spec(self, *, remembers: bool | None = None) -> RunSpec:
        """Return a snapshot of the settings of the team and its members for a new run.

        `remembers` is as in `Agent.run_spec`. Members send history if the team does, unless they are set otherwise.
        """
        spec = super().run_spec(remembers=remembers)
        return replace(spec, team=TeamSpec(self.mode, self._member_specs(remembers=spec.history is not None)))

    def _member_specs(self, *, remembers: bool) -> dict[str, RunSpec]:
        return {name: member.run_spec(remembers=remembers) for name, member in self.members.items()}


def _by_name(members: Sequence[Agent]) -> dict[str, Agent]:
    if not isinstance(members, Iterable) or not all(isinstance(member, Agent) for member in members):
        raise TypeError("members must be a list of Agents and Teams")
    if not members:
        raise ValueError("A team needs at least one member: members=[Agent(name=..., ...)]")
    by_name: dict[str, Agent] = {}
    ids = set()
    for number, member in enumerate(members, 1):
        name = member.name or member.agent_id
        if name is None or member.agent_id is None:
            raise ValueError(f"Member {number} of the team has no name. Give it one: Agent(name=..., ...)")
        if name in by_name or member.agent_id in ids:
            raise ValueError(f"Two members of the team are named {name!r}. Rename one: Agent(name=..., ...)")
        by_name[name] = member
        ids.add(member.agent_id)
    return by_name
