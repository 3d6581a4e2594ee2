"""The record's rows of groups' conversations: who said what, and what each agent has been told of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import func, insert, select, update

from atlas_mcp.errors import UnknownConversation
from atlas_mcp.model.group import Said
from atlas_mcp.store import tables

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.record import Record

NEW = "new"
UNNAMED = "-"
"""Stands for a client that gave no name: it has threads of its own, too."""
_CONVERSATION, _MESSAGE, _THREAD = tables.group_conversation, tables.group_message, tables.group_thread
_SHOWN = ("number", "source", "speaker", "text", "to", "turn_id")


async def resolve(record: Record, caller: Caller, group: str, conversation: str | None) -> str:
    """The conversation's id. None: this client's own with the group, opened if there is none; "new": a new one; else
    that of the id, or UnknownConversation."""
    mine = (_CONVERSATION.c.caller == caller.id, _CONVERSATION.c.group_name == group)
    client = caller.client or UNNAMED
    if conversation not in (None, NEW):
        async with record.read() as db:
            if (await db.execute(select(_CONVERSATION.c.id).where(*mine, _CONVERSATION.c.id == conversation))).first():
                return conversation
        raise UnknownConversation(conversation, group)
    own = select(_CONVERSATION.c.id).where(*mine, _CONVERSATION.c.client == client)
    async with record.write() as db:  # so that two of one client's first messages open one conversation
        known = (await db.execute(own.order_by(_CONVERSATION.c.created_at.desc()).limit(1))).scalar_one_or_none()
        if known and conversation is None:
            return known
        now = datetime.now(UTC)
        made = {
            "id": f"group-conversation-{uuid4()}",
            "caller": caller.id,
            "group_name": group,
            "client": "" if conversation == NEW else client,
            "created_at": now,
            "tended": 0,
            "tended_at": now,
        }
        await db.execute(insert(_CONVERSATION).values(made))
    return str(made["id"])


async def newest(db: AsyncConnection, conversation: str, most: int) -> list[Said]:
    """The newest messages of the conversation, oldest first."""
    query = select(_MESSAGE).where(_MESSAGE.c.conversation == conversation)
    rows = await db.execute(query.order_by(_MESSAGE.c.number.desc()).limit(most))
    return [_said(row) for row in rows][::-1]


async def of_run(db: AsyncConnection, run_id: str) -> list[Said]:
    """What was said in the run, in order."""
    rows = await db.execute(select(_MESSAGE).where(_MESSAGE.c.run_id == run_id).order_by(_MESSAGE.c.number))
    return [_said(row) for row in rows]


async def add(db: AsyncConnection, conversation: str, run_id: str, key: str, said: Said) -> Said:
    """Add the message with the next number; one with that key that is there already is given instead."""
    same = (_MESSAGE.c.conversation == conversation, _MESSAGE.c.key == key)
    known = (await db.execute(select(_MESSAGE).where(*same))).one_or_none()
    if known is not None:
        return _said(known)
    last = select(func.max(_MESSAGE.c.number)).where(_MESSAGE.c.conversation == conversation)
    number = int((await db.execute(last)).scalar_one_or_none() or 0) + 1
    made = said.model_copy(update={"number": number})
    more = {"conversation": conversation, "run_id": run_id, "key": key, "at": datetime.now(UTC)}
    await db.execute(insert(_MESSAGE).values({**made.model_dump(), **more}))
    return made


async def threads(db: AsyncConnection, conversation: str, server: str) -> dict[str, tuple[str, int]]:
    """Of each agent that spoke: its own thread in Letta, and the number of the last message it was told."""
    rows = await db.execute(select(_THREAD).where(_THREAD.c.conversation == conversation, _THREAD.c.server == server))
    return {row.agent: (row.thread, row.heard) for row in rows}


async def set_thread(db: AsyncConnection, conversation: str, server: str, agent: str, thread: str, heard: int) -> None:
    """Note the agent's thread and what it has been told."""
    mine = (_THREAD.c.conversation == conversation, _THREAD.c.server == server, _THREAD.c.agent == agent)
    done = await db.execute(update(_THREAD).where(*mine).values(thread=thread, heard=heard))
    if not done.rowcount:
        row = {"conversation": conversation, "server": server, "agent": agent, "thread": thread, "heard": heard}
        await db.execute(insert(_THREAD).values(row))


async def tended(db: AsyncConnection, conversation: str) -> tuple[int, datetime]:
    """The last message that the background agents were given to read, and when that was."""
    query = select(_CONVERSATION.c.tended, _CONVERSATION.c.tended_at).where(_CONVERSATION.c.id == conversation)
    row = (await db.execute(query)).one()
    return row.tended, row.tended_at


async def set_tended(db: AsyncConnection, conversation: str, number: int) -> None:
    """Note that the background agents were given all up to this message to read."""
    now = {"tended": number, "tended_at": datetime.now(UTC)}
    await db.execute(update(_CONVERSATION).where(_CONVERSATION.c.id == conversation).values(now))


def _said(row: Any) -> Said:
    return Said.model_validate({name: row._mapping[name] for name in _SHOWN})
