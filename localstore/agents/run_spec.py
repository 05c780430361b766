"""What a run needs to know about its agent or team, as it is when the run begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from localstore.agents.models.model import Model
from localstore.agents.prompts.history import HistoryWindow
from localstore.agents.prompts.summary import Summaries
from localstore.agents.tools.tool import Tool
from localstore.models.session import Kind, Message

if TYPE_CHECKING:
    from pydantic import BaseModel

Mode = Literal["route", "coordinate", "collaborate"]
"""How a team answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """The settings of an agent for one run. Later changes to the agent do not reach the run."""

    kind: Kind
    entity_id: str | None
    description: str | None
    model: Model
    instructions: str
    """One text, empty if there are none, with `{key}` not yet replaced by the state."""
    examples: Sequence[Message]
    tools: Mapping[str, Tool]
    max_tool_rounds: int
    response_model: type[BaseModel] | None
    history: HistoryWindow | None
    """None: the model is given no earlier runs."""
    summaries: Summaries | None
    save_partial: bool
    team: TeamSpec | None = None

    @property
    def runs_needed(self) -> int:
        """How many of the session's last runs to read before the run."""
        own = 0 if self.history is None else self.history.runs_needed
        members = self.team.members.values() if self.team is not None else ()
        return max([own, *(member.runs_needed for member in members)])

    def nested(self) -> RunSpec:
        """Return the settings for a run inside another one, which has no summaries of its own."""
        history = None if self.history is None else replace(self.history, summaries=None)
        return replace(self, history=history, summaries=None)


@dataclass(frozen=True, slots=True)
class TeamSpec:
    """The members of a team, by name, and how the team answers."""

    mode: Mode
    members: Mapping[str, RunSpec]


@runtime_checkable
class AnyAgent(Protocol):
    """An Agent or a Team, for modules that cannot import them."""

    name: str | None
    entity_id: str | None

    def run_spec(self) -> RunSpec:
        """Return the settings for a run that begins now."""
        ...
