"""Tools for what agents remember: reading core memory, correcting it, and taking changes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from mcp.server.mcpserver import Context
from pydantic import Field

from atlas_mcp.errors import InvalidInput
from atlas_mcp.model.memory import Block, Replacement
from atlas_mcp.server.arguments import AgentName
from atlas_mcp.server.caller import Transport, caller_of
from atlas_mcp.server.results import BlockList, UndoneMemory
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
        agent: Annotated[str | None, Field(description="Whose block.")] = None,
        label: Annotated[str | None, Field(description="Such as 'human'.")] = None,
        revision: Annotated[
            int | None, Field(ge=1, description="Whose text it is to have again; a block needs it.")
        ] = None,
        id: Annotated[str | None, Field(description="A memory or fact instead of a block.")] = None,
        run_id: Annotated[str | None, Field(description="All that the run stored.")] = None,
    ) -> UndoneMemory:
        """Give a block the text of an earlier revision again, or take back a memory's last change: nothing is lost by
        it. get_agent_memory with history=true lists a block's revisions.
        """
        caller, memories = caller_of(self._atlas, self._transport, ctx), self._atlas.memories
        block = {"agent": agent, "label": label}
        given = [name for name, value in (block | {"id": id, "run_id": run_id}).items() if value is not None]
        if given == ["id"] and id is not None:
            return UndoneMemory.of(await memories.undo(caller, id, revision))
        if given == ["run_id"] and run_id is not None and revision is None:
            return UndoneMemory.of(await memories.undo_run(caller, run_id))
        if given == ["agent", "label"] and revision is None:
            raise InvalidInput(
                "it is missing.",
                argument="revision",
                next_step="Call get_agent_memory with history=true to see the block's revisions.",
            )
        if agent is None or label is None or revision is None or len(given) > 2:
            raise InvalidInput(
                "they do not name one thing to undo.",
                argument="agent, label, revision, id, run_id",
                next_step="Pass agent, label and revision; or id; or run_id.",
            )
        return UndoneMemory.of_block(await self._atlas.undo_memory(caller, agent, label, revision))
