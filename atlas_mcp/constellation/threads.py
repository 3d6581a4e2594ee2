"""Conversations: which thread with an agent a message belongs to. Only the caller's own threads exist for a caller."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from atlas_mcp.constellation.names import thread_lock
from atlas_mcp.errors import LettaLost, UnknownConversation
from atlas_mcp.store.tables import conversation as table

if TYPE_CHECKING:
    from atlas_mcp.constellation.keeper import Keeper
    from atlas_mcp.letta.door import Letta
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record

NEW = "new"
UNNAMED = "-"
"""Stands for a client that gave no name: it has threads of its own, too."""


class Threads:
    """One caller's conversations."""

    def __init__(self, caller: Caller, keeper: Keeper, letta: Letta, record: Record, locks: Locks) -> None:
        self._caller = caller
        self._client = caller.client or UNNAMED
        self._keeper = keeper
        self._letta = letta
        self._record = record
        self._locks = locks
        self._here = (table.c.caller == caller.id, table.c.server == letta.name)

    async def resolve(self, agent: str, conversation: str | None, *, run_id: str | None = None) -> str:
        """The conversation's id. None: this client's own thread with the agent, opened if there is none; "new": a new
        one; else that of the id, or UnknownConversation. Without conversations on the server, the agent's only thread.
        """
        if not self._letta.abilities.conversations:
            return await self._only(agent, conversation)
        if conversation == NEW:
            return await self.open(agent, run_id=run_id)
        if conversation is None:
            return await self._own(agent) or await self._open_own(agent)
        mine = (table.c.id == conversation, table.c.agent == agent, *self._here)
        async with self._record.read() as db:
            if (await db.execute(select(table.c.id).where(*mine))).one_or_none() is None:
                raise UnknownConversation(conversation, agent)
        return conversation

    async def open(self, agent: str, *, run_id: str | None = None, client: str = "") -> str:
        """Open a new conversation with the agent."""
        kept = await self._keeper.agent(agent)
        try:
            opened = await self._letta.open_conversation(kept.letta_id)
        except LettaLost:
            kept = await self._keeper.agent(agent, lost=kept.letta_id)
            opened = await self._letta.open_conversation(kept.letta_id)
        row = {
            "id": opened,
            "caller": self._caller.id,
            "server": self._letta.name,
            "agent": agent,
            "client": client,
            "run_id": run_id,
            "created_at": datetime.now(UTC),
        }
        async with self._record.write() as db:
            await db.execute(insert(table).values(row))
        return opened

    async def replace(self, agent: str, conversation: str) -> str:
        """A new conversation in place of one that Letta has lost: with the same owner, and found instead of it."""
        if not self._letta.abilities.conversations:
            return await self._only(agent, None)
        async with self._record.write() as db:
            row = (await db.execute(select(table).where(table.c.id == conversation))).one_or_none()
            await db.execute(table.delete().where(table.c.id == conversation, table.c.caller == self._caller.id))
        if row and row.client == self._client:
            return await self.resolve(agent, None)
        return await self.open(agent, run_id=row.run_id if row else None)

    async def _only(self, agent: str, conversation: str | None) -> str:
        """The one thread that an agent has where there are no conversations: it goes by the agent's own id."""
        only = (await self._keeper.agent(agent)).letta_id
        if conversation is not None and conversation not in {NEW, only}:
            raise UnknownConversation(conversation, agent)
        return only

    async def _open_own(self, agent: str) -> str:
        async with self._locks.hold(thread_lock(self._caller, agent, self._client)):
            return await self._own(agent) or await self.open(agent, client=self._client)

    async def _own(self, agent: str) -> str | None:
        mine = (*self._here, table.c.agent == agent, table.c.client == self._client)
        newest = select(table.c.id).where(*mine).order_by(table.c.created_at.desc()).limit(1)
        async with self._record.read() as db:
            return (await db.execute(newest)).scalar_one_or_none()
