"""The tool that says what works and what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver import Context

from atlas_mcp.model.status import Status
from atlas_mcp.server.caller import Transport, caller_of
from atlas_mcp.server.tool import define

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from atlas_mcp.atlas import Atlas


class StatusTools:
    """`get_status` on one Atlas."""

    def __init__(self, atlas: Atlas, transport: Transport) -> None:
        self._atlas = atlas
        self._transport: Transport = transport

    def tools(self) -> list[Tool]:
        """The tools, ready to register."""
        return [define(self.get_status, title="What works", read_only=True, brief=True)]

    async def get_status(self, ctx: Context[Any, Any]) -> Status:
        """What works and what does not: Letta, model, tracing, storage, sandbox; and what to do about it."""
        return await self._atlas.status(caller_of(self._atlas, self._transport, ctx))
