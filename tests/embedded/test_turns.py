from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from langchain_core.messages import AIMessage
from letta_client import (
    APIStatusError,
    BadRequestError,
    ConflictError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
    UnprocessableEntityError,
)

from tests.embedded.conftest import listed, open_letta, say
from tests.embedded.scripted_chat import ScriptedChat, Source

pytestmark = pytest.mark.anyio


async def test_a_turn_answers_with_its_usage_and_is_listed(letta: Any, agent: Any) -> None:
    reply = await say(letta, agent.id, "hello")
    assert [(type(m).__name__, m.content) for m in reply.messages] == [("AssistantMessage", "ok: hello")]
    assert reply.stop_reason.stop_reason == "end_turn"
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (5, 3, 8)
    assert await listed(letta, agent.id) == [("user_message", "hello"), ("assistant_message", "ok: hello")]


async def test_the_thread_is_the_context_of_the_next_turn(letta: Any, agent: Any, chat: ScriptedChat) -> None:
    await say(letta, agent.id, "one")
    await say(letta, agent.id, "two")
    assert [m.content for m in chat.seen[-1][1:]] == ["one", "ok: one", "two"]


async def test_the_system_prompt_holds_the_agents_text_and_its_blocks_as_they_are_now(
    letta: Any, agent: Any, chat: ScriptedChat
) -> None:
    await letta.agents.update(agent.id, system="You test things.")
    await letta.agents.blocks.update("human", agent_id=agent.id, value="likes tea")
    await say(letta, agent.id, "hi")
    prompt = str(chat.seen[-1][0].content)
    assert prompt.startswith("You test things.")
    assert '<block label="human">' in prompt
    assert "chars_current=9 chars_limit=40" in prompt
    assert "likes tea" in prompt
    await say(letta, agent.id, "hi", override_system="Only this once.")
    assert str(chat.seen[-1][0].content).startswith("Only this once.")


async def test_an_estimated_usage_says_so(letta: Any, agent: Any, chat: ScriptedChat) -> None:
    chat.usage = False
    reply = await say(letta, agent.id, "hello")
    assert reply.usage.estimated
    assert reply.usage.prompt_tokens > 50
    assert reply.usage.completion_tokens == 3  # "ok: hello" and "[]" at four characters to a token


async def test_a_stream_begins_with_the_run_and_ends_with_its_usage(letta: Any, agent: Any) -> None:
    message: Any = {"role": "user", "content": "hi"}
    async with await letta.agents.messages.create(agent.id, messages=[message], streaming=True) as stream:
        events = [event async for event in stream]
    assert [e.message_type for e in events] == ["ping", "assistant_message", "stop_reason", "usage_statistics"]
    run = await letta.runs.retrieve(events[0].run_id)
    assert (run.status, run.stop_reason) == ("completed", "end_turn")


async def test_tokens_arrive_while_the_model_is_still_speaking(letta: Any, agent: Any, chat: ScriptedChat) -> None:
    chat.hold()
    message: Any = {"role": "user", "content": "hold on a moment"}
    create = letta.agents.messages.create
    got: list[Any] = []
    with anyio.fail_after(60):
        async with await create(agent.id, messages=[message], streaming=True, stream_tokens=True) as stream:
            async for event in stream:
                if event.message_type == "assistant_message":
                    got.append(event)
                    chat.gate.set()  # the second word waits for this, so the first one has come before it
    assert [event.content for event in got] == ["ok: ", "hold ", "on ", "a ", "moment"]
    assert len({event.id for event in got}) == 1
    assert (await listed(letta, agent.id))[-1] == ("assistant_message", "ok: hold on a moment")


async def test_conversations_have_contexts_of_their_own_and_share_the_blocks(
    letta: Any, agent: Any, chat: ScriptedChat
) -> None:
    first = await letta.conversations.create(agent_id=agent.id, summary="s")
    second = await letta.conversations.create(agent_id=agent.id)
    for conversation, text in ((first, "one"), (second, "two")):
        message: Any = {"role": "user", "content": text}
        async with await letta.conversations.messages.create(conversation.id, messages=[message]) as stream:
            assert [e.content async for e in stream if e.message_type == "assistant_message"] == [f"ok: {text}"]
    assert [m.content for m in chat.seen[-1][1:]] == ["two"]
    assert "I am Ada." in str(chat.seen[-1][0].content)
    contents = [m.content async for m in letta.conversations.messages.list(first.id)]
    assert contents == ["ok: one", "one"]
    assert await listed(letta, agent.id) == []
    assert {c.id for c in await letta.conversations.list(agent_id=agent.id)} == {first.id, second.id}
    retrieved = await letta.conversations.retrieve(first.id)
    assert (retrieved.agent_id, retrieved.summary) == (agent.id, "s")
    assert retrieved.last_message_at is not None


async def test_the_default_conversation_is_the_agents_own_thread(letta: Any, agent: Any) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], "agent_id": agent.id, "streaming": False}
    reply: Any = await letta.post("/v1/conversations/default/messages", cast_to=object, body=body)
    assert reply["messages"][0]["content"] == "ok: hi"
    assert await listed(letta, agent.id) == [("user_message", "hi"), ("assistant_message", "ok: hi")]


async def test_listing_pages_in_both_directions_and_ends(letta: Any, agent: Any) -> None:
    for i in range(4):
        await say(letta, agent.id, f"m{i}")
    every = [f"{prefix}m{i}" for i in range(4) for prefix in ("", "ok: ")]
    messages = letta.agents.messages
    assert [m.content async for m in messages.list(agent.id, order="asc", limit=3)] == every
    assert [m.content async for m in messages.list(agent.id, order="desc", limit=3)] == every[::-1]
    newest = await messages.list(agent.id, limit=3)
    assert [m.content for m in newest.items] == every[-3:]
    older = await messages.list(agent.id, limit=2, before=newest.items[0].id)
    assert [m.content for m in older.items] == every[-5:-3]
    assert [m.content async for m in messages.list(agent.id, limit=2, before=newest.items[0].id)] == [
        *every[3:5],
        *every[1:3],
        every[0],
    ]


async def test_resetting_forgets_the_agents_own_thread(letta: Any, agent: Any, chat: ScriptedChat) -> None:
    await say(letta, agent.id, "secret", otid="o")
    await letta.agents.messages.reset(agent.id)
    assert await listed(letta, agent.id) == []
    await say(letta, agent.id, "again", otid="o")
    assert [m.content for m in chat.seen[-1][1:]] == ["again"]


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, BadRequestError, "llm_bad_request"),
        (429, RateLimitError, "llm_rate_limit"),
        (503, InternalServerError, "llm_error"),
        (504, InternalServerError, "llm_timeout"),
    ],
)
async def test_a_failing_model_is_told_in_lettas_shape_and_leaves_nothing(
    letta: Any, agent: Any, status: int, error: type[APIStatusError], kind: str
) -> None:
    with pytest.raises(error, match=f"the provider said {status}") as caught:
        await say(letta, agent.id, f"fail {status}")
    body: Any = caught.value.body
    assert body["error"]["type"] == kind
    assert await listed(letta, agent.id) == []
    assert [run.status async for run in letta.runs.list(agent_id=agent.id)] == ["failed"]
    assert (await say(letta, agent.id, "hi")).messages[0].content == "ok: hi"


async def test_a_model_that_fails_in_a_stream_raises_in_the_client(letta: Any, agent: Any) -> None:
    message: Any = {"role": "user", "content": "fail 429"}
    async with await letta.agents.messages.create(agent.id, messages=[message], streaming=True) as stream:
        events = aiter(stream)
        assert (await anext(events)).message_type == "ping"
        with pytest.raises(APIStatusError, match="llm_rate_limit"):
            await anext(events)
    assert await listed(letta, agent.id) == []


async def test_the_same_otid_is_taken_once_and_answered_again(
    letta: Any, agent: Any, chat: ScriptedChat, database: Path
) -> None:
    first = await say(letta, agent.id, 'call memory_insert {"label": "human", "new_string": "x"}', otid="otid-1")
    again = await say(letta, agent.id, "something else", otid="otid-1")
    assert [m.id for m in again.messages] == [m.id for m in first.messages]
    assert again.usage.total_tokens == first.usage.total_tokens
    assert len(chat.seen) == 2
    user = (await letta.agents.messages.list(agent.id, order="asc")).items[0]
    assert user.otid == "otid-1"
    async with open_letta(database, Source(chat)) as restarted:
        after = await say(restarted, agent.id, "still the same", otid="otid-1")
    assert [m.id for m in after.messages] == [m.id for m in first.messages]
    assert len(chat.seen) == 2


async def test_a_double_that_comes_while_the_turn_runs_waits_for_its_answer(
    letta: Any, agent: Any, chat: ScriptedChat
) -> None:
    chat.hold()
    replies: list[Any] = []

    async def send() -> None:
        replies.append(await say(letta, agent.id, "hold", otid="same"))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await chat.reached.wait()
            tasks.start_soon(send)
            await anyio.wait_all_tasks_blocked()
            chat.gate.set()
    assert len({reply.messages[0].id for reply in replies}) == 1
    assert len(chat.seen) == 1


async def test_the_same_otid_in_another_thread_is_another_message(letta: Any, agent: Any) -> None:
    other = await letta.agents.create(name="bob", model="test/scripted")
    assert (await say(letta, agent.id, "a", otid="o")).messages[0].content == "ok: a"
    assert (await say(letta, other.id, "b", otid="o")).messages[0].content == "ok: b"


async def test_ten_sends_at_once_to_one_thread_are_ten_whole_turns(letta: Any, agent: Any, chat: ScriptedChat) -> None:
    async with anyio.create_task_group() as tasks:
        for i in range(10):
            tasks.start_soon(say, letta, agent.id, f"m{i}")
    said = [text for _, text in await listed(letta, agent.id)]
    assert sorted(said[::2]) == [f"m{i}" for i in range(10)]
    assert said[1::2] == [f"ok: {text}" for text in said[::2]]
    assert [len(messages) - 1 for messages in chat.seen] == [1 + 2 * i for i in range(10)]


async def test_different_threads_do_not_wait_for_each_other(letta: Any, agent: Any, chat: ScriptedChat) -> None:
    chat.hold()
    conversation = await letta.conversations.create(agent_id=agent.id)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(say, letta, agent.id, "hold")
        await chat.reached.wait()
        message: Any = {"role": "user", "content": "quick"}
        with anyio.fail_after(60):
            async with await letta.conversations.messages.create(conversation.id, messages=[message]) as stream:
                assert [e.content async for e in stream if e.message_type == "assistant_message"] == ["ok: quick"]
        chat.gate.set()


async def test_a_caller_who_goes_away_in_mid_stream_frees_the_thread_and_nothing_is_kept(
    letta: Any, agent: Any, chat: ScriptedChat
) -> None:
    chat.hold()
    message: Any = {"role": "user", "content": "hold this", "otid": "o"}
    create = letta.agents.messages.create
    with anyio.fail_after(60):
        async with await create(agent.id, messages=[message], streaming=True, stream_tokens=True) as stream:
            async for event in stream:
                if event.message_type == "assistant_message":
                    break
    assert await listed(letta, agent.id) == []
    chat.gate.set()
    with anyio.fail_after(60):
        assert (await say(letta, agent.id, "hold this", otid="o")).messages[0].content == "ok: hold this"


async def test_a_caller_cancelled_in_a_blocking_send_frees_the_thread(
    letta: Any, agent: Any, chat: ScriptedChat
) -> None:
    chat.hold()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(say, letta, agent.id, "hold")
        await chat.reached.wait()
        tasks.cancel_scope.cancel()
    assert await listed(letta, agent.id) == []
    with anyio.fail_after(60):
        await say(letta, agent.id, "free again")


async def test_a_running_turn_can_be_cancelled_and_keeps_nothing(letta: Any, agent: Any, chat: ScriptedChat) -> None:
    with pytest.raises(ConflictError, match="No active runs"):
        await letta.agents.messages.cancel(agent.id)
    chat.hold()
    replies: list[Any] = []

    async def send() -> None:
        replies.append(await say(letta, agent.id, "hold"))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await chat.reached.wait()
            run_ids = await letta.agents.messages.cancel(agent.id)
    assert replies[0].stop_reason.stop_reason == "cancelled"
    assert await listed(letta, agent.id) == []
    [run_id] = run_ids
    assert (await letta.runs.retrieve(run_id)).status == "cancelled"


async def test_a_turn_ends_at_its_step_limit_and_keeps_what_was_done(letta: Any, agent: Any) -> None:
    text = 'call conversation_search {"query": "x"}'
    reply = await say(letta, agent.id, text, max_steps=1)
    assert reply.stop_reason.stop_reason == "max_steps"
    assert [m.message_type for m in reply.messages] == ["tool_call_message", "tool_return_message"]
    assert (await say(letta, agent.id, "hi")).messages[-1].content == "ok: hi"


async def test_a_tool_that_does_not_exist_is_told_to_the_model(letta: Any, agent: Any) -> None:
    reply = await say(letta, agent.id, 'call no_such_tool {"a": 1}')
    assert [m.message_type for m in reply.messages] == ["tool_call_message", "tool_return_message", "assistant_message"]
    assert reply.messages[1].status == "error"
    assert "no_such_tool" in reply.messages[-1].content
    assert (await say(letta, agent.id, "hi")).messages[-1].content == "ok: hi"


async def test_unreadable_arguments_are_told_to_the_model(letta: Any, agent: Any, chat: ScriptedChat) -> None:
    broken = AIMessage("", invalid_tool_calls=[{"name": "memory_insert", "args": "{oops", "id": "c1", "error": None}])
    answers = iter([broken, AIMessage("sorry")])
    chat.answer = lambda _: next(answers)
    reply = await say(letta, agent.id, "hi")
    assert "not valid JSON" in reply.messages[1].tool_return
    assert reply.messages[-1].content == "sorry"


async def test_an_answer_cut_off_by_its_length_says_so(letta: Any, agent: Any, chat: ScriptedChat) -> None:
    chat.answer = lambda _: AIMessage("half a", response_metadata={"finish_reason": "length"})
    assert (await say(letta, agent.id, "hi")).stop_reason.stop_reason == "max_tokens_exceeded"


async def test_reasoning_is_shown_apart_from_the_answer(letta: Any, agent: Any, chat: ScriptedChat) -> None:
    parts: Any = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "yes"}]
    chat.answer = lambda _: AIMessage(parts)
    reply = await say(letta, agent.id, "hi")
    assert [type(m).__name__ for m in reply.messages] == ["ReasoningMessage", "AssistantMessage"]
    assert (reply.messages[0].reasoning, reply.messages[1].content) == ("hm", "yes")
    await say(letta, agent.id, "on")
    assert chat.seen[-1][2].content == parts  # given back as it was: providers check their signatures


async def test_an_agent_without_tools_takes_turns_too(letta: Any, chat: ScriptedChat) -> None:
    bare = await letta.agents.create(name="bare", include_base_tools=False)
    assert (await say(letta, bare.id, "hi")).messages[0].content == "ok: hi"
    message: Any = {"role": "user", "content": "say a b"}
    create = letta.agents.messages.create
    async with await create(bare.id, messages=[message], streaming=True, stream_tokens=True) as stream:
        assert [e.content async for e in stream if e.message_type == "assistant_message"] == ["a ", "b"]


async def test_system_messages_reach_the_model_beside_the_users(letta: Any, agent: Any, chat: ScriptedChat) -> None:
    both: Any = [
        {"role": "system", "content": "It is night."},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
    ]
    await letta.agents.messages.create(agent.id, messages=both)
    assert ["It is night." in str(m.content) for m in chat.seen[-1][1:]] == [True, False]
    assert [kind for kind, _ in await listed(letta, agent.id)] == [
        "system_message",
        "user_message",
        "assistant_message",
    ]


async def test_an_agent_deleted_during_its_turn_leaves_nothing(letta: Any, agent: Any, chat: ScriptedChat) -> None:
    chat.hold()
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                with pytest.raises(NotFoundError):
                    await say(letta, agent.id, "hold")

            tasks.start_soon(send)
            await chat.reached.wait()
            await letta.agents.delete(agent.id)
            chat.gate.set()


async def test_only_the_wanted_message_types_are_sent(letta: Any, agent: Any) -> None:
    text = 'call conversation_search {"query": "x"}'
    reply = await say(letta, agent.id, text, include_return_message_types=["assistant_message"])
    assert [m.message_type for m in reply.messages] == ["assistant_message"]


async def test_requests_that_cannot_be_a_turn_are_refused(letta: Any, agent: Any) -> None:
    with pytest.raises(UnprocessableEntityError, match="Messages must not be empty"):
        await letta.agents.messages.create(agent.id, messages=[])
    with pytest.raises(UnprocessableEntityError, match="empty"):
        await say(letta, agent.id, "  ")
    with pytest.raises(NotFoundError, match="agent-nope"):
        await say(letta, "agent-nope", "hi")
    with pytest.raises(NotFoundError, match="conv-nope"):
        await letta.conversations.messages.create("conv-nope", messages=[{"role": "user", "content": "hi"}])
    with pytest.raises(NotFoundError, match="nope/nope"):
        await say(letta, agent.id, "hi", override_model="nope/nope")
    assert [run async for run in letta.runs.list(agent_id=agent.id)] == []


async def test_everything_is_there_after_a_restart(database: Path, chat: ScriptedChat) -> None:
    async with open_letta(database, Source(chat)) as letta:
        agent = await letta.agents.create(name="a", memory_blocks=[{"label": "human", "value": "v"}])
        await say(letta, agent.id, 'call archival_memory_insert {"content": "a fact"}')
    async with open_letta(database, Source(chat)) as letta:
        assert (await letta.agents.blocks.retrieve("human", agent_id=agent.id)).value == "v"
        assert [p.text for p in await letta.agents.passages.list(agent.id)] == ["a fact"]
        assert len(await listed(letta, agent.id)) == 4
        await say(letta, agent.id, "on")
        assert len(chat.seen[-1]) == 6
