"""One caller's shared knowledge: what the caller and the agents put there, and all of them search.

An agent comes in by `Desk`, under its own name and with the trust of an agent; what it shares never takes the place of
what the caller or another agent shared. Everything here is a span of the trace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.errors import InvalidInput, OverLimit
from atlas_mcp.memory.documents import Documents
from atlas_mcp.memory.search import Scope, search
from atlas_mcp.memory.words import Query
from atlas_mcp.model.knowledge import MAX_HITS, MAX_QUERY
from atlas_mcp.watch.spans import outputs, span

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.knowledge import Document, Hit
    from atlas_mcp.store.record import Record

_SHOWN = 200


class Library:
    """One caller's documents. `on_change` is told of the caller whenever one was changed or deleted."""

    def __init__(self, caller: Caller, record: Record, on_change: Callable[[Caller], None] | None = None) -> None:
        self.caller = caller
        self.documents = Documents(caller, record)
        self._record = record
        self._on_change = on_change

    async def share(self, name: str, text: str, *, project: str | None = None, author: str = "caller") -> Document:
        """Keep the text under that name for every agent. InvalidInput, OverLimit."""
        inputs = {"name": name, "project": project, "chars": len(text), "begins": text[:_SHOWN]}
        with span("share knowledge", kind="MEMORY", inputs=inputs, author=author) as opened:
            made = await self.documents.share(name, text, project=project, author=author)
            outputs(opened, made.model_dump(mode="json"))
        self._changed(made.changed)
        return made

    async def delete(self, document_id: str) -> bool:
        """Delete the document here, and wherever it was copied to; False if there is none."""
        with span("delete knowledge", kind="MEMORY", inputs={"id": document_id}) as opened:
            done = await self.documents.delete_document(document_id)
            outputs(opened, {"deleted": done})
        self._changed(done)
        return done

    async def search(
        self, query: Query, limit: int, *, project: str | None = None, author: str | None = None
    ) -> list[Hit]:
        """The best passages of the documents, best first."""
        inputs = {"query": query.text, "project": project, "author": author, "limit": limit}
        with span("search knowledge", kind="RETRIEVER", inputs=inputs) as opened:
            async with self._record.read() as db:
                hits = await search(db, Scope(self.caller, ("knowledge",), project, author), query, limit)
            outputs(opened, [hit.model_dump(mode="json") for hit in hits])
            return hits

    def desk(self, agent: str) -> Desk:
        """The library as that agent uses it."""
        return Desk(self, agent)

    def _changed(self, changed: bool) -> None:
        if changed and self._on_change:
            self._on_change(self.caller)


class Desk:
    """The library as the sources of agents' tools use it: plain values in, so that they import nothing of ours."""

    def __init__(self, library: Library, agent: str) -> None:
        self._library = library
        self._agent = agent

    async def search(self, query: str, limit: int) -> list[Hit]:
        """The best passages of all shared documents."""
        return await self._library.search(checked_query(query), max(1, min(limit, MAX_HITS)))

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
