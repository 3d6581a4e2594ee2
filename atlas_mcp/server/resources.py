"""The resources of one server, all of its callers' own, and who hears of their changes.

Listed is where to begin, and nothing of which there may be many; the rest is found by its templates (see `completion`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlas_mcp.server.agent_resources import AgentResources
from atlas_mcp.server.graph_resources import GraphResources
from atlas_mcp.server.run_resources import RunResources
from atlas_mcp.server.subscriptions import Subscriptions

if TYPE_CHECKING:
    from mcp.server import MCPServer
    from mcp.server.subscriptions import SubscriptionBus
    from mcp.types import Resource

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.server.caller import Transport


class Resources:
    """Agents, their memory, runs and the knowledge graph."""

    def __init__(self, atlas: Atlas, transport: Transport) -> None:
        self._agents, self._runs = AgentResources(atlas, transport), RunResources(atlas, transport)
        self._graph = GraphResources(atlas, transport)
        self._subscriptions = Subscriptions(atlas, transport, (self._agents, self._runs))

    def offer(self, server: MCPServer[Any], news: SubscriptionBus) -> None:
        """Register all of it; `news` is the server's own, of which everybody who listens hears too."""
        for noun in (self._agents, self._runs, self._graph):
            noun.offer(server)
        self._subscriptions.offer(server, news)

    def listed(self) -> list[Resource]:
        """What is shown by address."""
        return self._agents.listed()

    def end(self) -> None:
        """End the streams of all who listen: the server is about to stop, and waits for nobody."""
        self._subscriptions.end()
