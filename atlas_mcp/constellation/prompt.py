"""What every agent is told about itself and its tools, beside its persona."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from atlas_mcp.constellation.core_memory import CORE_TOOLS

if TYPE_CHECKING:
    from atlas_mcp.letta.door import Kind
    from atlas_mcp.model.agent import AgentSpec, Roster

_FILE = Path(__file__).parent.parent / "rosters" / "system.md"

_ARCHIVE_TOOLS = ("archival_memory_insert", "archival_memory_search", "conversation_search")


def letta_tools(kind: Kind) -> tuple[str, ...]:
    """Letta's own tools for an agent, which it carries out itself: those for blocks where it keeps their limits."""
    return (*CORE_TOOLS, *_ARCHIVE_TOOLS) if kind == "embedded" else _ARCHIVE_TOOLS


def system_prompt(agent: AgentSpec, roster: Roster) -> str:
    """The agent's system prompt; Letta adds the memory blocks to it at each turn."""
    return _template().format(name=agent.name, description=agent.description, place=_place(agent, roster)).strip()


def _place(agent: AgentSpec, roster: Roster) -> str:
    if agent.team is None:
        return ""
    team = roster.team(agent.team)
    others = ", ".join(m for m in (team.supervisor, *team.workers) if m != agent.name)
    part = "You lead" if agent.role == "supervisor" else "You belong to"
    inner = f" Teams of its own: {', '.join(team.teams)}." if team.teams else ""
    return f"{part} the {team.name} team, which {team.purpose}; with you in it: {others or 'nobody'}.{inner}"


@cache
def _template() -> str:
    return _FILE.read_text(encoding="utf-8")
