"""The tool by which a person has something forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from mcp.server.mcpserver import Context
from pydantic import Field

from atlas_mcp.model.forgetting import Forgotten, Target
from atlas_mcp.server.caller import Transport, caller_of
from atlas_mcp.server.tool import define

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from atlas_mcp.atlas import Atlas


class ForgetTools:
    """`forget` on one Atlas."""

    def __init__(self, atlas: Atlas, transport: Transport) -> None:
        self._atlas = atlas
        self._transport: Transport = transport

    def tools(self) -> list[Tool]:
        """The tool, ready to register."""
        return [define(self.forget, title="Forget", destructive=True, idempotent=True, brief=True)]

    async def forget(
        self,
        ctx: Context[Any, Any],
        id: Annotated[str | None, Field(description="A hit, memory, document, fact.")] = None,
        agent: Annotated[str | None, Field(description="Whose block.")] = None,
        label: Annotated[str | None, Field(description="Which block.")] = None,
        run_id: Annotated[str | None, Field(description="All it stored.")] = None,
        confirm: Annotated[bool, Field(description="Do it.")] = False,
    ) -> Forgotten:
        """Delete one thing wherever it went. Without confirm: say what would go."""
        caller = caller_of(self._atlas, self._transport, ctx)
        target = Target(id=id, agent=agent, label=label, run_id=run_id)
        return await self._atlas.forget(caller, target, confirm=confirm)
