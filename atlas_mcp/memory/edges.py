"""Facts as the edges of a graph: which of them somebody sees, and those that touch a set of things.

What walks over the graph asks an `Edges` for one step after the other; the record is one, a graph database fed from
it another, and both answer alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sqlalchemy import and_, or_, select

from atlas_mcp.memory.entities import Aliases, in_parts
from atlas_mcp.store.memory_tables import fact

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller


@dataclass(frozen=True)
class View:
    """Which facts are seen. `scopes`, `project` and `relation` None are all of them.

    `at` is when they are to be true; without it, all that have not ended. `known_at` is when they were held; without
    it, now. `history` sees whatever was ever held.
    """

    caller: Caller
    scopes: tuple[str, ...] | None = None
    project: str | None = None
    at: datetime | None = None
    known_at: datetime | None = None
    history: bool = False
    relation: str | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def condition(self) -> ColumnElement[bool]:
        """The condition on a row of `fact`."""
        wanted = [fact.c.caller == self.caller.id]
        if self.scopes is not None:
            wanted.append(fact.c.scope.in_(self.scopes))
        if self.project is not None:
            wanted.append(fact.c.project == self.project)
        if self.relation is not None:
            wanted.append(fact.c.relation == self.relation)
        if self.at is not None:
            wanted.append(or_(fact.c.true_from.is_(None), fact.c.true_from <= self.at))
        if self.at is not None or not self.history:
            wanted.append(or_(fact.c.true_until.is_(None), fact.c.true_until > (self.at or self.now)))
        if self.known_at is not None:
            held = or_(fact.c.superseded_at.is_(None), fact.c.superseded_at > self.known_at)
            wanted += [fact.c.learned_at <= self.known_at, held]
        elif not self.history:
            wanted.append(fact.c.superseded_at.is_(None))
        return and_(*wanted)


class Edge(NamedTuple):
    """A version of a fact between two things, or of one thing that has a value."""

    id: str
    version: int
    subject: str
    object: str | None

    def other(self, one: str) -> str | None:
        """The thing at its other end."""
        return self.object if one == self.subject else self.subject


class Edges(Protocol):
    """Where a walk asks for edges. What cannot answer raises an Unavailable."""

    async def touching(self, view: View, entities: Collection[str], limit: int, *, linking: bool = False) -> list[Edge]:
        """Up to `limit` facts whose subject or object is one of these, the most trusted and the newest first; with
        `linking` only those that have an object. Their ends are what things turned out to be."""
        ...


BEST_FIRST = (fact.c.trust.desc(), fact.c.confidence.desc(), fact.c.learned_at.desc(), fact.c.id, fact.c.version)


class RecordEdges:
    """The edges in the record, all of the moment of one transaction."""

    def __init__(self, db: AsyncConnection, aliases: Aliases) -> None:
        self._db = db
        self._aliases = aliases

    async def touching(self, view: View, entities: Collection[str], limit: int, *, linking: bool = False) -> list[Edge]:
        """See `Edges`."""
        found: dict[tuple[str, int], Edge] = {}
        for some in in_parts(self._aliases.members(entities)):
            ends = or_(fact.c.subject.in_(some), fact.c.object.in_(some))
            query = select(fact.c.id, fact.c.version, fact.c.subject, fact.c.object).where(view.condition(), ends)
            if linking:
                query = query.where(fact.c.object.is_not(None))
            for row in await self._db.execute(query.order_by(*BEST_FIRST).limit(limit - len(found))):
                end = self._aliases.root(row.object) if row.object else None
                found[row.id, row.version] = Edge(row.id, row.version, self._aliases.root(row.subject), end)
            if len(found) >= limit:
                break
        return list(found.values())
