"""Tools for what agents remember: reading core memory, correcting it, and taking changes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from mcp.server.mcpserver import Context
from pydantic import Field

from atlas_mcp.errors import InvalidInput
from atlas_mcp.model.memory import Block, Replacement
from atlas_mcp.server.arguments import AgentName
from atlas_mcp.server.caller import Transport, caller_of
from atlas_mcp.server.results import BlockList
from atlas_mcp.server.tool import define

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from atlas_mcp.atlas import Atlas

_CHANGES = ("value", "append", "replace")


class MemoryTools:
    """`get_agent_memory`, `update_agent_memory` and `undo_memory` on one Atlas."""

    def __init__(self, atlas: Atlas, transport: Transport) -> None:
        self._atlas = atlas
        self._transport: Transport = transport

    def tools(self) -> list[Tool]:
        """The tools, ready to register."""
        return [
            define(self.get_agent_memory, title="Read an agent's memory", read_only=True),
            define(self.update_agent_memory, title="Change an agent's memory", destructive=True, brief=True),
            define(self.undo_memory, title="Undo a change of memory", destructive=True, idempotent=True, brief=True),
        ]

    async def get_agent_memory(
        self,
        ctx: Context[Any, Any],
        agent: AgentName,
        label: Annotated[str | None, Field(description="Only the block with this label.")] = None,
        history: Annotated[
            bool, Field(description="Also each block's newest 20 revisions: value, operation, author, when.")
        ] = False,
    ) -> BlockList:
        """Read an agent's core memory: labelled blocks that are always in its context, with who wrote each last."""
        caller = caller_of(self._atlas, self._transport, ctx)
        return BlockList(blocks=await self._atlas.get_memory(caller, agent, label, history=history))

    async def update_agent_memory(
        self,
        ctx: Context[Any, Any],
        agent: AgentName,
        label: Annotated[str, Field(description="Such as 'human'.")],
        value: Annotated[str | None, Field(description="The block's whole new text.")] = None,
        append: Annotated[str | None, Field(description="A line to add at the end.")] = None,
        replace: Annotated[
            Replacement | None, Field(description="Change one passage; old must occur exactly once.")
        ] = None,
        expected_revision: Annotated[
            int | None, Field(ge=0, description="Refuse the change if the block has another revision by now.")
        ] = None,
    ) -> Block:
        """Change one block by exactly one of value, append and replace. A shared block changes for every agent that
        shares it.
        """
        given = [name for name, change in zip(_CHANGES, (value, append, replace), strict=True) if change is not None]
        if len(given) != 1:
            raise InvalidInput(
                f"exactly one of them must be given, not {' and '.join(given) or 'none'}.",
                argument=", ".join(_CHANGES),
                next_step="Call again with one of them.",
            )
        caller = caller_of(self._atlas, self._transport, ctx)
        return await self._atlas.update_memory(
            caller, agent, label, value=value, append=append, replace=replace, expected_revision=expected_revision
        )

    async def undo_memory(
        self,
        ctx: Context[Any, Any],
        agent: AgentName,
        label: Annotated[str, Field(description="Such as 'human'.")],
        revision: Annotated[int, Field(ge=1, description="The revision whose text the block is to have again.")],
    ) -> Block:
        """Give a block the text of an earlier revision again, as a new revision: nothing is lost by it.
        get_agent_memory with history=true lists them.
        """
        caller = caller_of(self._atlas, self._transport, ctx)
        return await self._atlas.undo_memory(caller, agent, label, revision)
