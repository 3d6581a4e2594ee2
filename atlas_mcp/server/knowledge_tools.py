"""Tools for knowledge: sharing documents with all agents, and searching all that is remembered."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from mcp.server.mcpserver import Context, Resolve
from mcp.types import ListRootsResult
from pydantic import Field

from atlas_mcp.errors import InvalidInput
from atlas_mcp.model.knowledge import MAX_HITS, Document, Recalled
from atlas_mcp.model.memory_kinds import MemoryKind
from atlas_mcp.server.caller import Transport, caller_of
from atlas_mcp.server.materials import read_path, roots_of_path
from atlas_mcp.server.tool import define

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from atlas_mcp.atlas import Atlas


class KnowledgeTools:
    """`search_memory` and `share_knowledge` on one Atlas."""

    def __init__(self, atlas: Atlas, transport: Transport) -> None:
        self._atlas = atlas
        self._transport: Transport = transport

    def tools(self) -> list[Tool]:
        """The tools, ready to register."""
        return [
            define(self.search_memory, title="Search memory", read_only=True),
            define(
                self.share_knowledge,
                title="Share a text with all agents",
                destructive=True,
                idempotent=True,
                brief=True,
            ),
        ]

    async def search_memory(
        self,
        ctx: Context[Any, Any],
        query: Annotated[str, Field(description="Words to look for.")],
        agent: Annotated[str | None, Field(description="Only this agent's.")] = None,
        kinds: Annotated[list[MemoryKind] | None, Field(description="Only these; knowledge is shared.")] = None,
        project: Annotated[str | None, Field(description="Only this project's.")] = None,
        limit: Annotated[int, Field(ge=1, le=MAX_HITS, description="Hits at most.")] = 8,
        since: Annotated[datetime | None, Field(description="Written since.")] = None,
        until: Annotated[datetime | None, Field(description="Written until.")] = None,
        min_trust: Annotated[float, Field(description="0.9: only what you said.")] = 0,
    ) -> Recalled:
        """Search all that is remembered, by words and likeness."""
        caller = caller_of(self._atlas, self._transport, ctx)
        narrowed = {"since": since, "until": until, "min_trust": min_trust}
        return await self._atlas.search_memory(
            caller, query, agent=agent, kinds=kinds, project=project, limit=limit, **narrowed
        )

    async def share_knowledge(
        self,
        ctx: Context[Any, Any],
        roots: Annotated[ListRootsResult, Resolve(roots_of_path)],
        name: Annotated[str, Field(description="The name it is cited by; the same name again replaces the text.")],
        text: Annotated[str | None, Field(description="The text itself.")] = None,
        path: Annotated[
            str | None, Field(description="Instead of text: a file, over stdio, in an allowed folder.")
        ] = None,
        project: Annotated[str | None, Field(description="A name that groups related work.")] = None,
    ) -> Document:
        """Share a text that all agents can search from now on. Nothing changes when the same text is there already."""
        if (text is None) == (path is None):
            raise InvalidInput(
                "exactly one of them must be given.", argument="text, path", next_step="Call again with one of them."
            )
        if path is not None:
            text = await read_path(path, self._transport, self._atlas.settings.materials, roots, argument="path")
        caller = caller_of(self._atlas, self._transport, ctx)
        return await self._atlas.share_knowledge(caller, name, text or "", project=project)
