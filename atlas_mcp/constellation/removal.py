"""What goes with an agent or a group that its caller deletes: all of it, in Letta and in the record.

Letta comes first: when it fails, the record still knows what is there, and the deletion can be repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from atlas_mcp.constellation.agent_rows import SHARED, read_agent, read_blocks
from atlas_mcp.constellation.names import agent_lock, busy_marks, group_lock
from atlas_mcp.errors import IllegalChange
from atlas_mcp.store import memory_tables, tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.letta.door import Letta
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.group import GroupSpec
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record

_WAIT = "Wait until it is over, or cancel_run it; then call again."


class Removal:
    """Deletes what belongs to one caller in one Letta."""

    def __init__(self, caller: Caller, letta: Letta, record: Record, locks: Locks) -> None:
        self._caller = caller
        self._letta = letta
        self._record = record
        self._locks = locks

    def check_agent(self, name: str) -> None:
        """IllegalChange while the agent has a turn."""
        if self._locks.held_among(busy_marks(self._caller, name)):
            raise IllegalChange(f"{name!r} has a turn just now.", argument="agent", next_step=_WAIT)

    async def check_group(self, name: str) -> None:
        """IllegalChange while somebody talks with the group."""
        locks = [group_lock(conversation) for conversation in await self._conversations(name)]
        if self._locks.held_among(locks):
            raise IllegalChange(f"the group {name!r} is talking just now.", argument="group", next_step=_WAIT)

    async def agent(self, name: str) -> None:
        """Delete the agent with its own blocks, their history, its conversations and its archive."""
        async with self._locks.hold(agent_lock(self._caller, name)):
            async with self._record.read() as db:
                kept = await read_agent(db, self._caller, self._letta.name, name)
            if kept is None:
                return
            own = [b.letta_id for b in kept.blocks.values() if not b.shared]
            await self._letta.delete_agent(kept.letta_id)
            for block_id in own:
                await self._letta.moves.delete_block(block_id)
            async with self._record.write() as db:
                await self._drop(db, tables.agent, name=name)
                await self._drop(db, tables.block, owner=name)
                await self._drop(db, tables.conversation, agent=name)
                await self._drop_revisions(db, own)

    async def group(self, group: GroupSpec) -> None:
        """Delete the group's notes with their history, and its conversations; its agents stay."""
        conversations = await self._conversations(group.name)
        async with self._record.read() as db:
            kept = (await read_blocks(db, self._caller, self._letta.name, (SHARED,))).get(group.notes_label)
        if kept:
            await self._letta.moves.delete_block(kept.letta_id)
        async with self._record.write() as db:
            if kept:
                await self._drop(db, tables.block, owner=SHARED, label=group.notes_label)
                await self._drop_revisions(db, [kept.letta_id])
            for table, column in (
                (tables.group_message, "conversation"),
                (tables.group_thread, "conversation"),
                (tables.group_conversation, "id"),
                (memory_tables.summary, "subject"),
            ):
                await db.execute(delete(table).where(table.c[column].in_(conversations)))

    async def _conversations(self, group: str) -> list[str]:
        table = tables.group_conversation
        query = select(table.c.id).where(table.c.caller == self._caller.id, table.c.group_name == group)
        async with self._record.read() as db:
            return list((await db.execute(query)).scalars())

    async def _drop(self, db: AsyncConnection, table: Table, **columns: str) -> None:
        given = {"caller": self._caller.id, "server": self._letta.name, **columns}
        await db.execute(delete(table).where(*(table.c[name] == value for name, value in given.items())))

    async def _drop_revisions(self, db: AsyncConnection, blocks: Sequence[str]) -> None:
        table = tables.revision
        await db.execute(delete(table).where(table.c.caller == self._caller.id, table.c.block_id.in_(blocks)))
