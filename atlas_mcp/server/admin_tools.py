"""Tools to add agents and groups to the constellation, and to take them away again; offered with `--toolset admin`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from mcp.server.mcpserver import Context
from pydantic import Field

from atlas_mcp.model.agent import AgentInfo, Level
from atlas_mcp.model.group import Dynamic, GroupInfo, RoundRobin, Sleeptime, Supervisor
from atlas_mcp.server.arguments import AgentName
from atlas_mcp.server.caller import Transport, caller_of
from atlas_mcp.server.results import Deleted
from atlas_mcp.server.tool import define

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from atlas_mcp.atlas import Atlas

NewName = Annotated[str, Field(description="Small letters, digits and _, such as night_editor.")]


class AdminTools:
    """`create_agent`, `delete_agent`, `create_group` and `delete_group` on one Atlas."""

    def __init__(self, atlas: Atlas, transport: Transport) -> None:
        self._atlas = atlas
        self._transport: Transport = transport

    def tools(self) -> list[Tool]:
        """The tools, ready to register."""
        return [
            define(self.create_agent, title="Create an agent"),
            define(self.delete_agent, title="Delete an agent", destructive=True),
            define(self.create_group, title="Create a group"),
            define(self.delete_group, title="Delete a group", destructive=True),
        ]

    async def create_agent(
        self,
        ctx: Context[Any, Any],
        name: NewName,
        description: Annotated[str, Field(description="One sentence: what it is for.")],
        persona: Annotated[str, Field(description="Its character, written as 'I ...'; at most 2,000 characters.")],
        level: Annotated[Level, Field(description="How demanding its work is; may pick the model.")] = "interactive",
        pools: Annotated[list[str] | None, Field(description="Tool pools it may use; leave out for the usual.")] = None,
    ) -> AgentInfo:
        """Add a persistent agent of your own. It belongs to no team, remembers like all others, and may join groups."""
        caller = caller_of(self._atlas, self._transport, ctx)
        return await self._atlas.groups.create_agent(
            caller, name, description, persona, level=level, pools=tuple(pools or ())
        )

    async def delete_agent(self, ctx: Context[Any, Any], agent: AgentName) -> Deleted:
        """Delete an agent that you added, with its memory and conversations, for good."""
        await self._atlas.groups.delete_agent(caller_of(self._atlas, self._transport, ctx), agent)
        return Deleted(deleted=f"the agent {agent}, its memory, its archive and its conversations")

    async def create_group(
        self,
        ctx: Context[Any, Any],
        name: NewName,
        description: Annotated[str, Field(description="One sentence: what it is for. Its agents read it too.")],
        agents: Annotated[list[str], Field(description="1 to 12 agents by name, in the order in which they speak.")],
        manager: Annotated[
            RoundRobin | Supervisor | Dynamic | Sleeptime | None,
            Field(
                discriminator="type",
                description="Who speaks when: round_robin (each in turn, the default), supervisor (`agent` asks all "
                "and answers), dynamic (`agent` says who is next), sleeptime (`agent` answers, the others take notes).",
            ),
        ] = None,
        notes_limit: Annotated[
            int, Field(ge=0, le=10_000, description="Characters of the notes that its agents share; 0 for none.")
        ] = 1_000,
    ) -> GroupInfo:
        """Add a group of agents that you can talk to with chat_with_group. Groups may overlap."""
        given: dict[str, Any] = {"name": name, "description": description, "agents": agents, "notes_limit": notes_limit}
        if manager is not None:
            given["manager"] = manager
        return await self._atlas.groups.create_group(caller_of(self._atlas, self._transport, ctx), given)

    async def delete_group(
        self,
        ctx: Context[Any, Any],
        group: Annotated[str, Field(description="The group's name, as list_agents gives it.")],
    ) -> Deleted:
        """Delete a group that you added, with its notes and its conversations, for good. Its agents stay."""
        await self._atlas.groups.delete_group(caller_of(self._atlas, self._transport, ctx), group)
        return Deleted(deleted=f"the group {group}, its notes and its conversations; its agents stay")
