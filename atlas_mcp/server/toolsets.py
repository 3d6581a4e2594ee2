"""Which tools a server offers: those of a toolset, or those that were named."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal

from atlas_mcp.errors import InvalidInput
from atlas_mcp.server.admin_tools import AdminTools
from atlas_mcp.server.agent_tools import AgentTools
from atlas_mcp.server.fact_tools import FactTools
from atlas_mcp.server.feedback_tools import FeedbackTools
from atlas_mcp.server.forget_tools import ForgetTools
from atlas_mcp.server.group_tools import GroupTools
from atlas_mcp.server.knowledge_tools import KnowledgeTools
from atlas_mcp.server.memory_tools import MemoryTools
from atlas_mcp.server.note_tools import NoteTools
from atlas_mcp.server.rating_tools import RatingTools
from atlas_mcp.server.run_tools import RunTools
from atlas_mcp.server.status_tools import StatusTools

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.server.caller import Transport

Toolset = Literal["core", "memory", "admin", "all"]
"""Which tools are offered: those of `core` always, with `memory` also those that tell, list and correct what is
remembered, with `admin` those that add and delete agents and groups."""

Offer = Toolset | tuple[str, ...]
"""A toolset, or the names of exactly those tools that are offered."""

_CORE = (
    *(AgentTools, GroupTools, RunTools),
    *(MemoryTools, ForgetTools, KnowledgeTools),
    *(RatingTools, FeedbackTools, StatusTools),
)
_FURTHER = {"memory": (NoteTools, FactTools), "admin": (AdminTools,)}


def core_tools(atlas: Atlas, transport: Transport) -> list[Tool]:
    """The tools that every client gets who is given no others."""
    return tools_of(atlas, transport, "core")


def tools_of(atlas: Atlas, transport: Transport, offer: Offer) -> list[Tool]:
    """The tools of a toolset, or those named; InvalidInput for a name that none of all tools has."""
    toolset = offer if isinstance(offer, str) else "all"
    further = [noun for name, some in _FURTHER.items() if toolset in {name, "all"} for noun in some]
    tools = [tool for noun in (*_CORE, *further) for tool in noun(atlas, transport).tools()]
    if isinstance(offer, str):
        return tools
    _check(offer, [tool.name for tool in tools])
    return [tool for tool in tools if tool.name in offer]


def _check(named: tuple[str, ...], known: list[str]) -> None:
    listed = f"There are: {', '.join(known)}."
    if not named:
        raise InvalidInput(f"no tool is named. {listed}", argument="tools", allowed=known)
    for name in named:
        if name not in known:
            near = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise InvalidInput(f"there is no tool {name!r}.{hint} {listed}", argument="tools", allowed=known)
