"""The settings of an agent or a team for one run, taken when the run begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from localstore.agents.models.model import Model
from localstore.agents.prompts.history import HistoryWindow
from localstore.agents.prompts.summary import Summaries
from localstore.agents.tools.tool import Tool
from localstore.models.schema import Kind
from localstore.models.session import Message

if TYPE_CHECKING:
    from pydantic import BaseModel

Mode = Literal["route", "coordinate", "collaborate"]
"""How a team answers. `Team` describes the modes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """The settings of an agent for one run. Later changes to the agent do not affect the run."""

    kind: Kind
    entity_id: str | None
    description: str | None
    model: Model
    instructions: str
    """The instructions as one text, empty if there are none. `{key}` is not yet replaced by a value of the state."""
    examples: Sequence[Message]
    tools: Mapping[str, Tool]
    max_tool_rounds: int
    response_model: type[BaseModel] | None
    history: HistoryWindow | None
    """Selects the earlier runs to send to the model. None selects no runs."""
    summaries: Summaries | None
    save_partial: bool
    team: TeamSpec | None = None

    @property
    def runs_needed(self) -> int:
        """How many of the session's last runs the agent and its members need for their history."""
        own = 0 if self.history is None else self.history.runs_needed
        members = self.team.members.values() if self.team is not None else ()
        return max([own, *(member.runs_needed for member in members)])

    def nested(self) -> RunSpec:
        """Return a copy of these settings for a run inside another run: without summaries."""
        history = None if self.history is None else replace(self.history, summaries=None)
        return replace(self, history=history, summaries=None)


@dataclass(frozen=True, slots=True)
class TeamSpec:
    """The settings of a team for one run: its mode, and the settings of its members by name."""

    mode: Mode
    members: Mapping[str, RunSpec]


@runtime_checkable
class AnyAgent(Protocol):
    """An Agent or a Team. For modules that cannot import these classes."""

    name: str | None
    entity_id: str | None

    def run_spec(self, *, remembers: bool | None = None) -> RunSpec:
        """Return a snapshot of the settings for a new run. `remembers` is the default for sending history."""
        ...
