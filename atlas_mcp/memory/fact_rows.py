"""Facts as they are shown: rows of the record with the names of the things that they are about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from atlas_mcp.memory.entities import shown
from atlas_mcp.memory.versions import period_of, sources_of
from atlas_mcp.model.fact import Fact
from atlas_mcp.store.memory_tables import fact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.memory.edges import Edge, View
    from atlas_mcp.memory.entities import Aliases
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.fact import Entity


async def rows_of(db: AsyncConnection, view: View, edges: Sequence[Edge]) -> list[Row[Any]]:
    """The rows of these facts in the same order, as far as they are seen."""
    keys = [(edge.id, edge.version) for edge in edges]
    seen = (view.condition(), fact.c.id.in_({fact_id for fact_id, _ in keys}))
    rows = {(row.id, row.version): row for row in await db.execute(select(fact).where(*seen))} if keys else {}
    return [rows[key] for key in keys if key in rows]


async def shown_facts(db: AsyncConnection, caller: Caller, rows: Sequence[Row[Any]], aliases: Aliases) -> list[Fact]:
    """The facts of these rows, in the same order."""
    ends = {aliases.root(end) for row in rows for end in (row.subject, row.object) if end is not None}
    things = await shown(db, caller, ends, aliases)
    return [
        _fact(row, things[aliases.root(row.subject)], things[aliases.root(row.object)] if row.object else None)
        for row in rows
    ]


def contradict(one: Row[Any], other: Row[Any], aliases: Aliases) -> bool:
    """Whether two facts of one subject, of which it has but one such object at a time, are not both true."""
    ground = (one.relation, one.scope, one.project) == (other.relation, other.scope, other.project)
    said, other_said = ((aliases.root(r.object) if r.object else r.value) for r in (one, other))
    return ground and said != other_said and period_of(one).overlaps(period_of(other))


def disputes(facts: Sequence[Fact], view: View) -> list[str]:
    """A note on each functional relation of which more than one is held at a time."""
    if view.history:
        return []
    said: dict[tuple[str, str, str, str | None], list[Fact]] = {}
    for one in facts:
        if one.functional:
            said.setdefault((one.subject, one.relation, one.scope, one.project), []).append(one)
    return [
        f"{subject} {relation}: {len(several)} facts contradict each other; the most trusted is the first."
        for (subject, relation, _, _), several in said.items()
        if any(_contradicts(one, other) for one in several for other in several)
    ]


def _contradicts(one: Fact, other: Fact) -> bool:
    return (one.object, one.value) != (other.object, other.value) and one.period.overlaps(other.period)


def _fact(row: Row[Any], subject: Entity, named: Entity | None) -> Fact:
    same = (
        "id", "version", "relation", "text", "scope", "true_from", "true_until", "learned_at", "superseded_at",
        "superseded_by", "author", "run_id", "confidence", "trust", "functional",
    )  # fmt: skip
    return Fact(
        **{name: getattr(row, name) for name in same},
        subject=subject.name,
        subject_kind=subject.kind,
        object=named.name if named else None,
        object_kind=named.kind if named else "",
        value=row.value if named is None else None,
        project=row.project or None,
        sources=sources_of(row),
    )
