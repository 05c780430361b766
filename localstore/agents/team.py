"""A team of agents: a leader that asks its members, and one session for all of their messages."""

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
    """The arguments of `Agent` that a team takes as well, for its leader."""

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
    """Answers questions with several agents. A team is an agent itself, the leader, with all of its methods.

    - In mode `coordinate`, the leader gives tasks to members by calling a tool, several at a time if it likes, and
      writes the answer.
    - In mode `route`, the leader picks one member, and returns its answer.
    - In mode `collaborate`, all members answer the question concurrently, and the leader combines their answers.

    The session stores the leader's run, with the runs of the members as its `member_runs`. Members use the session,
    the user and the state of the team, not their own; their own storage and summaries are not used either. Each member
    gets a copy of the state. When it is done, the top-level keys that it changed go into the state of the team; if two
    members change the same key, the later value counts. Errors of a member are reported to the leader, and are stored
    in the member's run.

    A member with `add_history_to_messages` is given what it was asked earlier in this session, within its own
    `num_history_runs` and `max_history_tokens`.

    Members' runs are stored when the leader's run ends; their answers are stored before, with the leader's round of
    tool calls. With `save_partial`, each member's run is stored when it is done, and the document is rewritten once at
    the end.

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
        **options: Unpack[LeaderOptions],
    ) -> None:
        """Create a team. Raises TypeError and ValueError, which say what to pass.

        Args:
            members: Agents and Teams, each with a name of its own.
            model: The model of the leader.
            mode: How the team answers: "coordinate", "route" or "collaborate".
            team_id: The team's id, stored with its sessions. Made from `name` by default.
            options: Any other argument of `Agent`, for the leader.
        """
        if mode not in get_args(Mode):
            raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}, not {mode!r}")
        self.members = _by_name(members)
        self.mode = mode
        super().__init__(model=model, agent_id=team_id, **options)
        if mode != "collaborate":
            self.tools = tools_by_name([Delegate(self._member_specs(), routes=mode == "route"), *self.tools.values()])

    @property
    def team_id(self) -> str | None:
        """The team's id."""
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
