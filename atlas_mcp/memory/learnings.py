"""What one constellation learned from its runs: kept with its source, found again for the next run on a similar goal.

Promise: a proposal is stored once, however often its run is taken up again. What is remembered is searched like shared
knowledge; what was refused is kept with its reason for REFUSED_DAYS and then deleted, by itself: whenever something is
kept, and when the record's owner says so. Every query is bound to one caller.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, uuid5

from sqlalchemy import delete, insert, select

from atlas_mcp.memory.chunks import passages
from atlas_mcp.memory.documents import Origin, add_passages
from atlas_mcp.memory.likeness import Words
from atlas_mcp.memory.search import Scope, search
from atlas_mcp.model.learning import Judged, Learning
from atlas_mcp.store.tables import learning as table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.memory_kinds import MemoryKind
    from atlas_mcp.store.record import Record

LEARNING: MemoryKind = "learning"
REFUSED_DAYS = 30
MOST_RECALLED = 6
ROOM = 1_600
"""Characters of all that is recalled for one goal: about four hundred tokens."""
_IN_COMMON = 2
_NEAREST = 4


def learning_id(run_id: str, number: int) -> str:
    """The id of a run's proposal of that number."""
    return f"lrn-{uuid5(NAMESPACE_OID, f'{run_id} {number}')}"


class Learnings:
    """One caller's learnings."""

    def __init__(self, caller: Caller, record: Record) -> None:
        self._caller = caller
        self._record = record

    async def recall(self, goal: str) -> list[Learning]:
        """What was learned that has to do with the goal, best first: at most MOST_RECALLED, and ROOM characters.

        It has to do with the goal if it shares two telling words with it, or all that there are.
        """
        words = Words(goal)
        asked = words.telling
        if not asked:
            return []
        async with self._record.look() as db:
            if not (await db.execute(select(table.c.id).where(*self._remembered()).limit(1))).first():
                return []
        async with self._record.read() as db:
            hits = await search(db, Scope(self._caller, (LEARNING,)), words.asking, 3 * MOST_RECALLED)
            ids = list(dict.fromkeys(hit.id.rsplit("/", 1)[0] for hit in hits))
            rows = {r.id: r for r in await db.execute(select(table).where(*self._remembered(), table.c.id.in_(ids)))}
        found: list[Learning] = []
        room = ROOM
        for row in (rows[i] for i in ids if i in rows):
            shared = asked & Words(f"{row.about} {row.text}").telling
            if len(shared) >= min(_IN_COMMON, len(asked)) and len(row.text) <= room and len(found) < MOST_RECALLED:
                found.append(_learning(row))
                room -= len(row.text)
        return found

    async def near(self, text: str) -> list[str]:
        """What is remembered that comes nearest to the text: learnings, and passages of shared knowledge."""
        query = Words(text).asking
        kinds: tuple[MemoryKind, ...] = (LEARNING, "knowledge")
        async with self._record.read() as db:
            found = [await search(db, Scope(self._caller, (kind,)), query, _NEAREST) for kind in kinds]
        return [hit.text for hits in found for hit in hits]

    async def keep(self, judged: Sequence[Judged]) -> None:
        """Store what was judged; what is remembered is searchable at once. What is stored already stays as it is."""
        async with self._record.write() as db:
            await _expire(db)
            ids = [one.learning.id for one in judged]
            known = set((await db.execute(select(table.c.id).where(table.c.id.in_(ids)))).scalars())
            for one in judged:
                if one.learning.id not in known:
                    await db.execute(insert(table).values(self._row(one)))
                    if one.kept:
                        await add_passages(db, self._caller, _origin(one), passages(one.learning.text))

    async def refused(self, run_id: str) -> list[tuple[Learning, str]]:
        """What of a run is not remembered, with the reasons, for as long as it is kept."""
        mine = (table.c.caller == self._caller.id, table.c.run_id == run_id, table.c.reason != "")
        async with self._record.read() as db:
            return [(_learning(row), row.reason) for row in await db.execute(select(table).where(*mine))]

    def _remembered(self) -> tuple[Any, ...]:
        return (table.c.caller == self._caller.id, table.c.reason == "")

    def _row(self, one: Judged) -> dict[str, Any]:
        return one.learning.model_dump() | {
            "caller": self._caller.id,
            "project": one.project,
            "confidence": one.confidence,
            "scores": one.scores,
            "reason": one.reason,
            "at": one.at,
            "expires_at": None if one.kept else one.at + timedelta(days=REFUSED_DAYS),
        }


async def expire(record: Record) -> None:
    """Delete what was refused so long ago, of all callers."""
    async with record.look() as db:
        if not (await db.execute(select(table.c.id).where(_expired()).limit(1))).first():
            return
    async with record.write() as db:
        await _expire(db)


async def _expire(db: AsyncConnection) -> None:
    await db.execute(delete(table).where(_expired()))


def _expired() -> ColumnElement[bool]:
    return table.c.expires_at < datetime.now(UTC)


def _origin(one: Judged) -> Origin:
    given = one.learning
    return Origin(
        LEARNING, given.id, given.about or given.kind, one.project, f"agent:{given.agent}", given.trust, one.at
    )


def _learning(row: Any) -> Learning:
    return Learning.model_validate({name: row._mapping[name] for name in Learning.model_fields})  # pyright: ignore[reportPrivateUsage]  # SQLAlchemy's own public name
