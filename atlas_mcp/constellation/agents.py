"""The agents as a list: what there is, without asking Letta or the record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.constellation.names import busy_marks
from atlas_mcp.errors import UnknownTeam
from atlas_mcp.model.agent import AgentInfo

if TYPE_CHECKING:
    from atlas_mcp.constellation.contract import LockView, ModelChoice, Tools
    from atlas_mcp.model.agent import AgentSpec, Roster
    from atlas_mcp.model.caller import Caller


def describe_agents(
    caller: Caller, roster: Roster, team: str | None, *, locks: LockView, models: ModelChoice, toolbox: Tools
) -> list[AgentInfo]:
    """The agents of one team, or all of them, in the roster's order. UnknownTeam lists the teams."""
    names = [t.name for t in roster.teams]
    if team is not None and team not in names:
        raise UnknownTeam(team, names, argument="team")
    available = toolbox.available
    shown = [a for a in roster.agents if team is None or a.team == team]
    marks = {a.name: set(busy_marks(caller, a.name)) for a in shown}
    held = locks.held_among(mark for own in marks.values() for mark in own)
    notes: dict[str, list[str]] = {}
    for group in roster.groups:  # once for all: agents have few groups, and asking for each goes through all of them
        if group.notes_limit:
            for name in group.everyone:
                notes.setdefault(name, []).append(group.notes_label)
    labels = [block.label for block in roster.blocks]

    def info(agent: AgentSpec) -> AgentInfo:
        return AgentInfo(
            name=agent.name,
            team=agent.team,
            role=agent.role,
            description=agent.description,
            model=shown_model(models.handle(roster.tier(agent), agent.level, agent.model)),
            busy=not held.isdisjoint(marks[agent.name]),
            blocks=labels + notes.get(agent.name, []),
            needs=[tool for tool in agent.needs if tool not in available],
        )

    return [info(a) for a in shown]


def shown_model(handle: str) -> str:
    """Letta's handle `provider/name` in the form that people configure: `provider:name`."""
    provider, _, name = handle.partition("/")
    return f"{provider}:{name}" if name else handle
