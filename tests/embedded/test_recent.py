"""What a process knows of a thread from its last turn never stands in the way of what others did to it since."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.embedded.conftest import open_letta, say
from tests.embedded.scripted_chat import ScriptedChat, Source

pytestmark = pytest.mark.anyio


def prompted(chat: ScriptedChat) -> list[str]:
    """What the model was given last, without the system prompt."""
    return [str(message.content) for message in chat.seen[-1][1:]]


async def test_what_another_process_adds_and_takes_away_is_seen_in_the_next_turn(
    letta: Any, agent: Any, chat: ScriptedChat, database: Path
) -> None:
    await say(letta, agent.id, "one")
    await say(letta, agent.id, "two")
    async with open_letta(database, Source(theirs := ScriptedChat())) as other:
        await say(other, agent.id, "three")
        assert prompted(theirs) == ["one", "ok: one", "two", "ok: two", "three"]
        await say(letta, agent.id, "four")
        assert prompted(chat) == ["one", "ok: one", "two", "ok: two", "three", "ok: three", "four"]
        await other.agents.messages.reset(agent.id)
        for text in ("five", "six", "seven", "eight"):  # as many as there were
            await say(other, agent.id, text)
    await say(letta, agent.id, "nine")
    assert prompted(chat) == ["five", "ok: five", "six", "ok: six", "seven", "ok: seven", "eight", "ok: eight", "nine"]


async def test_a_turn_that_was_taken_away_while_it_waited_is_forgotten(
    letta: Any, agent: Any, chat: ScriptedChat, database: Path
) -> None:
    await say(letta, agent.id, "one")
    tool: Any = {"name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {}}}
    waiting = await say(letta, agent.id, "call look {}", client_tools=[tool])
    assert waiting.stop_reason.stop_reason == "requires_approval"
    part = {"type": "tool", "tool_call_id": "no such call", "tool_return": "a tree", "status": "success"}
    with pytest.raises(Exception, match="waits for one return"):  # the waiting turn is read here, and known from now on
        await letta.agents.messages.create(agent.id, messages=[{"type": "tool_return", "tool_returns": [part]}])
    async with open_letta(database, Source(ScriptedChat())) as other:
        await other.agents.messages.cancel(agent.id)
    await say(letta, agent.id, "two")
    assert prompted(chat) == ["one", "ok: one", "two"]


async def test_more_threads_than_are_known_keep_their_own_messages(letta: Any, agent: Any, chat: ScriptedChat) -> None:
    threads = [(await letta.conversations.create(agent_id=agent.id)).id for _ in range(70)]
    for round_of in ("first", "second"):
        for index, thread in enumerate(threads):
            message = {"role": "user", "content": f"{round_of} {index}"}
            await letta.conversations.messages.create(thread, messages=[message], streaming=False)
    assert prompted(chat) == ["first 69", "ok: first 69", "second 69"]
    await letta.conversations.messages.create(threads[0], messages=[{"role": "user", "content": "x"}], streaming=False)
    assert prompted(chat) == ["first 0", "ok: first 0", "second 0", "ok: second 0", "x"]
