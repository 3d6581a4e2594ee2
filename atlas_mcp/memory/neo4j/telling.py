"""What a Neo4j is told of facts: the statements that make it have of them what the record has now.

Each is idempotent: what it had of these facts is deleted, and what the record has is created. A thing that turned out
to be another is not there; its facts are the other's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from atlas_mcp.memory.neo4j.edges import key_of, microseconds
from atlas_mcp.store.memory_tables import entity, fact

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.memory.neo4j.link import Statement

_DROP_FACTS = "MATCH ()-[f:FACT]->() WHERE f.fact_key IN $keys DELETE f"
_DROP_VALUES = "MATCH (v:AtlasValue) WHERE v.fact_key IN $keys DETACH DELETE v"
_DROP_THINGS = "MATCH (t:AtlasThing) WHERE t.key IN $keys DETACH DELETE t"
_THINGS = "UNWIND $rows AS row MERGE (t:AtlasThing {key: row.key}) SET t += row.has"
_LINKS = (
    "UNWIND $rows AS row MATCH (a:AtlasThing {key: row.from}) MATCH (b:AtlasThing {key: row.to})"
    " CREATE (a)-[f:FACT]->(b) SET f = row.has"
)
_VALUES = (
    "UNWIND $rows AS row MATCH (a:AtlasThing {key: row.from})"
    " CREATE (a)-[f:FACT]->(v:AtlasValue {fact_key: row.fact_key, space: row.space, text: row.text}) SET f = row.has"
)


def wiping(at_once: int) -> list[str]:
    """Statements that delete some of a space, and give how many they deleted as `n`."""
    labels = ("AtlasThing", "AtlasValue", "AtlasMirror")
    return [
        f"MATCH (n:{label}) WHERE n.space = $space WITH n LIMIT {at_once} DETACH DELETE n RETURN count(*) AS n"
        for label in labels
    ]


async def told_of(db: AsyncConnection, space: str, facts: Sequence[str], items: Iterable[str]) -> list[Statement]:
    """What brings these facts up to date, and the things among the items."""
    rows = list(await db.execute(select(fact).where(fact.c.id.in_(facts))))
    named = {item for item in items if item.startswith("entity-")}
    things = await _things(db, named | {end for row in rows for end in (row.subject, row.object) if end})
    roots = {one: _root(one, things) for one in things}
    known = [things[one] for one in dict.fromkeys(roots.values())]
    gone = [one for one in named if roots.get(one) != one]
    keys = [key_of(space, one) for one in facts]
    links = [_link(space, row, roots) for row in rows if row.object is not None]
    values = [
        {**_link(space, row, roots), "fact_key": key_of(space, row.id), "space": space, "text": row.value}
        for row in rows
        if row.object is None
    ]
    told: list[Statement] = [
        (_THINGS, {"rows": [_thing(space, one) for one in known]}),
        (_DROP_FACTS, {"keys": keys}),
        (_DROP_VALUES, {"keys": keys}),
        (_LINKS, {"rows": links}),
        (_VALUES, {"rows": values}),
        (_DROP_THINGS, {"keys": [key_of(space, one) for one in gone]}),
    ]
    return [(cypher, given) for cypher, given in told if any(given.values())]


async def _things(db: AsyncConnection, ids: set[str]) -> dict[str, Row[Any]]:
    """These things, and what they turned out to be."""
    found: dict[str, Row[Any]] = {}
    while ids:
        rows = list(await db.execute(select(entity).where(entity.c.id.in_(ids))))
        found |= {row.id: row for row in rows}
        ids = {row.merged_into for row in rows if row.merged_into is not None} - found.keys()
    return found


def _root(one: str, things: dict[str, Row[Any]]) -> str:
    while (into := things[one].merged_into) is not None:
        one = into
    return one


def _thing(space: str, row: Row[Any]) -> dict[str, Any]:
    has = {"space": space, "entity": row.id, "caller": row.caller, "name": row.name, "kind": row.kind}
    return {"key": key_of(space, row.id), "has": has}


def _link(space: str, row: Row[Any], roots: dict[str, str]) -> dict[str, Any]:
    subject = roots[row.subject]
    named = None if row.object is None else roots[row.object]
    same = ("caller", "version", "relation", "text", "scope", "project", "author", "trust", "confidence")
    has: dict[str, Any] = {name: getattr(row, name) for name in same}
    has |= {"fact": row.id, "fact_key": key_of(space, row.id), "space": space, "subject": subject, "object": named}
    for name in ("true_from", "true_until", "learned_at", "superseded_at"):
        has[name] = microseconds(getattr(row, name))
    return {
        "from": key_of(space, subject),
        "to": None if named is None else key_of(space, named),
        "has": {name: value for name, value in has.items() if value is not None},
    }
