"""What is remembered that has to do with a text, ready to be chosen from for an agent's context.

Promise: it is the caller's own, of no other project than the one that is named, and held now: nothing that was
forgotten, taken back, superseded, refused or has expired. Each item has its id, where it is from, since when it is
there, and who may see it. Where nothing is remembered at all that costs a look or two. That something was given is
noted as a use of it; nothing else is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text

from atlas_mcp.memory import memory_rows
from atlas_mcp.memory.context import IN_COMMON
from atlas_mcp.memory.facts import Facts
from atlas_mcp.memory.finding import Finder
from atlas_mcp.memory.likeness import Words
from atlas_mcp.memory.scope import Scope
from atlas_mcp.memory.words import Query
from atlas_mcp.model.context import ContextItem
from atlas_mcp.model.knowledge import MAX_QUERY
from atlas_mcp.store.memory_tables import CURRENT, fact, forgotten, memory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.fact import FactHit
    from atlas_mcp.model.knowledge import Hit
    from atlas_mcp.model.memory_kinds import MemoryKind
    from atlas_mcp.store.record import Record

KINDS: tuple[MemoryKind, ...] = ("short_term", "episodic", "long_term", "procedural")
"""What agents are given by themselves. Shared documents and their own archives they search with their tools; what is
under work belongs to who works on it."""
MOST_MEMORIES = 24
MOST_FACTS = 12
NEARLY = 0.9
"""From this share of the best similarity on, a memory means nearly what is asked. It says how near beside others, never
how near at all: so it takes the place of one word in common, not of all."""


class Relevant:
    """One caller's memory, looked at for what an agent should be given."""

    def __init__(self, caller: Caller, record: Record, finder: Finder | None = None) -> None:
        self._caller = caller
        self._record = record
        self._finder = finder or Finder(record)
        self._facts = Facts(caller, record)

    async def about(self, asked: str, *, project: str | None = None) -> list[ContextItem]:
        """What has to do with the text, best first: memories and procedures, then facts.

        A memory has to do with it if it shares two telling words with it, or all that there are, or one and nearly the
        meaning, as far as there are vectors; a fact, if it is about something that the text names.
        """
        words = Words(asked)
        if not words.telling:
            return []
        async with self._record.look() as db:
            remembers, knows = await self._any(db, memory), await self._any(db, fact)
        if not remembers and not knows:
            return []
        hits = await self._hits(asked) if remembers else {}
        async with self._record.read() as db:
            items = await self._memories(db, words, hits, project) if hits else []
            facts = await self._facts.related(db, asked, 2 * MOST_FACTS) if knows else []
        if self._finder.uses:
            self._finder.uses.note(self._caller, [hits[one.id] for one in items])
        near = [_of_fact(hit) for hit in facts if hit.fact.project in {None, "", project}]
        return items + near[:MOST_FACTS]

    async def forgotten(self, ids: Sequence[str]) -> frozenset[str]:
        """Which of these were forgotten since they were found."""
        mine = (forgotten.c.caller == self._caller.id, forgotten.c.item.in_(list(ids)))
        async with self._record.look() as db:
            return frozenset((await db.execute(select(forgotten.c.item).where(*mine))).scalars())

    async def _any(self, db: AsyncConnection, table: Any) -> bool:
        return (
            await db.execute(select(table.c.id).where(table.c.caller == self._caller.id).limit(1))
        ).first() is not None

    async def _hits(self, asked: str) -> dict[str, Hit]:
        """What a search finds, the best first, by the ids of what the passages belong to."""
        hits: dict[str, Hit] = {}
        found = await self._finder.find(Scope(self._caller, KINDS), Query(asked[:MAX_QUERY]), 2 * MOST_MEMORIES)
        for hit in found.hits:
            hits.setdefault(hit.id.rsplit("/", 1)[0], hit)
        return hits

    async def _memories(
        self, db: AsyncConnection, words: Words, hits: Mapping[str, Hit], project: str | None
    ) -> list[ContextItem]:
        held = (memory.c.caller == self._caller.id, memory.c.id.in_(list(hits)), text(CURRENT), memory_rows.living())
        rows = {row.id: row for row in await db.execute(select(memory).where(*held))}
        near = (
            _of_memory(rows[one], hit)
            for one, hit in hits.items()
            if one in rows and rows[one].project in {"", project} and _has_to_do(words, rows[one], hit)
        )
        return list(near)[:MOST_MEMORIES]


def _has_to_do(words: Words, row: Row[Any], hit: Hit) -> bool:
    shared = words.telling & Words(f"{row.about} {row.text}").telling
    needed = 1 if hit.why.get("vectors", 0.0) >= NEARLY else IN_COMMON
    return len(shared) >= min(needed, len(words.telling))


def _of_memory(row: Row[Any], hit: Hit) -> ContextItem:
    return ContextItem(
        id=row.id,
        section="procedures" if row.kind == "procedural" else "memories",
        text=row.text,
        source=_from(row.run_id, row.author, row.source),
        kind=row.kind,
        scope=row.scope,
        score=hit.score,
        at=row.updated_at,
    )


def _of_fact(hit: FactHit) -> ContextItem:
    one = hit.fact
    named = one.sources[0].source if one.sources else ""
    return ContextItem(
        id=one.id,
        section="facts",
        text=one.text,
        source=_from(one.run_id, one.author, named),
        kind="fact",
        scope=one.scope,
        score=min(1.0, hit.score),
        at=one.learned_at,
    )


def _from(run_id: str | None, author: str, source: str) -> str:
    """The run that told it, or who did, and where that had it from."""
    return ", ".join(part for part in (run_id or author, source.split("\n", 1)[0]) if part)
