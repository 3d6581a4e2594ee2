from __future__ import annotations

from typing import Any

import anyio
import pytest
from letta_client import APIStatusError, ConflictError

from tests.embedded.conftest import listed, say
from tests.embedded.scripted_chat import ScriptedChat

pytestmark = pytest.mark.anyio


async def value(letta: Any, agent_id: str, label: str = "human") -> str:
    return (await letta.agents.blocks.retrieve(label, agent_id=agent_id)).value


async def test_the_agents_tools_change_its_blocks(letta: Any, agent: Any, chat: ScriptedChat) -> None:
    await say(letta, agent.id, 'call memory_insert {"label": "human", "new_string": "likes tea"}')
    assert await value(letta, agent.id) == "unknown\nlikes tea"
    assert "likes tea" in str(chat.seen[-1][0].content)  # the model sees it in the same turn
    await say(letta, agent.id, 'call memory_insert {"label": "human", "new_string": "first", "insert_line": 0}')
    await say(letta, agent.id, 'call memory_replace {"label": "human", "old_string": "unknown\\n", "new_string": ""}')
    assert await value(letta, agent.id) == "first\nlikes tea"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ('memory_insert {"label": "human", "new_string": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}', "48 characters"),
        ('memory_insert {"label": "nope", "new_string": "x"}', "persona, human"),
        ('memory_insert {"label": "human", "new_string": "x", "insert_line": 9}', "outside of the block"),
        ('memory_insert {"label": "human"}', "lacks new_string"),
        ('memory_insert {"label": 5, "new_string": "x"}', "must be of type string"),
        ('memory_insert {"label": "human", "new_string": "x", "colour": "red"}', "does not know colour"),
        ('memory_replace {"label": "human", "old_string": "gone", "new_string": "x"}', "does not occur"),
        ('memory_replace {"label": "human", "old_string": "n", "new_string": "x"}', "occurs 3 times"),
        ('archival_memory_insert {"content": " "}', "empty"),
    ],
)
async def test_what_a_memory_tool_refuses_is_told_to_the_model_and_changes_nothing(
    letta: Any, agent: Any, call: str, said: str
) -> None:
    reply = await say(letta, agent.id, f"call {call}")
    [returned] = [m for m in reply.messages if m.message_type == "tool_return_message"]
    assert (returned.status, said in returned.tool_return) == ("error", True)
    assert await value(letta, agent.id) == "unknown"


async def test_a_failed_turn_leaves_its_memory_as_it_was(letta: Any, agent: Any, chat: ScriptedChat) -> None:
    calls = 0

    def fail_second(messages: list[Any]) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("gone")
        chat.answer = None
        first = chat._reply(messages)
        chat.answer = fail_second
        return first

    chat.answer = fail_second
    both = 'call memory_insert {"label": "human", "new_string": "tea"} and archival_memory_insert {"content": "kept?"}'
    with pytest.raises(APIStatusError, match="gone"):
        await say(letta, agent.id, both)
    assert await value(letta, agent.id) == "unknown"
    assert (await letta.agents.passages.search(agent.id, query="kept")).count == 0
    assert await listed(letta, agent.id) == []


async def meanwhile(letta: Any, agent_id: str, chat: ScriptedChat, call: str, change: Any) -> Any:
    """A turn in whose middle, after its tools, `change` happens."""
    reached, gate = anyio.Event(), anyio.Event()
    real = type(chat)._agenerate

    async def held(self: Any, messages: list[Any], *args: Any, **kwargs: Any) -> Any:
        if messages[-1].type == "tool":
            reached.set()
            await gate.wait()
        return await real(self, messages, *args, **kwargs)

    type(chat)._agenerate = held  # type: ignore[method-assign]
    outcome: list[Any] = []

    async def turn() -> None:
        try:
            outcome.append(await say(letta, agent_id, call))
        except APIStatusError as error:
            outcome.append(error)

    try:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(turn)
                await reached.wait()
                await change()
                gate.set()
    finally:
        type(chat)._agenerate = real  # type: ignore[method-assign]
    return outcome[0]


async def test_a_line_added_elsewhere_during_the_turn_is_kept_beside_its_own(
    letta: Any, agent: Any, chat: ScriptedChat
) -> None:
    async def change() -> None:
        await letta.agents.blocks.update("human", agent_id=agent.id, value="unknown\nby another")

    call = 'call memory_insert {"label": "human", "new_string": "tea"}'
    await meanwhile(letta, agent.id, chat, call, change)
    assert await value(letta, agent.id) == "unknown\nby another\ntea"


async def test_a_change_whose_text_was_taken_away_meanwhile_is_a_conflict_and_nothing_is_kept(
    letta: Any, agent: Any, chat: ScriptedChat
) -> None:
    async def change() -> None:
        await letta.agents.blocks.update("human", agent_id=agent.id, value="rewritten")

    call = 'call memory_replace {"label": "human", "old_string": "unknown", "new_string": "known"}'
    error = await meanwhile(letta, agent.id, chat, call, change)
    assert isinstance(error, ConflictError)
    assert "changed while the agent changed it" in str(error.body)
    assert await value(letta, agent.id) == "rewritten"
    assert await listed(letta, agent.id) == []


async def test_a_block_made_read_only_meanwhile_stays_as_it_is(letta: Any, agent: Any, chat: ScriptedChat) -> None:
    human = await letta.agents.blocks.retrieve("human", agent_id=agent.id)

    async def change() -> None:
        await letta.blocks.update(human.id, read_only=True)

    call = 'call memory_insert {"label": "human", "new_string": "tea"}'
    error = await meanwhile(letta, agent.id, chat, call, change)
    assert isinstance(error, ConflictError)
    assert await value(letta, agent.id) == "unknown"


async def test_agents_that_write_to_a_shared_block_at_once_all_keep_their_line(letta: Any) -> None:
    shared = await letta.blocks.create(label="team", value="start", limit=2000)
    agents = [await letta.agents.create(name=f"a{i}", block_ids=[shared.id]) for i in range(6)]
    async with anyio.create_task_group() as tasks:
        for i, each in enumerate(agents):
            tasks.start_soon(say, letta, each.id, f'call memory_insert {{"label": "team", "new_string": "line {i}"}}')
    lines = (await letta.blocks.retrieve(shared.id)).value.split("\n")
    assert lines[0] == "start"
    assert sorted(lines[1:]) == [f"line {i}" for i in range(6)]


async def test_the_archive_is_filled_and_searched_by_the_agent(letta: Any, agent: Any) -> None:
    both = (
        'call archival_memory_insert {"content": "The lighthouse was built in 1811.", "tags": ["history"]}'
        ' and archival_memory_search {"query": "lighthouse"}'
    )
    reply = await say(letta, agent.id, both)
    assert "1811" in reply.messages[-1].content
    reply = await say(letta, agent.id, 'call archival_memory_search {"query": "when was the Lighthouse built?"}')
    assert "1811" in reply.messages[-1].content
    reply = await say(letta, agent.id, 'call archival_memory_search {"query": "submarine"}')
    assert "Nothing was found" in reply.messages[-1].content
    [passage] = await letta.agents.passages.list(agent.id)
    assert (passage.text, passage.tags) == ("The lighthouse was built in 1811.", ["history"])


async def test_the_agent_finds_its_older_messages(letta: Any, agent: Any) -> None:
    await say(letta, agent.id, "my cat is called Ferdinand")
    await letta.agents.messages.list(agent.id)
    reply = await say(letta, agent.id, 'call conversation_search {"query": "cat ferdinand"}')
    assert "Ferdinand" in reply.messages[-1].content
    other = await letta.agents.create(name="other")
    reply = await say(letta, other.id, 'call conversation_search {"query": "Ferdinand"}')
    assert "Nothing was found" in reply.messages[-1].content
