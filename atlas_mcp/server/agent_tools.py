"""Tools to talk to one agent: who there is, and a turn with one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from mcp.server.mcpserver import Context
from pydantic import Field

from atlas_mcp.model.turn import ChatReply
from atlas_mcp.server.arguments import AgentName, WaitSeconds
from atlas_mcp.server.caller import Transport, caller_of
from atlas_mcp.server.progress import narrated
from atlas_mcp.server.results import AgentList
from atlas_mcp.server.stopping import stopped_with_call
from atlas_mcp.server.tasks import patience
from atlas_mcp.server.tool import define

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from atlas_mcp.atlas import Atlas


class AgentTools:
    """`list_agents` and `chat_with_agent` on one Atlas."""

    def __init__(self, atlas: Atlas, transport: Transport) -> None:
        self._atlas = atlas
        self._transport: Transport = transport

    def tools(self) -> list[Tool]:
        """The tools, ready to register."""
        return [
            define(self.list_agents, title="List the agents", read_only=True),
            define(self.chat_with_agent, title="Chat with an agent", open_world=True),
        ]

    async def list_agents(
        self,
        ctx: Context[Any, Any],
        team: Annotated[str | None, Field(description="Only this team's agents, such as 'research'.")] = None,
    ) -> AgentList:
        """List your persistent agents: name, team, role, what each is for, whether it is busy, its memory labels; and
        the groups in which several of them talk.
        """
        caller = caller_of(self._atlas, self._transport, ctx)
        agents = await self._atlas.list_agents(caller, team)
        return AgentList(agents=agents, groups=await self._atlas.groups.listed(caller, team))

    async def chat_with_agent(
        self,
        ctx: Context[Any, Any],
        agent: AgentName,
        message: Annotated[str, Field(description="What to say: at most 100,000 characters.")],
        conversation: Annotated[
            str | None,
            Field(description="Leave out to go on with your own thread; 'new' opens one; or an id from a reply."),
        ] = None,
        wait_seconds: WaitSeconds = 45,
    ) -> ChatReply:
        """Send one message to one agent and get its reply and what it changed in its memory. It remembers across
        conversations. If it takes longer than wait_seconds you get a run_id: call get_run with it for the reply.
        """
        caller = caller_of(self._atlas, self._transport, ctx)
        async with stopped_with_call(self._atlas, caller, ctx) as on_run:
            return await narrated(
                ctx,
                f"{agent} is thinking",
                lambda told: self._atlas.chat(
                    caller,
                    agent,
                    message,
                    conversation=conversation,
                    wait_seconds=patience(ctx.session, wait_seconds),
                    on_event=told.on_event,
                    on_run=on_run,
                ),
            )
