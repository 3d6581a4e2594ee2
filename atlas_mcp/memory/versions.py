"""Versions of facts in the record: what is held, what takes its place, and what a search finds of it.

Everything here happens within one writing transaction of the caller whose facts they are. A version is never changed
but for who else told the same; it is ended, and others take its place.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import delete, func, insert, select, update

from atlas_mcp.memory.documents import write_passages
from atlas_mcp.model.fact import FactSource
from atlas_mcp.model.period import Period
from atlas_mcp.store.memory_tables import fact
from atlas_mcp.store.tables import passage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller

FACT = "fact"
MOST_SOURCES = 100


@dataclass(frozen=True)
class Ground:
    """What facts must have in common to be able to contradict each other. `subjects` are one thing by all its ids."""

    subjects: tuple[str, ...]
    relation: str
    scope: str
    project: str


def new_id() -> str:
    """The id of a fact that nobody told before."""
    return f"fact-{uuid4()}"


def period_of(row: Row[Any]) -> Period:
    """When the version is true."""
    return Period(since=row.true_from, until=row.true_until)


def sources_of(row: Row[Any]) -> list[FactSource]:
    """Who told it."""
    return [FactSource.model_validate(one) for one in row.sources]


async def held_on(db: AsyncConnection, caller: Caller, ground: Ground) -> list[Row[Any]]:
    """What is held there now, oldest first."""
    query = select(fact).where(
        fact.c.caller == caller.id,
        fact.c.subject.in_(ground.subjects),
        fact.c.relation == ground.relation,
        fact.c.scope == ground.scope,
        fact.c.project == ground.project,
        fact.c.superseded_at.is_(None),
    )
    return list(await db.execute(query.order_by(fact.c.learned_at, fact.c.id, fact.c.version)))


async def held_versions(db: AsyncConnection, caller: Caller, fact_id: str) -> list[Row[Any]]:
    """What is held now of one fact."""
    mine = (fact.c.caller == caller.id, fact.c.id == fact_id, fact.c.superseded_at.is_(None))
    return list(await db.execute(select(fact).where(*mine).order_by(fact.c.version)))


async def add_first(db: AsyncConnection, values: dict[str, Any], title: str) -> None:
    """Write the first version of a fact, and what a search finds of it."""
    await db.execute(insert(fact).values({**values, "version": 1, "superseded_at": None, "superseded_by": None}))
    text: str = values["text"]
    found = {name: values[name] for name in ("caller", "project", "author", "trust", "scope", "text")}
    found |= {"kind": FACT, "source": values["id"], "ordinal": 0, "title": title, "at": values["learned_at"]}
    await write_passages(db, [found | {"sha256": hashlib.sha256(text.encode()).hexdigest()}])


async def add_versions(
    db: AsyncConnection, row: Row[Any], periods: Iterable[Period], at: datetime, **changes: Any
) -> None:
    """Hold from now on that what the row says was true in these periods; `changes` are of its other values."""
    newest = (await db.execute(select(func.max(fact.c.version)).where(fact.c.id == row.id))).scalar_one()
    for number, period in enumerate(periods, newest + 1):
        values = {
            **{column.name: getattr(row, column.name) for column in fact.c},
            **changes,
            "version": number,
            "learned_at": at,
            "superseded_at": None,
            "superseded_by": None,
        }
        await db.execute(insert(fact).values(values | {"true_from": period.since, "true_until": period.until}))


async def end(db: AsyncConnection, row: Row[Any], at: datetime, by: str | None) -> None:
    """Hold it no longer. `by` is the fact that takes its place, None where nothing does."""
    change = {"superseded_by": by} | ({"superseded_at": at} if row.superseded_at is None else {})
    await db.execute(update(fact).where(fact.c.id == row.id, fact.c.version == row.version).values(change))


async def supersede(db: AsyncConnection, row: Row[Any], at: datetime, by: str, left: Sequence[Period]) -> None:
    """Let another fact take its place, but for the periods that are left to it."""
    await end(db, row, at, by)
    await add_versions(db, row, left, at)
    await say_superseded(db, row.id, by)


async def set_sources(db: AsyncConnection, row: Row[Any], sources: Sequence[FactSource]) -> None:
    """Keep who told it; it counts as much as the most trusted of them."""
    best = max(sources, key=lambda one: one.trust)
    change = {
        "sources": [one.model_dump(mode="json") for one in sources[:MOST_SOURCES]],
        "author": best.author,
        "trust": best.trust,
        "confidence": max(one.confidence for one in sources if one.trust == best.trust),
    }
    await db.execute(update(fact).where(fact.c.id == row.id, fact.c.version == row.version).values(change))
    of_it = (passage.c.source == row.id, passage.c.kind == FACT)
    await db.execute(update(passage).where(*of_it).values(author=best.author, trust=best.trust))


async def say_superseded(db: AsyncConnection, fact_id: str, by: str | None) -> None:
    """Let a search know what took its place, or that nothing did."""
    of_it = (passage.c.source == fact_id, passage.c.kind == FACT)
    await db.execute(update(passage).where(*of_it).values(superseded_by=by))


async def unfind(db: AsyncConnection, fact_ids: Sequence[str]) -> None:
    """Let no search find these facts."""
    await db.execute(delete(passage).where(passage.c.source.in_(fact_ids), passage.c.kind == FACT))
