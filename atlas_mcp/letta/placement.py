"""Which Letta has a caller's constellation: chosen once, kept in the record, changed by a move only.

The choice is rendezvous hashing: it depends on the caller's id, the servers' names and weights alone, so that every
process makes the same one, and another server in the list draws constellations to itself without moving them among the
others. A move holds `moving_lock` for as long as it works; `moving_to` without anybody holding it is what a move left
that was killed: nothing had been switched, and the constellation is used where it is.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, insert, select

from atlas_mcp.store.tables import agent, placement

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.server import Server


_READ = select(placement).where(placement.c.caller == bindparam("mine"))  # built once: every call runs it


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the constellation of the caller with that id is, and where it is being moved to."""

    caller: str
    server: str
    moving_to: str | None
    at: datetime


def choose(caller: str, servers: Iterable[Server]) -> Server:
    """The server for a new constellation of that caller; ValueError when none has a weight."""
    return max((s for s in servers if s.weight), key=lambda s: _draw(caller, s))


def moving_lock(caller: str) -> str:
    """Held while that caller's constellation is moved."""
    return f"moving-{caller}"


async def read(db: AsyncConnection, caller: str) -> Placement | None:
    """Where the caller's constellation is; None if it never was anywhere."""
    row = (await db.execute(_READ, {"mine": caller})).one_or_none()
    return _placement(row) if row else None


async def read_all(db: AsyncConnection) -> list[Placement]:
    """Every constellation's place, in the order of the callers."""
    return [_placement(row) for row in await db.execute(select(placement).order_by(placement.c.caller))]


async def put(db: AsyncConnection, caller: str, server: str, *, moving_to: str | None = None) -> Placement:
    """Keep that the caller's constellation is on that server from now on."""
    made = Placement(caller, server, moving_to, datetime.now(UTC))
    await db.execute(delete(placement).where(placement.c.caller == caller))
    row = {"caller": caller, "server": server, "moving_to": moving_to, "at": made.at}
    await db.execute(insert(placement).values(row))
    return made


async def counted(db: AsyncConnection) -> dict[str, int]:
    """How many constellations each server has, by its name; one that has none is left out."""
    rows = await db.execute(select(placement.c.server, func.count()).group_by(placement.c.server))
    return {row[0]: row[1] for row in rows}


async def left_behind(db: AsyncConnection, caller: str) -> dict[str, int]:
    """How many agents the caller still has on servers other than the one that has the constellation, by their names."""
    placed = select(placement.c.server).where(placement.c.caller == caller).scalar_subquery()
    mine = (agent.c.caller == caller, agent.c.server != placed)
    rows = await db.execute(select(agent.c.server, func.count()).where(*mine).group_by(agent.c.server))
    return {row[0]: row[1] for row in rows}


def _draw(caller: str, server: Server) -> float:
    """A number that only this caller and this server give; the server with the greatest is chosen."""
    digest = hashlib.sha256(f"{server.name}\n{caller}".encode()).digest()
    fraction = (int.from_bytes(digest[:8], "big") + 0.5) / 2**64
    return -server.weight / math.log(fraction)


def _placement(row: Any) -> Placement:
    return Placement(row.caller, row.server, row.moving_to, row.at)
