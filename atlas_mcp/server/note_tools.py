"""Tools for memories: keeping one, listing them with their history, correcting one; offered with `--toolset memory`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from mcp.server.mcpserver import Context
from pydantic import Field

from atlas_mcp.model.memory_item import MAX_LISTED, MemoryItem
from atlas_mcp.model.memory_kinds import EVERYBODY, NoteKind
from atlas_mcp.server.caller import Transport, caller_of
from atlas_mcp.server.results import MemoryList
from atlas_mcp.server.tool import define

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from atlas_mcp.atlas import Atlas


class NoteTools:
    """`remember`, `list_memories` and `correct_memory` on one Atlas."""

    def __init__(self, atlas: Atlas, transport: Transport) -> None:
        self._atlas = atlas
        self._transport: Transport = transport

    def tools(self) -> list[Tool]:
        """The tools, ready to register."""
        return [
            define(self.remember, title="Remember something", idempotent=True),
            define(self.list_memories, title="List memories", read_only=True),
            define(self.correct_memory, title="Correct a memory", destructive=True, idempotent=True, brief=True),
        ]

    async def remember(
        self,
        ctx: Context[Any, Any],
        text: Annotated[str, Field(description="What to remember; whole sentences that say what they are about.")],
        kind: Annotated[
            NoteKind,
            Field(
                description="What is true for long, how something is done (procedural), what happened in a project "
                "(episodic, kept 30 days after it), or what is of use for 72 hours or 1 hour (short_term, working)."
            ),
        ] = "long_term",
        about: Annotated[str, Field(description="Its subject, in a few words.")] = "",
        scope: Annotated[str, Field(description="Whom it is for: all, agent:NAME or team:NAME.")] = EVERYBODY,
        project: Annotated[str | None, Field(description="A name that groups related work.")] = None,
        key: Annotated[
            str | None,
            Field(description="What it says of what, where one thing is true at a time; replaces the same key's text."),
        ] = None,
        hours: Annotated[
            float | None, Field(gt=0, le=87_600, description="How long to keep it, if not as long as its kind.")
        ] = None,
    ) -> MemoryItem:
        """Remember something as what you said: agents find it, and count it more than what they wrote themselves. The
        same text again is kept once.
        """
        caller = caller_of(self._atlas, self._transport, ctx)
        lifetime = timedelta(hours=hours) if hours is not None else None
        return await self._atlas.memories.remember(
            caller, text, kind=kind, about=about, scope=scope, project=project, key=key, lifetime=lifetime
        )

    async def list_memories(
        self,
        ctx: Context[Any, Any],
        id: Annotated[str | None, Field(description="Only this one, with its history.")] = None,
        kinds: Annotated[list[NoteKind] | None, Field(description="Only these.")] = None,
        agent: Annotated[str | None, Field(description="Only what this agent wrote.")] = None,
        scope: Annotated[str | None, Field(description="Only what is for this scope, such as team:research.")] = None,
        project: Annotated[str | None, Field(description="Only those of this project.")] = None,
        run_id: Annotated[str | None, Field(description="Only what this run stored or changed.")] = None,
        everything: Annotated[
            bool, Field(description="Also what was refused, taken back or superseded, each with why.")
        ] = False,
        limit: Annotated[int, Field(ge=1, le=MAX_LISTED, description="How many at most.")] = 20,
        after: Annotated[str | None, Field(description="next_after of the page before.")] = None,
    ) -> MemoryList:
        """List what agents, runs and you had remembered, newest first: each with its author, source, trust and time.
        undo_memory takes one back by its id, or all that a run stored.
        """
        caller = caller_of(self._atlas, self._transport, ctx)
        if id is not None:
            return MemoryList(memories=[await self._atlas.memories.get(caller, id)])
        found = await self._atlas.memories.list(
            caller, kinds=kinds, agent=agent, scope=scope, project=project, run_id=run_id, everything=everything,
            limit=limit, after=after,
        )  # fmt: skip
        return MemoryList(memories=found, next_after=found[-1].id if len(found) == limit else None)

    async def correct_memory(
        self,
        ctx: Context[Any, Any],
        id: Annotated[str, Field(description="The memory's id, as list_memories or search_memory gives it.")],
        text: Annotated[str, Field(description="Its whole new text.")],
        expected_revision: Annotated[
            int | None, Field(ge=1, description="Refuse the change if the memory has another revision by now.")
        ] = None,
    ) -> MemoryItem:
        """Give a memory another text, as what you say. What was refused or taken back is remembered with it."""
        caller = caller_of(self._atlas, self._transport, ctx)
        return await self._atlas.memories.correct(caller, id, text, expected_revision=expected_revision)
