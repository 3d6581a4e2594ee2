"""Agents, teams and rosters: who there is, and what each may do."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import Field

from atlas_mcp.errors import UnknownAgent, UnknownGroup, UnknownTeam
from atlas_mcp.model._base import Frozen
from atlas_mcp.model.group import GroupSpec

Role = Literal["global_supervisor", "librarian", "supervisor", "worker", "guest"]
"""A guest exists for one run only, and stands in no roster."""
Tier = Literal["supervisor", "worker", "rater"]
Level = Literal["routine", "interactive", "investigative", "critical"]
TeamKind = Literal["work", "writing", "rating"]
Warmth = Literal["created", "created anew", "brought up to date", "ready"]
"""What it took to have an agent in Letta as the roster describes it."""


class BlockSpec(Frozen):
    """A block that agents have from their first turn; `limit` in characters. A shared one is one block for all; one
    that is `read_only` is changed by callers and the roster, never by agents.
    """

    label: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    description: str
    limit: int = Field(gt=0)
    value: str = ""
    shared: bool = False
    read_only: bool = False


class AgentSpec(Frozen):
    """An agent as the roster describes it; `persona` is its written character, `pools` the tool pools it may use.

    `needs` names tools without which the agent has no work (a web researcher without web search gets no part).
    `turn_seconds` is how long one turn of it may take at most; then it is given up, and has failed.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    role: Role
    description: str
    persona: str
    team: str | None = None
    level: Level = "interactive"
    model: str | None = None
    pools: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    turn_seconds: float | None = Field(default=None, gt=0)


class TeamSpec(Frozen):
    """A team: what it is for, who leads it and who works in it. `teams` are others to which its supervisor may give
    work; they belong to it alone.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    kind: TeamKind = "work"
    purpose: str
    supervisor: str
    workers: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()


class Roster(Frozen):
    """The data that says which agents a constellation has; consistent by construction (the loader checks it)."""

    name: str
    agents: tuple[AgentSpec, ...]
    teams: tuple[TeamSpec, ...]
    blocks: tuple[BlockSpec, ...]
    groups: tuple[GroupSpec, ...] = ()

    def agent(self, name: str) -> AgentSpec:
        """The agent of that name, or UnknownAgent with the names there are."""
        for agent in self.agents:
            if agent.name == name:
                return agent
        raise UnknownAgent(name, [a.name for a in self.agents])

    def team(self, name: str) -> TeamSpec:
        """The team of that name, or UnknownTeam with the names there are."""
        for team in self.teams:
            if team.name == name:
                return team
        raise UnknownTeam(name, [t.name for t in self.teams])

    def above(self, team: str) -> TeamSpec | None:
        """The team that this one belongs to; None for one that stands by itself."""
        return next((t for t in self.teams if team in t.teams), None)

    def within(self, team: str) -> tuple[TeamSpec, ...]:
        """The team and all that belong to it, from the top down."""
        found = self.team(team)
        return (found, *(t for name in found.teams for t in self.within(name)))

    @property
    def levels(self) -> int:
        """How deep teams stand in teams; 1 where none does."""
        return max((self._depth(t.name) for t in self.teams), default=1)

    def _depth(self, team: str) -> int:
        return 1 + max((self._depth(name) for name in self.team(team).teams), default=0)

    def group(self, name: str) -> GroupSpec:
        """The group of that name, or UnknownGroup with the names there are."""
        for group in self.groups:
            if group.name == name:
                return group
        raise UnknownGroup(name, [g.name for g in self.groups])

    def groups_of(self, agent: str) -> tuple[GroupSpec, ...]:
        """The groups that the agent belongs to or manages."""
        return tuple(g for g in self.groups if agent in g.everyone)

    def notes_of(self, agent: str) -> tuple[BlockSpec, ...]:
        """The blocks that the agent shares with its groups, and with nobody else."""
        return tuple(_notes(group) for group in self.groups_of(agent) if group.notes_limit)

    def blocks_of(self, agent: str) -> tuple[BlockSpec, ...]:
        """Every block of the agent: those of the roster, then its groups' notes."""
        return (*self.blocks, *self.notes_of(agent))

    def sharing(self, agent: str, label: str) -> list[str]:
        """The other agents that see this block of the agent's."""
        if any(b.label == label for b in self.blocks):
            shared = any(b.label == label and b.shared for b in self.blocks)
            return [a.name for a in self.agents if a.name != agent] if shared else []
        return [n for g in self.groups_of(agent) if g.notes_label == label for n in g.everyone if n != agent]

    def with_role(self, role: Role) -> AgentSpec:
        """The first agent with that role; the loader guarantees one global supervisor and one librarian."""
        return next(a for a in self.agents if a.role == role)

    def tier(self, agent: AgentSpec) -> Tier:
        """Which tier of model the agent uses: raters apart from authors, supervisors apart from workers."""
        if agent.team and self.team(agent.team).kind == "rating":
            return "rater"
        return "worker" if agent.role in ("worker", "guest") else "supervisor"

    @property
    def fingerprint(self) -> str:
        """A hash that changes when anything in the roster changes."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def _notes(group: GroupSpec) -> BlockSpec:
    return BlockSpec(
        label=group.notes_label,
        description=f"Shared by the group {group.name} alone: what it settled and will need again.",
        limit=group.notes_limit,
        shared=True,
    )


class AgentInfo(Frozen):
    """An agent as `list_agents` shows it."""

    name: str
    team: str | None
    role: Role
    description: str
    model: str = Field(description="The model that answers for it, as provider:name.")
    busy: bool = Field(description="Whether a turn of it is running now.")
    blocks: list[str] = Field(description="Labels of its memory blocks.")
    needs: list[str] = Field(default_factory=list, description="Tools it lacks here, without which it gets no part.")
