"""Groups: named agents with a manager that says who speaks when. Groups only refer to agents, and may overlap."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from atlas_mcp.model._base import Frozen
from atlas_mcp.model.usage import Usage

MAX_MEMBERS = 12
MAX_TURNS = 24
"""Turns of members that one message to a group can cause; what needs more is work for a team."""

ManagerType = Literal["round_robin", "supervisor", "dynamic", "sleeptime"]
Source = Literal["caller", "agent", "system", "tool"]
Pattern = Literal["repeat", "cycle", "escalate", "stuck", "limit", "budget"]
Turns = Annotated[int, Field(ge=1, le=MAX_TURNS)]


class RoundRobin(Frozen):
    """Each agent in the order of the list; `max_turns` turns in all, one each if it is not given."""

    type: Literal["round_robin"] = "round_robin"
    max_turns: Turns | None = None


class Supervisor(Frozen):
    """The manager puts the matter to all agents at once, and answers the caller from what they say."""

    type: Literal["supervisor"] = "supervisor"
    agent: str


class Dynamic(Frozen):
    """Before each turn the manager says who speaks, until it or a speaker says `termination_token`, or `max_turns`."""

    type: Literal["dynamic"] = "dynamic"
    agent: str
    max_turns: Turns | None = None
    termination_token: str = Field(default="DONE!", min_length=1, max_length=40)


class Sleeptime(Frozen):
    """The manager answers; afterwards, out of the caller's way, the other agents read along and tend the memory.

    They do so once `frequency` messages of the caller's have come since they last did, or once there is a message and
    `seconds` have passed.
    """

    type: Literal["sleeptime"] = "sleeptime"
    agent: str
    frequency: int = Field(default=5, ge=1, le=1_000)
    seconds: int = Field(default=3_600, ge=1)


Manager: TypeAlias = Annotated[RoundRobin | Supervisor | Dynamic | Sleeptime, Field(discriminator="type")]


class GroupSpec(Frozen):
    """A group as the roster or its caller describes it. `notes_limit`: characters of its shared block, or 0."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)
    description: str = Field(min_length=1, max_length=500)
    agents: tuple[str, ...] = Field(min_length=1, max_length=MAX_MEMBERS)
    manager: Manager = RoundRobin()
    notes_limit: int = Field(default=1_000, ge=0, le=10_000)

    @property
    def managed_by(self) -> str | None:
        """The agent that manages it; None for round robin, which needs none."""
        return None if isinstance(self.manager, RoundRobin) else self.manager.agent

    @property
    def everyone(self) -> tuple[str, ...]:
        """Its agents, and the manager before them."""
        return (self.managed_by, *self.agents) if self.managed_by else self.agents

    @property
    def notes_label(self) -> str:
        """The label of the block that its agents share."""
        return f"{self.name}_notes"


class GroupInfo(Frozen):
    """A group as `list_agents` shows it."""

    name: str
    description: str
    manager: ManagerType
    managed_by: str | None = None
    agents: list[str]


class Said(Frozen):
    """One message in a group's conversation: who said it, and what kind of source that is."""

    number: int
    source: Source
    speaker: str = Field(description="The agent's name, 'caller', or 'atlas'.")
    text: str
    to: list[str] = Field(default_factory=list[str], description="Whom it was for; empty: everyone.")
    turn_id: str | None = None


class Stop(Frozen):
    """Why a conversation was ended before its time: the pattern that was seen, and the reason in words."""

    pattern: Pattern
    reason: str


class GroupReply(Frozen):
    """What `chat_with_group` gives: who said what, or the handle of a run that goes on.

    `stopped` says why it was ended early, if it was; `background_runs` are those that tend the memory now.
    """

    status: Literal["completed", "working"]
    group: str
    conversation: str
    messages: list[Said] = Field(default_factory=list[Said])
    stopped: Stop | None = None
    usage: Usage = Usage()
    run_id: str | None = None
    background_runs: list[str] = Field(default_factory=list[str])
    trace_id: str | None = None
    note: str | None = Field(default=None, description="What to know or to do next, in words.")
