"""Conversations: which thread with an agent a message belongs to. Only the caller's own threads exist for a caller."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, insert, select

from atlas_mcp.constellation.names import thread_lock
from atlas_mcp.errors import LettaLost, UnknownConversation
from atlas_mcp.store.tables import conversation as table

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.constellation.keeper import Keeper
    from atlas_mcp.letta.door import Letta
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record

_OF_AGENT = (
    table.c.caller == bindparam("mine"),
    table.c.server == bindparam("there"),
    table.c.agent == bindparam("who"),
)
_MINE = select(table.c.id).where(*_OF_AGENT, table.c.id == bindparam("thread"))
_OWN = (
    select(table.c.id)
    .where(*_OF_AGENT, table.c.client == bindparam("whose"))
    .order_by(table.c.created_at.desc())
    .limit(1)
)
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
        self._here = {"mine": caller.id, "there": letta.name}

    async def resolve(self, agent: str, conversation: str | None, *, run_id: str | None = None) -> str:
        """The conversation's id. None: this client's own thread with the agent, opened if there is none; "new": a new
        one; else that of the id, or UnknownConversation. Without conversations on the server, the agent's only thread.
        """
        if not self._letta.abilities.conversations:
            return await self._only(agent, conversation)
        if conversation == NEW:
            return await self.open(agent, run_id=run_id)
        async with self._record.look() as db:
            found = await self.find(db, agent, conversation)
        return found or await self._open_own(agent)

    async def find(self, db: AsyncConnection, agent: str, conversation: str | None) -> str | None:
        """What `resolve` gives, if the record knows it: None for what must be opened first, or asked for."""
        if conversation == NEW or not self._letta.abilities.conversations:
            return None
        if conversation is None:
            of_client = {**self._here, "who": agent, "whose": self._client}
            return (await db.execute(_OWN, of_client)).scalar_one_or_none()
        found = (await db.execute(_MINE, {**self._here, "who": agent, "thread": conversation})).scalar_one_or_none()
        if found is None:
            raise UnknownConversation(conversation, agent)
        return found

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
            async with self._record.look() as db:
                found = await self.find(db, agent, None)
            return found or await self.open(agent, client=self._client)
