"""What the user approved of other servers' tools, in the record, for all processes that share it.

A server's tools are approved as they are first found: the user put the server into his file. From then on they stay as
they were: one whose description, schema or annotations change is withheld until it is approved anew, and so is one that
comes later and reads like an order to the model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.reach.servers.listing import Listed, Told
    from atlas_mcp.store.record import Record


@dataclass(frozen=True)
class Standing:
    """Which of a server's tools are approved, and what keeps the others from being offered, by the server's names."""

    approved: tuple[Listed, ...] = ()
    withheld: dict[str, str] = field(default_factory=dict[str, str])


class Approvals:
    """Those of one record."""

    def __init__(self, record: Record) -> None:
        self._record = record

    async def told(self, server: str) -> dict[str, Told]:
        """What a model may be told of that server's tools, as it was approved."""
        async with self._record.look() as db:
            return {row.tool: row.told for row in await _rows(db, server)}

    async def standing(self, server: str, tools: Sequence[Listed]) -> Standing:
        """Of the tools as they are found now; those that may be are approved by this."""
        known = await self._known(server)
        standing = _judge(tools, known)
        if fresh := [one for one in standing.approved if one.tool not in known]:
            await self._enter(server, fresh)  # another process may be first, with something else
            standing = _judge(tools, await self._known(server))
        return standing

    async def judged(self, server: str, tools: Sequence[Listed]) -> Standing:
        """As `standing`, and nothing is approved by it."""
        return _judge(tools, await self._known(server))

    async def _known(self, server: str) -> dict[str, str]:
        async with self._record.look() as db:
            return {row.tool: row.sha256 for row in await _rows(db, server)}

    async def approve(self, server: str, tools: Iterable[Listed]) -> None:
        """Let these be offered as they are found now."""
        from sqlalchemy import delete

        from atlas_mcp.store.reach_tables import server_tool

        wanted = list(tools)
        async with self._record.write() as db:
            names = [one.tool for one in wanted]
            await db.execute(delete(server_tool).where(server_tool.c.server == server, server_tool.c.tool.in_(names)))
            await _insert(db, server, wanted)

    async def _enter(self, server: str, tools: Sequence[Listed]) -> None:
        async with self._record.write() as db:
            known = {row.tool for row in await _rows(db, server)}
            await _insert(db, server, [one for one in tools if one.tool not in known])


def _judge(tools: Sequence[Listed], known: dict[str, str]) -> Standing:
    approved: list[Listed] = []
    withheld: dict[str, str] = {}
    for one in tools:
        if one.tool in known and known[one.tool] != one.sha256:
            withheld[one.tool] = "what it says of itself changed since it was approved"
        elif one.tool not in known and known and one.flag:
            withheld[one.tool] = f"it came later, and what it says of itself reads like an order: {one.flag}"
        else:
            approved.append(one)
    return Standing(tuple(approved), withheld)


async def _rows(db: AsyncConnection, server: str) -> Sequence[Any]:
    from sqlalchemy import select

    from atlas_mcp.store.reach_tables import server_tool

    columns = (server_tool.c.tool, server_tool.c.sha256, server_tool.c.told)
    return (await db.execute(select(*columns).where(server_tool.c.server == server))).all()


async def _insert(db: AsyncConnection, server: str, tools: Iterable[Listed]) -> None:
    from sqlalchemy import insert

    from atlas_mcp.store.reach_tables import server_tool

    now = datetime.now(UTC)
    rows = [
        {"server": server, "tool": one.tool, "sha256": one.sha256, "told": one.told, "approved_at": now}
        for one in tools
    ]
    if rows:
        await db.execute(insert(server_tool), rows)
