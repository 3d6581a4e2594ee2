"""Agents and their memory as resources, of the caller only.

`atlas://agents` is what `list_agents` gives, `atlas://agents/{agent}` one of them with the addresses of its memory, and
`atlas://agents/{agent}/memory/{label}` a block. Who subscribes hears when agents or groups come, go or change, and when
a block does: by a call, by an agent in its turn, in this process or in another on the same record, within a second or
so. Whether an agent is busy is of the moment of reading, and no news.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from mcp.server.mcpserver import Context
from mcp.types import Resource

from atlas_mcp.errors import UnknownAgent, UnknownBlock, UnknownTeam
from atlas_mcp.server.caller import Transport, caller_of
from atlas_mcp.server.reading import JSON, offer, reading
from atlas_mcp.server.results import AgentList, AgentPage

if TYPE_CHECKING:
    from mcp.server import MCPServer

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.server.subscriptions import Tell, Watch

AGENTS = "atlas://agents{?team}"  # what has no argument is not told who asks
AGENT = "atlas://agents/{agent}"
BLOCK = "atlas://agents/{agent}/memory/{label}"
_ADDRESS = re.compile(r"atlas://agents(?:\?team=([^&#]*)|/([^/?#]+)(?:/memory/([^/?#]+))?)?")


class AgentResources:
    """The caller's agents and what they remember."""

    def __init__(self, atlas: Atlas, transport: Transport) -> None:
        self._atlas = atlas
        self._transport: Transport = transport

    def offer(self, server: MCPServer[Any]) -> None:
        """Register all three."""
        about = "Your agents and groups, as list_agents gives them; ?team= for those of one team."
        offer(server, AGENTS, self._agents, name="agents", title="Agents", description=about)
        about = "What an agent is for, its model, its groups, and the addresses of its memory."
        offer(server, AGENT, self._agent, name="agent", title="An agent", description=about)
        about = "A block of what an agent always has in mind, such as 'human': its text, and who wrote it when."
        offer(server, BLOCK, self._block, name="agent_memory", title="An agent's memory", description=about)

    def listed(self) -> list[Resource]:
        """What is shown by address: the one from which all others are found. There may be a hundred agents of many
        blocks, and runs without end: clients complete those in the templates."""
        about = "Your agents and groups, as list_agents gives them."
        return [Resource(uri="atlas://agents", name="agents", title="Agents", description=about, mime_type=JSON)]

    async def _agents(self, ctx: Context, team: str | None = None) -> str:
        with reading():
            caller = caller_of(self._atlas, self._transport, ctx)
            agents = await self._atlas.list_agents(caller, team)
            return AgentList(agents=agents, groups=await self._atlas.groups.listed(caller, team)).model_dump_json()

    async def _agent(self, agent: str, ctx: Context) -> str:
        with reading():
            caller = caller_of(self._atlas, self._transport, ctx)
            found = {one.name: one for one in await self._atlas.list_agents(caller)}
            if agent not in found:
                raise UnknownAgent(agent, [*found])
            groups = [one.name for one in await self._atlas.groups.listed(caller) if agent in one.agents]
            memory = [f"atlas://agents/{agent}/memory/{label}" for label in found[agent].blocks]
            return AgentPage(**found[agent].model_dump(), groups=groups, memory=memory).model_dump_json()

    async def _block(self, agent: str, label: str, ctx: Context) -> str:
        with reading():
            (block,) = await self._atlas.get_memory(caller_of(self._atlas, self._transport, ctx), agent, label)
            return block.model_dump_json(exclude={"history"})

    async def watch(self, caller: Caller, address: str) -> Watch | None:
        """What tells of each change from now on; None for what is no agent or block of the caller."""
        if not (match := _ADDRESS.fullmatch(address)):
            return None
        team, agent, label = (None if part is None else unquote(part) for part in match.groups())
        news = self._atlas.news
        try:
            if team is not None:
                await self._atlas.groups.listed(caller, team)
            known = await (news.block(caller, agent, label) if agent and label else news.agents(caller, agent))
        except (UnknownAgent, UnknownBlock, UnknownTeam):
            return None

        async def watch(tell: Tell) -> None:
            now = known
            while True:
                now = await news.after(now)
                await tell()

        return watch
