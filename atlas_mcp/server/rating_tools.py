"""The tool that has a text rated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from mcp.server.mcpserver import Context
from pydantic import Field

from atlas_mcp.model.rating import TextRating
from atlas_mcp.server.arguments import WaitSeconds
from atlas_mcp.server.caller import Transport, caller_of
from atlas_mcp.server.progress import narrated
from atlas_mcp.server.stopping import stopped_with_call
from atlas_mcp.server.tasks import patience
from atlas_mcp.server.tool import define

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from atlas_mcp.atlas import Atlas


class RatingTools:
    """`rate_text` on one Atlas."""

    def __init__(self, atlas: Atlas, transport: Transport) -> None:
        self._atlas = atlas
        self._transport: Transport = transport

    def tools(self) -> list[Tool]:
        """The tool, ready to register."""
        return [define(self.rate_text, title="Rate a text", open_world=True, brief=True)]

    async def rate_text(
        self,
        ctx: Context[Any, Any],
        text: Annotated[str, Field(description="At most 60,000 characters.")],
        criteria: Annotated[list[str] | None, Field(description="What it is rated on.")] = None,
        wait_seconds: WaitSeconds = 45,
    ) -> TextRating:
        """Have a text rated by agents that did not write it: 1 to 5 by each criterion with reason and quotation, where
        they disagree, and whether it passes (4.0).
        """
        caller = caller_of(self._atlas, self._transport, ctx)
        async with stopped_with_call(self._atlas, caller, ctx) as on_run:
            return await narrated(
                ctx,
                "the raters read the text",
                lambda told: self._atlas.rate_text(
                    caller,
                    text,
                    criteria,
                    wait_seconds=patience(ctx.session, wait_seconds),
                    on_news=told.on_news,
                    on_run=on_run,
                ),
            )
