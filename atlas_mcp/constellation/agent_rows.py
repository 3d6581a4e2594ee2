"""The record's rows of agents and blocks: which of Letta's ids is whose. Every query is of one caller on one Letta."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import and_, bindparam, delete, insert, or_, select

from atlas_mcp.store.tables import agent, block, conversation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller

SHARED = "*"
_READ_AGENT = (  # built once: every turn reads its agent
    select(agent.c.letta_id.label("agent_id"), agent.c.fingerprint, block)
    .select_from(agent)
    .outerjoin(
        block,
        and_(
            block.c.caller == agent.c.caller,
            block.c.server == agent.c.server,
            or_(block.c.owner == bindparam("who"), block.c.owner == SHARED),
        ),
    )
    .where(agent.c.caller == bindparam("mine"), agent.c.server == bindparam("there"), agent.c.name == bindparam("who"))
)


@dataclass(frozen=True, slots=True)
class KeptBlock:
    """A block that the record knows; `shared` with the whole constellation or an agent's own."""

    label: str
    letta_id: str
    limit: int
    shared: bool


@dataclass(frozen=True, slots=True)
class KeptAgent:
    """An agent that the record knows; `tools` are the names of those that its Letta runs, told by the keeper."""

    name: str
    letta_id: str
    fingerprint: str
    blocks: dict[str, KeptBlock]
    tools: frozenset[str] = frozenset()


async def read_agent(db: AsyncConnection, caller: Caller, server: str, name: str) -> KeptAgent | None:
    """The agent with its own and the shared blocks; None if it was never created there."""
    rows = (await db.execute(_READ_AGENT, {"mine": caller.id, "there": server, "who": name})).all()
    if not rows:
        return None
    blocks = {r.label: KeptBlock(r.label, r.letta_id, r.limit, r.owner == SHARED) for r in rows if r.label}
    return KeptAgent(name, rows[0].agent_id, rows[0].fingerprint, blocks)


async def read_agents(db: AsyncConnection, caller: Caller, server: str) -> list[KeptAgent]:
    """Every agent of the caller that was created there, by name."""
    mine = (agent.c.caller == caller.id, agent.c.server == server)
    names = (await db.execute(select(agent.c.name).where(*mine).order_by(agent.c.name))).scalars()
    return [kept for name in list(names) if (kept := await read_agent(db, caller, server, name))]


async def read_blocks(db: AsyncConnection, caller: Caller, server: str, owners: Iterable[str]) -> dict[str, KeptBlock]:
    """The blocks of these owners, by label."""
    mine = (block.c.caller == caller.id, block.c.server == server, block.c.owner.in_(list(owners)))
    rows = await db.execute(select(block).where(*mine))
    return {r.label: KeptBlock(r.label, r.letta_id, r.limit, r.owner == SHARED) for r in rows}


async def write_agent(db: AsyncConnection, caller: Caller, server: str, kept: KeptAgent) -> None:
    """Keep the agent and its own blocks, in place of what was kept before.

    Conversations with an agent that it replaces are forgotten: Letta has them no longer.
    """
    mine = (agent.c.caller == caller.id, agent.c.server == server, agent.c.name == kept.name)
    before = (await db.execute(select(agent.c.letta_id, agent.c.created_at).where(*mine))).one_or_none()
    now = datetime.now(UTC)
    if before and before.letta_id != kept.letta_id:
        theirs = (conversation.c.server == server, conversation.c.agent == kept.name)
        await db.execute(delete(conversation).where(conversation.c.caller == caller.id, *theirs))
    await db.execute(delete(agent).where(*mine))
    row = {
        "caller": caller.id,
        "server": server,
        "name": kept.name,
        "letta_id": kept.letta_id,
        "fingerprint": kept.fingerprint,
        "created_at": before.created_at if before else now,
        "updated_at": now,
    }
    await db.execute(insert(agent).values(row))
    await write_blocks(db, caller, server, kept.name, [b for b in kept.blocks.values() if not b.shared])


async def write_blocks(db: AsyncConnection, caller: Caller, server: str, owner: str, blocks: list[KeptBlock]) -> None:
    """Keep these as the owner's blocks, in place of those kept before."""
    mine = (block.c.caller == caller.id, block.c.server == server, block.c.owner == owner)
    await db.execute(delete(block).where(*mine))
    common = {"caller": caller.id, "server": server, "owner": owner}
    rows = [common | {"label": b.label, "letta_id": b.letta_id, "limit": b.limit} for b in blocks]
    if rows:
        await db.execute(insert(block), rows)
