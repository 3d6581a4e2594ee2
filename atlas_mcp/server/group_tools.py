"""The tool to talk to a group of agents at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from mcp.server.mcpserver import Context
from pydantic import Field

from atlas_mcp.model.group import GroupReply
from atlas_mcp.server.arguments import WaitSeconds
from atlas_mcp.server.caller import Transport, caller_of
from atlas_mcp.server.progress import narrated
from atlas_mcp.server.stopping import stopped_with_call
from atlas_mcp.server.tasks import patience
from atlas_mcp.server.tool import define

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from atlas_mcp.atlas import Atlas


class GroupTools:
    """`chat_with_group` on one Atlas."""

    def __init__(self, atlas: Atlas, transport: Transport) -> None:
        self._atlas = atlas
        self._transport: Transport = transport

    def tools(self) -> list[Tool]:
        """The tool, ready to register."""
        return [define(self.chat_with_group, title="Chat with a group", open_world=True, brief=True)]

    async def chat_with_group(
        self,
        ctx: Context[Any, Any],
        group: Annotated[str, Field(description="As list_agents gives it.")],
        message: Annotated[str, Field(description="What to say.")],
        conversation: Annotated[str | None, Field(description="As for chat_with_agent.")] = None,
        wait_seconds: WaitSeconds = 45,
    ) -> GroupReply:
        """Put one message to a group of agents: they talk with each other, and you get who said what. If it takes
        longer you get a run_id for get_run; `stopped` says why a talk was ended.
        """
        caller = caller_of(self._atlas, self._transport, ctx)
        async with stopped_with_call(self._atlas, caller, ctx) as on_run:
            return await narrated(
                ctx,
                f"{group} is talking",
                lambda told: self._atlas.groups.chat(
                    caller,
                    group,
                    message,
                    conversation=conversation,
                    wait_seconds=patience(ctx.session, wait_seconds),
                    on_news=told.on_news,
                    on_run=on_run,
                ),
            )
