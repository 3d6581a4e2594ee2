"""One caller's shared knowledge: what the caller and the agents put there, and all of them search.

An agent comes in by `Desk`, under its own name and with the trust of an agent; what it shares never takes the place of
what the caller or another agent shared. Everything here is a span of the trace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.constellation.fact_desk import FactDesk
from atlas_mcp.constellation.note_desk import NoteDesk
from atlas_mcp.errors import InvalidInput, OverLimit
from atlas_mcp.memory.documents import Documents
from atlas_mcp.memory.facts import Facts
from atlas_mcp.memory.finding import Finder
from atlas_mcp.memory.learnings import Learnings
from atlas_mcp.memory.memories import Memories
from atlas_mcp.memory.scope import Scope
from atlas_mcp.memory.words import Query
from atlas_mcp.model.knowledge import MAX_HITS, MAX_QUERY
from atlas_mcp.model.memory_kinds import scopes_of
from atlas_mcp.watch.spans import hits, outputs, span

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atlas_mcp.memory.search import Found
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.knowledge import Document, Hit
    from atlas_mcp.model.memory_kinds import MemoryKind
    from atlas_mcp.model.task import Material
    from atlas_mcp.store.record import Record

_SHOWN = 200
OPEN_TO_AGENTS: tuple[MemoryKind, ...] = ("knowledge", "short_term", "long_term", "procedural", "fact")
"""What an agent finds by a search of its own, where it is for all, for it or for its team."""


class Library:
    """One caller's documents. `on_change` is told of the caller whenever one was changed or deleted; `finder` searches,
    by default by words alone.
    """

    def __init__(
        self,
        caller: Caller,
        record: Record,
        on_change: Callable[[Caller], None] | None = None,
        finder: Finder | None = None,
    ) -> None:
        self.caller = caller
        self.documents = Documents(caller, record)
        self._record = record
        self._on_change = on_change
        self._finder = finder or Finder(record)

    async def share(self, name: str, text: str, *, project: str | None = None, author: str = "caller") -> Document:
        """Keep the text under that name for every agent. InvalidInput, OverLimit."""
        inputs = {"name": name, "project": project, "chars": len(text), "begins": text[:_SHOWN]}
        with span(
            "share knowledge", kind="MEMORY", inputs=inputs, author=author, atlas__memory__store="record"
        ) as opened:
            made = await self.documents.share(name, text, project=project, author=author)
            outputs(opened, made.model_dump(mode="json"))
        self._changed(made.changed)
        return made

    async def delete(self, document_id: str) -> bool:
        """Delete the document here, and wherever it was copied to; False if there is none."""
        with span(
            "delete knowledge", kind="MEMORY", inputs={"id": document_id}, atlas__memory__store="record"
        ) as opened:
            done = await self.documents.delete_document(document_id)
            outputs(opened, {"deleted": done})
        self._changed(done)
        return done

    async def search(self, query: Query, scope: Scope, limit: int) -> Found:
        """The best of the caller's passages, best first."""
        narrowed = {"project": scope.project, "agent": scope.agent, "scopes": scope.scopes}
        inputs = {"query": query.text, "kinds": scope.kinds, **narrowed, "limit": limit}
        with span("search knowledge", kind="RETRIEVER", inputs=inputs, atlas__memory__store="record") as opened:
            found = await self._finder.find(scope, query, limit)
            outputs(opened, [hit.model_dump(mode="json") for hit in found.hits])
            hits(opened, len(found.hits))
            return found

    def desk(
        self,
        agent: str,
        *,
        team: str | None = None,
        run_id: str | None = None,
        materials: Callable[[], Sequence[Material]] | None = None,
    ) -> Desk:
        """The library as that agent of that team uses it, in that run if it is in one, which has these materials."""
        seen = scopes_of(agent, team)
        facts = FactDesk(Facts(self.caller, self._record, scopes=seen), agent, seen, run_id)

        async def texts(name: str) -> list[str]:
            return await self._texts(name, materials() if materials else ())

        memories, learnings = Memories(self.caller, self._record), Learnings(self.caller, self._record)
        return Desk(self, agent, seen, facts, NoteDesk(memories, learnings, agent, seen, run_id, texts))

    async def _texts(self, name: str, materials: Sequence[Material]) -> list[str]:
        """What the materials and the documents of that name say."""
        named = [one.text for one in materials if one.name.casefold() == name.casefold()]
        shared = [one.id for one in await self.documents.all() if one.name.casefold() == name.casefold()]
        return named + [await self.documents.text_of(one) or "" for one in shared]

    def _changed(self, changed: bool) -> None:
        if changed and self._on_change:
            self._on_change(self.caller)


class Desk:
    """The library as the sources of agents' tools use it: plain values in, so that they import nothing of ours."""

    def __init__(self, library: Library, agent: str, seen: tuple[str, ...], facts: FactDesk, notes: NoteDesk) -> None:
        self._library = library
        self._agent = agent
        self._seen = seen
        self.facts = facts
        self.notes = notes

    async def search(self, query: str, limit: int) -> list[Hit]:
        """The best passages of all shared documents, and of what is remembered for all, for this agent or its team."""
        scope = Scope(self._library.caller, OPEN_TO_AGENTS, scopes=self._seen)
        return (await self._library.search(checked_query(query), scope, max(1, min(limit, MAX_HITS)))).hits

    async def share(self, title: str, text: str) -> Document:
        """Share a text as this agent's own."""
        return await self._library.share(title, text, author=f"agent:{self._agent}")


def checked_query(query: str) -> Query:
    """The query; InvalidInput for one without a word, OverLimit for one that is too long."""
    if len(query) > MAX_QUERY:
        raise OverLimit("query", len(query), MAX_QUERY)
    asked = Query(query)
    if not asked.words:
        raise InvalidInput("it has no words.", argument="query", next_step="Name what to look for.")
    return asked
