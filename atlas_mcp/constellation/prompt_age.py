"""Whether a thread's prompt is older than what it tells of the agent.

Letta's own servers compile a thread's prompt, with the agent's memory in it, when the thread is opened, and never again
by themselves. The record knows when the memory or the agent was last changed, and when a turn of the thread last began:
each turn starts from a prompt that was then as new as could be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, select

from atlas_mcp.store.tables import agent, conversation, revision, turn

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.constellation.agent_rows import KeptAgent
    from atlas_mcp.constellation.turn_rows import TurnRow
    from atlas_mcp.model.caller import Caller


_SEEN = (
    select(func.max(turn.c.started_at))
    .where(
        turn.c.caller == bindparam("mine"),
        turn.c.conversation == bindparam("thread"),
        turn.c.id != bindparam("turn"),
        turn.c.status == "done",
    )
    .scalar_subquery()
)
_OPENED = select(conversation.c.created_at).where(conversation.c.id == bindparam("thread")).scalar_subquery()
_CHANGED = (
    select(func.max(revision.c.at))
    .where(revision.c.block_id.in_(bindparam("blocks", expanding=True)))
    .scalar_subquery()
)
_UPDATED = (
    select(agent.c.updated_at)
    .where(agent.c.caller == bindparam("mine"), agent.c.server == bindparam("there"), agent.c.name == bindparam("who"))
    .scalar_subquery()
)
_AGES = select(_SEEN, _OPENED, _CHANGED, _UPDATED)


async def is_outdated(db: AsyncConnection, caller: Caller, server: str, row: TurnRow, kept: KeptAgent) -> bool:
    """Whether the agent or its memory was changed since the prompt of the turn's thread was compiled.

    A turn that came to nothing may have ended before it looked: it does not count.
    """
    asked = {"mine": caller.id, "there": server, "who": kept.name, "thread": row.conversation, "turn": row.id}
    blocks = [block.letta_id for block in kept.blocks.values()]
    turned, opened, *changes = (await db.execute(_AGES, {**asked, "blocks": blocks})).one()
    seen = turned or opened
    return any(seen is None or change >= seen for change in changes if change is not None)
