"""Tools for the knowledge graph: telling facts, asking for them, and saying which things are one; offered with
`--toolset memory`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from mcp.server.mcpserver import Context
from pydantic import Field

from atlas_mcp.model.fact import MAX_DEPTH, MAX_FACTS, MAX_TRIPLES, Entity, Known, Merged, Triple
from atlas_mcp.server.caller import Transport, caller_of
from atlas_mcp.server.results import Tellings
from atlas_mcp.server.tool import define

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from atlas_mcp.atlas import Atlas

Project = Annotated[str | None, Field(description="A name that groups related work.")]


class FactTools:
    """`recall_facts`, `relate`, `merge_entities` and `split_entity` on one Atlas."""

    def __init__(self, atlas: Atlas, transport: Transport) -> None:
        self._atlas = atlas
        self._transport: Transport = transport

    def tools(self) -> list[Tool]:
        """The tools, ready to register."""
        return [
            define(self.recall_facts, title="Recall facts", read_only=True, brief=True),
            define(self.relate, title="Tell facts", idempotent=True, brief=True),
            define(self.merge_entities, title="Say that two things are one", brief=True),
            define(self.split_entity, title="Say that a thing is two", brief=True),
        ]

    async def recall_facts(
        self,
        ctx: Context[Any, Any],
        about: Annotated[str, Field(description="A thing by its name, or a question that mentions it.")],
        to: Annotated[str | None, Field(description="Another thing: how both are connected.")] = None,
        relation: Annotated[str | None, Field(description="Only this one, such as works_for.")] = None,
        depth: Annotated[int, Field(ge=1, le=MAX_DEPTH, description="How many facts away to look.")] = 1,
        at: Annotated[datetime | None, Field(description="What was true then; else what has not ended.")] = None,
        known_at: Annotated[datetime | None, Field(description="What was held to be true then.")] = None,
        history: Annotated[bool, Field(description="Also what was superseded, undone, or has ended.")] = False,
        project: Project = None,
        limit: Annotated[int, Field(ge=1, le=MAX_FACTS, description="How many facts at most.")] = 20,
    ) -> Known:
        """Recall what is known of something: facts with when they are true, who told them, and where they are from."""
        return await self._atlas.facts.recall(
            caller_of(self._atlas, self._transport, ctx),
            about,
            to=to,
            relation=relation,
            depth=depth,
            at=at,
            known_at=known_at,
            history=history,
            project=project,
            limit=limit,
        )

    async def relate(
        self,
        ctx: Context[Any, Any],
        facts: Annotated[list[Triple], Field(description=f"1 to {MAX_TRIPLES} facts; all are kept, or none.")],
        project: Project = None,
    ) -> Tellings:
        """Tell facts that all agents can recall. What is known already only gains a source; another object of a
        functional relation supersedes the one before, which stays in the history."""
        caller = caller_of(self._atlas, self._transport, ctx)
        return Tellings(facts=await self._atlas.facts.relate(caller, facts, project=project))

    async def merge_entities(
        self,
        ctx: Context[Any, Any],
        keep: Annotated[str, Field(description="The thing whose name stays.")],
        other: Annotated[str, Field(description="What turned out to be the same.")],
        keep_kind: Annotated[str, Field(description="Its kind; only where several have the name.")] = "",
        other_kind: Annotated[str, Field(description="The same for the other.")] = "",
    ) -> Merged:
        """Let two things be one, with the facts of both. No fact is rewritten: split_entity undoes it."""
        caller = caller_of(self._atlas, self._transport, ctx)
        return await self._atlas.facts.merge(caller, keep, other, keep_kind=keep_kind, other_kind=other_kind)

    async def split_entity(
        self,
        ctx: Context[Any, Any],
        entity: Annotated[str, Field(description="The name of what was merged into another, or of what is two.")],
        facts: Annotated[list[str] | None, Field(description="With into: ids of the facts about the other.")] = None,
        into: Annotated[str | None, Field(description="The other's name, where entity is two things.")] = None,
        kind: Annotated[str, Field(description="The kind of the thing that is split off, if it is to have one.")] = "",
    ) -> Entity:
        """Undo a merge: the thing is one of its own again, with its own facts. Or tell two things under one name apart;
        merge_entities undoes that."""
        caller = caller_of(self._atlas, self._transport, ctx)
        return await self._atlas.facts.split(caller, entity, kind=kind, facts=facts or (), into=into)
