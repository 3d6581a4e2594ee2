"""The knowledge graph as resources: `atlas://graph`, and `atlas://graph/{entity}` for what is around a thing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver import Context

from atlas_mcp.errors import InvalidInput
from atlas_mcp.server.caller import Transport, caller_of
from atlas_mcp.server.reading import offer, reading

if TYPE_CHECKING:
    from mcp.server import MCPServer

    from atlas_mcp.atlas import Atlas

GRAPH = "atlas://graph{?limit}"  # what has no argument is not told who asks
ENTITY = "atlas://graph/{entity}"


class GraphResources:
    """The caller's graph; what belongs to another caller does not exist."""

    def __init__(self, atlas: Atlas, transport: Transport) -> None:
        self._atlas = atlas
        self._transport: Transport = transport

    def offer(self, server: MCPServer[Any]) -> None:
        """Register both."""
        about = "How many facts there are, and the things that most is known of."
        offer(server, GRAPH, self._overview, name="graph", title="What is known", description=about)
        about = "What is known of a thing, by its name: its facts, and what it is related to."
        offer(server, ENTITY, self._entity, name="graph_entity", title="A thing", description=about)

    async def _overview(self, ctx: Context, limit: str = "20") -> str:
        with reading():
            if not limit.isdecimal() or len(limit) > 4:
                raise InvalidInput("it must be a number below 10,000.", argument="limit")
            caller = caller_of(self._atlas, self._transport, ctx)
            return (await self._atlas.facts.overview(caller, limit=int(limit))).model_dump_json()

    async def _entity(self, entity: str, ctx: Context) -> str:
        with reading():
            caller = caller_of(self._atlas, self._transport, ctx)
            return (await self._atlas.facts.around(caller, entity)).model_dump_json()
