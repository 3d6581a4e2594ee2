"""The edges as a Neo4j has them: `Edges` in Cypher, in reading transactions only.

There is a node `AtlasThing` for each thing, `AtlasValue` for each value, and between them a relationship `FACT` for
each version of a fact, with its times in microseconds since 1970. What belongs to one record has the same `space`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from atlas_mcp.memory.edges import Edge
from atlas_mcp.memory.entities import in_parts

if TYPE_CHECKING:
    from collections.abc import Collection

    from atlas_mcp.memory.edges import View
    from atlas_mcp.memory.neo4j.link import Link

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_BEST_FIRST = "trust DESC, confidence DESC, learned_at DESC, fact, version"


def key_of(space: str, name: str) -> str:
    """What a thing, a value or a fact of one record is called there."""
    return f"{space} {name}"


def microseconds(moment: datetime | None) -> int | None:
    """The moment as it is kept there."""
    return None if moment is None else (moment - _BEGINNING) // timedelta(microseconds=1)


class GraphEdges:
    """The edges of one record. StoreUnavailable when the Neo4j does not answer in time."""

    def __init__(self, link: Link, space: str) -> None:
        self._link = link
        self._space = space

    async def touching(self, view: View, entities: Collection[str], limit: int, *, linking: bool = False) -> list[Edge]:
        """See `Edges`."""
        conditions, values = _conditions(view)
        if linking:
            conditions.append("f.object IS NOT NULL")
        cypher = (
            f"MATCH (a:AtlasThing)-[f:FACT]-() WHERE a.key IN $keys AND {' AND '.join(conditions)}"
            " RETURN DISTINCT f.fact AS fact, f.version AS version, f.subject AS subject, f.object AS object,"
            f" f.trust AS trust, f.confidence AS confidence, f.learned_at AS learned_at ORDER BY {_BEST_FIRST}"
            " LIMIT $limit"
        )
        found: dict[tuple[str, int], Edge] = {}
        for some in in_parts(entities):
            keys = [key_of(self._space, one) for one in some]
            for row in await self._link.read(cypher, {**values, "keys": keys, "limit": limit - len(found)}):
                edge = Edge(row["fact"], row["version"], row["subject"], row["object"])
                found[edge.id, edge.version] = edge
            if len(found) >= limit:
                break
        return list(found.values())


def _conditions(view: View) -> tuple[list[str], dict[str, Any]]:
    """`View.condition` in Cypher, and its values."""
    wanted = ["f.caller = $caller"]
    values: dict[str, Any] = {"caller": view.caller.id}
    for name, value in (("project", view.project), ("relation", view.relation)):
        if value is not None:
            wanted.append(f"f.{name} = ${name}")
            values[name] = value
    if view.scopes is not None:
        wanted.append("f.scope IN $scopes")
        values["scopes"] = list(view.scopes)
    if view.at is not None:
        wanted.append("(f.true_from IS NULL OR f.true_from <= $at)")
    if view.at is not None or not view.history:
        wanted.append("(f.true_until IS NULL OR f.true_until > $at)")
        values["at"] = microseconds(view.at or view.now)
    if view.known_at is not None:
        wanted += ["f.learned_at <= $known", "(f.superseded_at IS NULL OR f.superseded_at > $known)"]
        values["known"] = microseconds(view.known_at)
    elif not view.history:
        wanted.append("f.superseded_at IS NULL")
    return wanted, values
