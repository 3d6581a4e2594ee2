from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage

from tests.embedded.conftest import listed, open_letta, say
from tests.embedded.scripted_chat import ScriptedChat, Source

pytestmark = pytest.mark.anyio

LONG = "word " * 200  # about 250 tokens
TOKENS = 3_000


def summarising(messages: list[Any]) -> AIMessage:
    if "notes of a long conversation" in str(messages[0].content):
        return AIMessage("THE SUMMARY")
    return AIMessage("fine")


@pytest.fixture
async def letta(database: Path, chat: ScriptedChat) -> Any:
    async with open_letta(database, Source(chat), context_tokens=TOKENS) as client:
        yield client


async def fill(letta: Any, agent_id: str, turns: int = 12) -> None:
    for i in range(turns):
        await say(letta, agent_id, f"{i} {LONG}")


def size(messages: list[Any]) -> int:
    return sum(len(str(message.content)) // 4 for message in messages)


async def test_older_messages_are_summarised_and_stay_listed(letta: Any, agent: Any, chat: ScriptedChat) -> None:
    chat.answer = summarising
    await fill(letta, agent.id)
    assert max(size(messages) for messages in chat.seen) <= TOKENS
    prompt, *rest = chat.seen[-1]
    assert "THE SUMMARY" in str(prompt.content)
    assert "no longer before you" in str(prompt.content)
    assert [m.content for m in rest[-3:]] == [f"10 {LONG}", "fine", f"11 {LONG}"]
    assert len(await listed(letta, agent.id)) == 24


async def test_a_later_summary_builds_on_the_earlier_one_and_not_every_turn_makes_one(
    letta: Any, agent: Any, chat: ScriptedChat
) -> None:
    chat.answer = summarising
    await fill(letta, agent.id, 24)
    summaries = [messages for messages in chat.seen if "notes of a long" in str(messages[0].content)]
    assert 2 <= len(summaries) <= 8
    assert "Earlier summary: THE SUMMARY" in str(summaries[1][1].content)


async def test_what_is_cut_is_cut_to_two_thirds_of_the_room_and_no_further(
    letta: Any, agent: Any, chat: ScriptedChat
) -> None:
    chat.answer = summarising
    await fill(letta, agent.id)
    first = next(n for n, messages in enumerate(chat.seen) if "notes of a long" in str(messages[0].content))
    _, *rest = chat.seen[first + 1]
    kept = size(rest[:-1])  # without the message that is being answered
    assert kept <= TOKENS * 2 / 3
    assert kept > TOKENS / 3


async def test_a_summary_survives_a_restart(database: Path, chat: ScriptedChat) -> None:
    chat.answer = summarising
    async with open_letta(database, Source(chat), context_tokens=TOKENS) as letta:
        agent = await letta.agents.create(name="a")
        await fill(letta, agent.id)
    async with open_letta(database, Source(chat), context_tokens=TOKENS) as letta:
        await say(letta, agent.id, "hi")
    assert "THE SUMMARY" in str(chat.seen[-1][0].content)
    assert size(chat.seen[-1]) <= TOKENS


async def test_when_summarising_fails_the_turn_goes_on_without_the_oldest(
    letta: Any, agent: Any, chat: ScriptedChat
) -> None:
    def failing(messages: list[Any]) -> AIMessage:
        if "notes of a long conversation" in str(messages[0].content):
            raise RuntimeError("no summary today")
        return AIMessage("fine")

    chat.answer = failing
    await fill(letta, agent.id)
    assert size(chat.seen[-1]) <= TOKENS
    assert len(await listed(letta, agent.id)) == 24
    chat.answer = summarising
    await say(letta, agent.id, LONG)
    assert "THE SUMMARY" in str(chat.seen[-1][0].content)


async def test_a_tool_call_is_never_parted_from_its_return(letta: Any, agent: Any, chat: ScriptedChat) -> None:
    for i in range(12):
        await say(letta, agent.id, f'call conversation_search {{"query": "{i} {LONG.strip()}"}}')
    for messages in chat.seen:
        asked = {call["id"] for m in messages if isinstance(m, AIMessage) for call in m.tool_calls}
        assert {m.tool_call_id for m in messages if isinstance(m, ToolMessage)} <= asked


async def test_an_agent_may_have_a_context_of_its_own(letta: Any, chat: ScriptedChat) -> None:
    chat.answer = summarising
    agent = await letta.agents.create(name="wide", context_window_limit=100_000)
    await fill(letta, agent.id)
    assert len(chat.seen[-1]) == 24
