"""Where the agents and blocks of callers stand, as small values that are others after each change, read in one look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, select

from atlas_mcp.constellation.agent_rows import SHARED
from atlas_mcp.store.tables import addition, block, revision

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.ext.asyncio import AsyncConnection

_NEWEST = select(func.max(revision.c.number)).where(revision.c.block_id == block.c.letta_id).scalar_subquery()
_BLOCKS = select(block.c.caller, block.c.owner, block.c.label, _NEWEST.label("number")).where(
    block.c.caller.in_(bindparam("callers", expanding=True)), block.c.label.in_(bindparam("labels", expanding=True))
)
_ADDED = (
    select(addition.c.caller, addition.c.kind, addition.c.name, addition.c.created_at)
    .where(addition.c.caller.in_(bindparam("callers", expanding=True)))
    .order_by(addition.c.caller, addition.c.kind, addition.c.name)
)


class Revisions:
    """The newest revisions of callers' blocks."""

    def __init__(self, rows: dict[tuple[str, str, str], int]) -> None:
        self._rows = rows

    def of(self, caller: str, agent: str, label: str) -> int | None:
        """The number of the agent's block's newest revision; None while there is no such block."""
        own = self._rows.get((caller, agent, label))
        return self._rows.get((caller, SHARED, label)) if own is None else own


async def newest_revisions(db: AsyncConnection, callers: Collection[str], labels: Collection[str]) -> Revisions:
    """The newest revisions of all these callers' blocks with these labels."""
    found: dict[tuple[str, str, str], int] = {}
    for row in await db.execute(_BLOCKS, {"callers": [*callers], "labels": [*labels]}):
        place = (row.caller, row.owner, row.label)
        found[place] = max(found.get(place, 0), row.number or 0)  # one that moved may be known on two Lettas
    return Revisions(found)


async def additions(db: AsyncConnection, callers: Collection[str]) -> dict[str, tuple[Any, ...]]:
    """What each of these callers added to the roster, and when."""
    found: dict[str, tuple[Any, ...]] = {}
    for row in await db.execute(_ADDED, {"callers": [*callers]}):
        found[row.caller] = (*found.get(row.caller, ()), (row.kind, row.name, row.created_at))
    return found
