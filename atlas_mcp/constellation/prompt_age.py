"""Whether a thread's prompt is older than what it tells of the agent.

Letta's own servers compile a thread's prompt, with the agent's memory in it, when the thread is opened, and never again
by themselves. The record knows when the memory or the agent was last changed, and when a turn of the thread last began:
each turn starts from a prompt that was then as new as could be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from atlas_mcp.store.tables import agent, conversation, revision, turn

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.constellation.agent_rows import KeptAgent
    from atlas_mcp.constellation.turn_rows import TurnRow
    from atlas_mcp.model.caller import Caller


async def is_outdated(db: AsyncConnection, caller: Caller, server: str, row: TurnRow, kept: KeptAgent) -> bool:
    """Whether the agent or its memory was changed since the prompt of the turn's thread was compiled.

    A turn that came to nothing may have ended before it looked: it does not count.
    """
    seen = await _newest(
        db,
        select(func.max(turn.c.started_at)).where(
            turn.c.caller == caller.id,
            turn.c.conversation == row.conversation,
            turn.c.id != row.id,
            turn.c.status == "done",
        ),
    ) or await _newest(db, select(conversation.c.created_at).where(conversation.c.id == row.conversation))
    blocks = [block.letta_id for block in kept.blocks.values()]
    mine = (agent.c.caller == caller.id, agent.c.server == server, agent.c.name == kept.name)
    changes = [
        await _newest(db, select(func.max(revision.c.at)).where(revision.c.block_id.in_(blocks))),
        await _newest(db, select(agent.c.updated_at).where(*mine)),
    ]
    return any(seen is None or change >= seen for change in changes if change is not None)


async def _newest(db: AsyncConnection, query: Any) -> datetime | None:
    return (await db.execute(query)).scalar_one_or_none()
