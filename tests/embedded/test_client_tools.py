from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from letta_client import APIStatusError, BadRequestError, ConflictError, UnprocessableEntityError

from tests.embedded.conftest import listed, open_letta, say
from tests.embedded.scripted_chat import ScriptedChat, Source

pytestmark = pytest.mark.anyio

SEARCH: Any = {
    "name": "search",
    "description": "Searches.",
    "parameters": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]},
}
ASK = 'call search {"q": "a"}'


async def give(letta: Any, agent_id: str, returns: dict[str, str], **extra: Any) -> Any:
    """Sends the caller's tool returns, by call id."""
    parts = [
        {"type": "tool", "tool_call_id": call, "tool_return": text, "status": "success"}
        for call, text in returns.items()
    ]
    message: Any = {"type": "tool_return", "tool_returns": parts} | extra
    return await letta.agents.messages.create(agent_id, messages=[message], client_tools=[SEARCH])


def waiting(reply: Any) -> list[str]:
    [request] = [m for m in reply.messages if m.message_type == "approval_request_message"]
    return [call.tool_call_id for call in request.tool_calls]


async def test_the_turn_stops_for_the_caller_and_goes_on_with_what_it_returns(
    letta: Any, agent: Any, chat: ScriptedChat
) -> None:
    reply = await say(letta, agent.id, ASK, client_tools=[SEARCH])
    assert reply.stop_reason.stop_reason == "requires_approval"
    [request] = reply.messages
    assert type(request).__name__ == "ApprovalRequestMessage"
    assert (request.tool_call.name, request.tool_call.arguments) == ("search", '{"q": "a"}')
    assert "search" in [tool.name for tool in chat.tools]
    done = await give(letta, agent.id, {request.tool_call.tool_call_id: "found it"})
    assert [m.message_type for m in done.messages] == ["tool_return_message", "assistant_message"]
    assert done.messages[-1].content == "tools said: found it"
    assert done.stop_reason.stop_reason == "end_turn"
    assert await listed(letta, agent.id) == [
        ("user_message", ASK),
        ("approval_request_message", ""),
        ("tool_return_message", "found it"),
        ("assistant_message", "tools said: found it"),
    ]


async def test_it_works_the_same_in_a_stream_of_a_conversation(letta: Any, agent: Any) -> None:
    conversation = await letta.conversations.create(agent_id=agent.id)

    async def send(message: Any) -> list[Any]:
        create = letta.conversations.messages.create
        async with await create(conversation.id, messages=[message], client_tools=[SEARCH], stream_tokens=True) as s:
            return [event async for event in s]

    events = await send({"role": "user", "content": ASK})
    kinds = [event.message_type for event in events]
    assert kinds == ["ping", "approval_request_message", "stop_reason", "usage_statistics"]
    returned = {
        "type": "tool",
        "tool_call_id": events[1].tool_call.tool_call_id,
        "tool_return": "x",
        "status": "success",
    }
    events = await send({"type": "approval", "approvals": [returned], "approval_request_id": events[1].id})
    assert "".join(e.content for e in events if e.message_type == "assistant_message") == "tools said: x"


async def test_several_calls_of_both_kinds_in_one_step_are_all_answered(letta: Any, agent: Any) -> None:
    text = 'call search {"q": "a"} and memory_insert {"label": "human", "new_string": "tea"} and search {"q": "b"}'
    reply = await say(letta, agent.id, text, client_tools=[SEARCH])
    assert [m.message_type for m in reply.messages] == [
        "tool_call_message",
        "approval_request_message",
        "tool_return_message",
    ]
    first, second = waiting(reply)
    done = await give(letta, agent.id, {second: "B", first: "A"})
    assert done.messages[-1].content == "tools said: unknown\ntea | B | A"
    assert (await letta.agents.blocks.retrieve("human", agent_id=agent.id)).value == "unknown\ntea"


async def test_memory_changed_before_the_pause_is_real_only_when_the_turn_is_done(letta: Any, agent: Any) -> None:
    text = 'call memory_insert {"label": "human", "new_string": "tea"} and search {"q": "b"}'
    [call] = waiting(await say(letta, agent.id, text, client_tools=[SEARCH]))
    assert (await letta.agents.blocks.retrieve("human", agent_id=agent.id)).value == "unknown"
    await letta.agents.blocks.update("human", agent_id=agent.id, value="by hand")
    await give(letta, agent.id, {call: "x"})
    assert (await letta.agents.blocks.retrieve("human", agent_id=agent.id)).value == "by hand\ntea"


async def test_a_waiting_thread_refuses_new_messages_until_it_is_answered(letta: Any, agent: Any) -> None:
    [call] = waiting(await say(letta, agent.id, ASK, client_tools=[SEARCH]))
    with pytest.raises(ConflictError, match="PENDING_APPROVAL"):
        await say(letta, agent.id, "never mind")
    message: Any = {"role": "user", "content": "never mind"}
    with pytest.raises(ConflictError, match="PENDING_APPROVAL"):
        await letta.agents.messages.create(agent.id, messages=[message], streaming=True)
    conversation = await letta.conversations.create(agent_id=agent.id)
    other: Any = {"role": "user", "content": "other thread"}
    async with await letta.conversations.messages.create(conversation.id, messages=[other]) as stream:
        assert [e.content async for e in stream if e.message_type == "assistant_message"] == ["ok: other thread"]
    await give(letta, agent.id, {call: "x"})
    assert (await say(letta, agent.id, "hi")).messages[-1].content == "ok: hi"


async def test_cancelling_takes_the_waiting_turn_away(letta: Any, agent: Any) -> None:
    await say(letta, agent.id, "before")
    text = 'call memory_insert {"label": "human", "new_string": "tea"} and search {"q": "b"}'
    reply = await say(letta, agent.id, text, client_tools=[SEARCH], otid="o")
    assert len(await listed(letta, agent.id)) == 6
    cancelled = await letta.agents.messages.cancel(agent.id)
    assert list(cancelled) == [reply.messages[0].run_id]
    assert await listed(letta, agent.id) == [("user_message", "before"), ("assistant_message", "ok: before")]
    assert (await letta.agents.blocks.retrieve("human", agent_id=agent.id)).value == "unknown"
    assert (await say(letta, agent.id, "hi", otid="o")).messages[-1].content == "ok: hi"


async def test_cancelling_by_run_or_conversation_touches_no_other_thread(letta: Any, agent: Any) -> None:
    conversation = await letta.conversations.create(agent_id=agent.id)
    message: Any = {"role": "user", "content": ASK}
    create = letta.conversations.messages.create
    async with await create(conversation.id, messages=[message], client_tools=[SEARCH]) as stream:
        run_id = (await anext(aiter(stream))).run_id
        assert [event.message_type async for event in stream][-1] == "usage_statistics"
    await say(letta, agent.id, ASK, client_tools=[SEARCH])
    assert list(await letta.agents.messages.cancel(agent.id, run_ids=[run_id])) == [run_id]
    assert [m async for m in letta.conversations.messages.list(conversation.id)] == []
    with pytest.raises(ConflictError):
        await letta.conversations.cancel(conversation.id)
    assert len(await listed(letta, agent.id)) == 2


async def test_the_waiting_turn_survives_a_restart(database: Path, chat: ScriptedChat) -> None:
    async with open_letta(database, Source(chat)) as letta:
        agent = await letta.agents.create(name="a")
        [call] = waiting(await say(letta, agent.id, ASK, client_tools=[SEARCH], otid="o"))
    async with open_letta(database, Source(chat)) as letta:
        with pytest.raises(ConflictError, match="PENDING_APPROVAL"):
            await say(letta, agent.id, "hi")
        again = await say(letta, agent.id, "the same otid", client_tools=[SEARCH], otid="o")
        assert (again.stop_reason.stop_reason, waiting(again)) == ("requires_approval", [call])
        assert len(chat.seen) == 1
        await give(letta, agent.id, {call: "x"})
        whole = await say(letta, agent.id, "the same otid", otid="o")
        assert [m.message_type for m in whole.messages] == [
            "approval_request_message",
            "tool_return_message",
            "assistant_message",
        ]
        assert whole.stop_reason.stop_reason == "end_turn"
        assert whole.usage.total_tokens == 16
        assert len(chat.seen) == 2


async def test_tool_returns_with_an_otid_are_taken_once(letta: Any, agent: Any, chat: ScriptedChat) -> None:
    [call] = waiting(await say(letta, agent.id, ASK, client_tools=[SEARCH]))
    first = await give(letta, agent.id, {call: "x"}, otid="r")
    again = await give(letta, agent.id, {call: "y"}, otid="r")
    assert [m.id for m in again.messages] == [m.id for m in first.messages]
    assert len(chat.seen) == 2


async def test_returns_that_do_not_fit_the_waiting_calls_change_nothing(letta: Any, agent: Any) -> None:
    with pytest.raises(BadRequestError, match="No tool call is waiting"):
        await give(letta, agent.id, {"call_1": "x"})
    first, second = waiting(
        await say(letta, agent.id, 'call search {"q": "a"} and search {"q": "b"}', client_tools=[SEARCH])
    )
    with pytest.raises(BadRequestError, match=second):
        await give(letta, agent.id, {first: "only one"})
    with pytest.raises(BadRequestError, match="stranger"):
        await give(letta, agent.id, {first: "1", second: "2", "stranger": "3"})
    approval: Any = {"type": "approval", "approvals": [{"type": "approval", "approve": True, "tool_call_id": first}]}
    with pytest.raises(UnprocessableEntityError, match="send its tool_return"):
        await letta.agents.messages.create(agent.id, messages=[approval])
    assert (await give(letta, agent.id, {first: "1", second: "2"})).stop_reason.stop_reason == "end_turn"


async def test_a_denied_call_and_a_failed_tool_are_told_to_the_model(letta: Any, agent: Any) -> None:
    await say(letta, agent.id, ASK, client_tools=[SEARCH])
    denial: Any = {"type": "approval", "approve": False, "reason": "not now"}
    reply = await letta.agents.messages.create(agent.id, messages=[denial], client_tools=[SEARCH])
    assert (reply.messages[0].status, "not now" in reply.messages[0].tool_return) == ("error", True)
    [call] = waiting(await say(letta, agent.id, ASK, client_tools=[SEARCH]))
    part = {"type": "tool", "tool_call_id": call, "tool_return": "it broke", "status": "error"}
    failed: Any = {"type": "tool_return", "tool_returns": [part]}
    reply = await letta.agents.messages.create(agent.id, messages=[failed], client_tools=[SEARCH])
    assert (reply.messages[0].status, reply.messages[0].tool_return) == ("error", "it broke")


async def test_a_model_that_fails_after_the_pause_leaves_the_turn_waiting_as_it_was(
    letta: Any, agent: Any, chat: ScriptedChat
) -> None:
    [call] = waiting(await say(letta, agent.id, ASK, client_tools=[SEARCH]))
    before = await listed(letta, agent.id)

    def fail(_: Any) -> Any:
        raise TimeoutError("too slow")

    chat.answer = fail
    with pytest.raises(APIStatusError, match="llm_timeout"):
        await give(letta, agent.id, {call: "x"}, otid="r")
    assert await listed(letta, agent.id) == before
    chat.answer = None
    assert (await give(letta, agent.id, {call: "x"}, otid="r")).messages[-1].content == "tools said: x"


async def test_the_caller_can_be_asked_again_and_again_in_one_turn(letta: Any, agent: Any, chat: ScriptedChat) -> None:
    from langchain_core.messages import AIMessage, ToolMessage

    def twice(messages: list[Any]) -> AIMessage:
        rounds = sum(isinstance(message, ToolMessage) for message in messages)
        call = {"name": "search", "args": {"q": str(rounds)}, "id": f"c{rounds}", "type": "tool_call"}
        return AIMessage("enough") if rounds == 2 else AIMessage("looking", tool_calls=[call])

    chat.answer = twice
    reply = await say(letta, agent.id, "hi", client_tools=[SEARCH], otid="o")
    for expected in ("c0", "c1"):
        assert waiting(reply) == [expected]
        reply = await give(letta, agent.id, {expected: "more"})
    assert reply.messages[-1].content == "enough"
    whole = await say(letta, agent.id, "hi", otid="o")
    assert [m.message_type for m in whole.messages].count("approval_request_message") == 2
    assert [m.content for m in chat.seen[-1][1:]] == ["hi", "looking", "more", "looking", "more"]


async def test_client_tools_work_in_the_background_too(letta: Any, agent: Any) -> None:
    message: Any = {"role": "user", "content": ASK}
    run = await letta.agents.messages.create_async(agent.id, messages=[message], client_tools=[SEARCH])
    while run.status in {"created", "running"}:
        run = await letta.runs.retrieve(run.id)
    assert (run.status, run.stop_reason) == ("completed", "requires_approval")
    [request] = [m async for m in letta.runs.messages.list(run.id) if m.message_type == "approval_request_message"]
    assert (await give(letta, agent.id, {request.tool_call.tool_call_id: "x"})).stop_reason.stop_reason == "end_turn"
