"""What is remembered that has to do with a text, ready to be chosen from for an agent's context.

Promise: it is the caller's own, of no other project than the one that is named, and held now: nothing that was
forgotten, taken back, superseded, refused or has expired. Each item has its id, where it is from, since when it is
there, and who may see it. Where nothing is remembered at all that costs a look or two. Nothing is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text

from atlas_mcp.memory import memory_rows
from atlas_mcp.memory.context import IN_COMMON
from atlas_mcp.memory.facts import Facts
from atlas_mcp.memory.likeness import Words
from atlas_mcp.memory.search import Scope, search
from atlas_mcp.model.context import ContextItem
from atlas_mcp.store.memory_tables import CURRENT, fact, forgotten, memory

if TYPE_CHECKING:
    from collections.abc import Sequence

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


class Relevant:
    """One caller's memory, looked at for what an agent should be given."""

    def __init__(self, caller: Caller, record: Record) -> None:
        self._caller = caller
        self._record = record
        self._facts = Facts(caller, record)

    async def about(self, asked: str, *, project: str | None = None) -> list[ContextItem]:
        """What has to do with the text, best first: memories and procedures, then facts.

        A memory has to do with it if it shares two telling words with it, or all that there are; a fact, if it is about
        something that the text names.
        """
        words = Words(asked)
        if not words.telling:
            return []
        async with self._record.look() as db:
            remembers, knows = await self._any(db, memory), await self._any(db, fact)
        if not remembers and not knows:
            return []
        async with self._record.read() as db:
            items = await self._memories(db, words, project) if remembers else []
            facts = await self._facts.related(db, asked, 2 * MOST_FACTS) if knows else []
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

    async def _memories(self, db: AsyncConnection, words: Words, project: str | None) -> list[ContextItem]:
        hits: dict[str, Hit] = {}
        for hit in await search(db, Scope(self._caller, KINDS), words.asking, 2 * MOST_MEMORIES):
            hits.setdefault(hit.id.rsplit("/", 1)[0], hit)
        held = (memory.c.caller == self._caller.id, memory.c.id.in_(list(hits)), text(CURRENT), memory_rows.living())
        rows = {row.id: row for row in await db.execute(select(memory).where(*held))}
        near = (
            _of_memory(rows[one], hit)
            for one, hit in hits.items()
            if one in rows and rows[one].project in {"", project} and _has_to_do(words, rows[one])
        )
        return list(near)[:MOST_MEMORIES]


def _has_to_do(words: Words, row: Row[Any]) -> bool:
    shared = words.telling & Words(f"{row.about} {row.text}").telling
    return len(shared) >= min(IN_COMMON, len(words.telling))


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
