"""What the protocol's official conformance suite calls: `serve --conformance`, for tests of ATLAS itself.

The suite needs tools of given names that do given things. They stand on the same server, behind the same middleware and
the same extension as the tools of ATLAS; without the option none of this is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlas_mcp.server.conformance.contents import content_tools, offer_contents
from atlas_mcp.server.conformance.jobs import Jobs
from atlas_mcp.server.conformance.rounds import offer_rounds, round_tools
from atlas_mcp.server.conformance.schemas import schema_tools
from atlas_mcp.server.conformance.tasks import TaskFixtures

if TYPE_CHECKING:
    from mcp.server import MCPServer
    from mcp.server.mcpserver.tools import Tool


class Fixtures:
    """All that the suite calls, for one server; `jobs` are the work behind its tasks."""

    def __init__(self) -> None:
        self.jobs = Jobs()

    def tools(self) -> list[Tool]:
        """The tools, ready to register."""
        return [*TaskFixtures(self.jobs).tools(), *content_tools(), *round_tools(), *schema_tools()]

    def offer(self, server: MCPServer[Any]) -> None:
        """Register the rest."""
        offer_contents(server)
        offer_rounds(server)
