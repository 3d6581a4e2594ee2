"""Reading a conversation back: whether a message reached it, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlas_mcp.letta.reading import TurnReader
from atlas_mcp.letta.states import Found

if TYPE_CHECKING:
    from letta_client import AsyncLetta

PAGE = 100
FURTHEST = 2_000


async def find_message(client: AsyncLetta, conversation: str, otid: str) -> Found | None:
    """What came of the message with that otid; None if the newest FURTHEST messages do not have it."""
    return await _turn_from(client, conversation, otid)


async def last_turn(client: AsyncLetta, conversation: str) -> Found | None:
    """What came of the newest message of the thread, whoever sent it; None for an empty thread."""
    return await _turn_from(client, conversation, None)


async def _turn_from(client: AsyncLetta, conversation: str, otid: str | None) -> Found | None:
    newer: list[Any] = []
    seen = 0
    async for message in client.conversations.messages.list(conversation, order="desc", limit=PAGE):
        seen += 1
        if message.message_type == "user_message":
            if otid is None or message.otid == otid:
                return _found(newer[::-1])
            newer.clear()  # what has been read so far belongs to a later message
        else:
            newer.append(message)
        if seen >= FURTHEST:
            break
    return None


def _found(messages: list[Any]) -> Found:
    reader = TurnReader()
    for message in messages:
        reader.read(message)
    waits_for = reader.waits_for
    return Found(reader.answer(), finished=reader.has_answer and not waits_for, waits_for=waits_for)
