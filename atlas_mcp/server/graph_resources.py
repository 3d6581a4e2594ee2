"""The knowledge graph as resources: `atlas://graph`, and `atlas://graph/{entity}` for what is around a thing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError

from atlas_mcp.errors import AtlasError, InvalidInput
from atlas_mcp.server.caller import Transport, caller_of

if TYPE_CHECKING:
    from mcp.server import MCPServer

    from atlas_mcp.atlas import Atlas

GRAPH = "atlas://graph{?limit}"  # what has no argument is not told who asks
ENTITY = "atlas://graph/{entity}"
_JSON = "application/json"


class GraphResources:
    """The caller's graph; what belongs to another caller does not exist."""

    def __init__(self, atlas: Atlas, transport: Transport) -> None:
        self._atlas = atlas
        self._transport: Transport = transport

    def offer(self, server: MCPServer[Any]) -> None:
        """Register both."""
        about = "How many facts there are, and the things that most is known of."
        server.resource(GRAPH, name="graph", title="What is known", description=about, mime_type=_JSON)(self._overview)
        around = "What is known of a thing, by its name: its facts, and what it is related to."
        server.resource(ENTITY, name="graph_entity", title="A thing", description=around, mime_type=_JSON)(self._entity)

    async def _overview(self, ctx: Context, limit: int = 20) -> str:
        try:
            caller = caller_of(self._atlas, self._transport, ctx)
            return (await self._atlas.facts.overview(caller, limit=limit)).model_dump_json()
        except AtlasError as error:
            raise ResourceError(str(error)) from None

    async def _entity(self, entity: str, ctx: Context) -> str:
        try:
            caller = caller_of(self._atlas, self._transport, ctx)
            return (await self._atlas.facts.around(caller, entity)).model_dump_json()
        except InvalidInput as error:
            raise ResourceNotFoundError(str(error)) from None
        except AtlasError as error:
            raise ResourceError(str(error)) from None
