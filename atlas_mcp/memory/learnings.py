"""What one constellation learned from its runs, among its memories: facts for long, and ways of working.

Promise: a proposal is stored once, however often its run is taken up again. What says the same as a memory adds its
source to it; what has a memory's key and says another thing takes its place. What was refused is kept with its reason
for a while, and expires by itself. Every query is bound to one caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, uuid5

from sqlalchemy import select, text

from atlas_mcp.memory import memory_rows as rows
from atlas_mcp.memory.likeness import Words
from atlas_mcp.memory.memories import Memories
from atlas_mcp.memory.search import Scope, search
from atlas_mcp.model.learning import Judged, Known
from atlas_mcp.model.memory_item import New
from atlas_mcp.store.memory_tables import CURRENT, memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.learning import LearningKind
    from atlas_mcp.model.memory_kinds import MemoryKind, NoteKind
    from atlas_mcp.store.record import Record

KINDS: dict[LearningKind, NoteKind] = {"fact": "long_term", "procedure": "procedural", "what_worked": "procedural"}
MOST_KEYS = 40
_LEARNED: tuple[MemoryKind, ...] = ("long_term", "procedural")
_NEAREST = 4


def learning_id(run_id: str, number: int) -> str:
    """The id of a run's proposal of that number."""
    return f"lrn-{uuid5(NAMESPACE_OID, f'{run_id} {number}')}"


class Learnings:
    """One caller's learnings."""

    def __init__(self, caller: Caller, record: Record) -> None:
        self._caller = caller
        self._record = record
        self._memories = Memories(caller, record)

    async def near(self, text: str) -> list[Known]:
        """What is remembered that comes nearest to the text: memories, and passages of shared knowledge."""
        query = Words(text).asking
        async with self._record.read() as db:
            learned = await search(db, Scope(self._caller, _LEARNED), query, _NEAREST)
            shared = await search(db, Scope(self._caller, ("knowledge",)), query, _NEAREST)
            ids = [hit.id.rsplit("/", 1)[0] for hit in learned]
            found = await db.execute(select(memory).where(*self._remembered(), memory.c.id.in_(ids)))
            items = [rows.as_item(row) for row in found]
        return [Known(text=one.text, memory=one) for one in items] + [Known(text=hit.text) for hit in shared]

    async def keys(self) -> list[str]:
        """The keys under which something is remembered, the newest first, at most MOST_KEYS."""
        named = select(memory.c.key).where(*self._remembered(), memory.c.key.is_not(None))
        async with self._record.read() as db:
            found = await db.execute(named.order_by(memory.c.updated_at.desc()).limit(MOST_KEYS))
            return list(dict.fromkeys(found.scalars()))

    async def keep(self, judged: Sequence[Judged]) -> None:
        """Store what was judged; what is remembered is searchable at once. What is stored already stays as it is."""
        await self._memories.add_all([_as_new(one) for one in judged])

    def _remembered(self) -> tuple[ColumnElement[bool], ...]:
        mine = (memory.c.caller == self._caller.id, memory.c.kind.in_(_LEARNED))
        return (*mine, text(CURRENT), rows.living())  # pyright: ignore[reportReturnType]  # it serves as one


def _as_new(one: Judged) -> New:
    """What is to be stored; of what repeats a memory that it says so, too."""
    given, known = one.learning, one.repeats
    common: dict[str, Any] = {
        "source": given.source,
        "quote": given.quote,
        "author": f"agent:{given.agent}",
        "run_id": given.run_id,
    }
    if known is not None:
        place = {"kind": known.kind, "text": known.text, "scope": known.scope, "project": known.project or ""}
        return New.model_validate(place | common | {"trust": given.trust})
    return New(
        kind=KINDS[given.kind],
        text=given.text,
        about=given.about,
        scope=one.scope,
        project=one.project,
        key=given.key or None,
        trust=given.trust,
        confidence=one.confidence,
        scores=one.scores,
        score=given.score,
        reason=one.reason,
        id=given.id,
        **common,
    )
