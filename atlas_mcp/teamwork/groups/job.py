"""One message to a group at work in this process: what every node of its graph is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atlas_mcp.errors import BudgetSpent
from atlas_mcp.model.run import Progress
from atlas_mcp.runs.changes import Spent

if TYPE_CHECKING:
    from atlas_mcp.errors import AtlasError
    from atlas_mcp.guard.leaving import Leaving
    from atlas_mcp.memory.condensing import Summaries
    from atlas_mcp.model.group import GroupSpec
    from atlas_mcp.model.turn import TurnResult
    from atlas_mcp.teamwork.contract import Agents, Journal
    from atlas_mcp.teamwork.groups.meeting import Meeting


@dataclass
class GroupJob:
    """The run, its agents, the group, its conversation and the caller's message; the summaries of such conversations,
    and whether a model makes them; the `guard` on what is said.

    `done` counts turns; `failures` are what agents failed with that went on without them.
    """

    run: Journal
    agents: Agents
    group: GroupSpec
    meeting: Meeting
    message: str
    summaries: Summaries
    by_model: bool = False
    guard: Leaving | None = None
    done: int = 0
    failures: list[AtlasError] = field(default_factory=list["AtlasError"])

    @property
    def spent(self) -> BudgetSpent | None:
        """The limit that has no room for a further turn, if one refused any: then the talk is over."""
        return next((failure for failure in self.failures if isinstance(failure, BudgetSpent)), None)

    @property
    def members(self) -> tuple[str, ...]:
        """The group's agents, without its manager."""
        return self.group.agents

    def key(self, turns: int, agent: str) -> str:
        """The key of the agent's turn at this point of the talk; the same when the run is resumed."""
        return f"{self.run.run_id}:{turns}:{agent}"

    def count(self, turn: TurnResult, total: int, text: str) -> tuple[Spent, Progress]:
        """A turn has been finished: what it cost and how far the run is now, to be written."""
        self.done += 1
        return Spent(turn.usage, turn.turn_id), Progress(done=self.done, total=max(self.done, total), text=text)
