"""Turns: exactly once, in order, told as they happen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from atlas_mcp.errors import InvalidInput, ModelFailed, OverLimit, UnknownAgent, UnknownConversation
from atlas_mcp.model.sections import sections

if TYPE_CHECKING:
    from tests.constellation.conftest import Echo, World

pytestmark = pytest.mark.anyio


async def test_an_agent_answers_and_the_cost_is_known(world: World) -> None:
    turn = await world.of().take_turn("librarian", "hello", conversation=None, key="k")
    assert turn.reply == "ok: hello"
    assert (turn.agent, turn.model) == ("librarian", "test:obedient")
    assert (turn.usage.turns, turn.usage.input_tokens, turn.usage.output_tokens) == (1, 10, 5)
    assert turn.usage.cost_usd == pytest.approx(0.015)


async def test_a_client_keeps_its_own_thread_and_may_open_another(world: World) -> None:
    desk, phone = world.of(client="desk"), world.of(client="phone")
    first = await desk.take_turn("librarian", "one", conversation=None, key="1")
    again = await desk.take_turn("librarian", "two", conversation=None, key="2")
    other = await phone.take_turn("librarian", "three", conversation=None, key="3")
    new = await desk.take_turn("librarian", "four", conversation="new", key="4")
    back = await phone.take_turn("librarian", "five", conversation=first.conversation, key="5")
    assert first.conversation == again.conversation == back.conversation
    assert len({first.conversation, other.conversation, new.conversation}) == 3
    texts = [m.text for m in world.script.seen[1] if m.type == "human"]
    assert texts == ["one", "two"]


async def test_a_conversation_of_another_agent_or_caller_does_not_exist(world: World) -> None:
    mine = await world.of().take_turn("librarian", "hello", conversation=None, key="1")
    with pytest.raises(UnknownConversation):
        await world.of().take_turn("strategist", "hello", conversation=mine.conversation, key="2")
    with pytest.raises(UnknownConversation):
        await world.of("local:you").take_turn("librarian", "hello", conversation=mine.conversation, key="3")


async def test_an_unknown_agent_is_answered_with_the_closest(world: World) -> None:
    with pytest.raises(UnknownAgent, match="Did you mean 'librarian'"):
        await world.of().take_turn("librarean", "hello", conversation=None, key="k")


async def test_an_empty_or_over_long_message_is_refused_before_anything_is_created(world: World) -> None:
    with pytest.raises(InvalidInput, match="empty"):
        await world.of().take_turn("librarian", "  \n", conversation=None, key="1")
    with pytest.raises(OverLimit):
        await world.of().take_turn("librarian", "x" * 100_001, conversation=None, key="2")
    assert world.wire.requests == []


async def test_the_same_key_twice_is_one_model_call(world: World) -> None:
    me = world.of()
    first = await me.take_turn("librarian", "hello", conversation="new", key="k")
    second = await world.of().take_turn("librarian", "something else", conversation="new", key="k")
    assert second == first
    assert world.script.calls == 1


async def test_the_same_key_at_the_same_time_is_one_model_call(world: World) -> None:
    results: list[Any] = []

    async def send() -> None:
        results.append(await world.of().take_turn("librarian", "hello", conversation="new", key="k"))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(send)
    assert len({r.turn_id for r in results}) == 1
    assert world.script.calls == 1


async def test_a_key_belongs_to_one_agent(world: World) -> None:
    await world.of().take_turn("librarian", "hello", conversation=None, key="k")
    with pytest.raises(InvalidInput, match="librarian"):
        await world.of().take_turn("strategist", "hello", conversation=None, key="k")


async def test_the_same_key_of_two_callers_is_two_turns(world: World) -> None:
    mine = await world.of("local:a").take_turn("librarian", "hello", conversation=None, key="k")
    yours = await world.of("local:b").take_turn("librarian", "hello", conversation=None, key="k")
    assert mine.turn_id != yours.turn_id
    assert world.script.calls == 2


async def test_a_tool_of_ours_runs_in_the_middle_of_the_turn_and_is_told(world: World, echo: Echo) -> None:
    told: list[tuple[Any, ...]] = []

    async def on_event(actor: str, type: str, text: str, **more: Any) -> None:
        told.append((actor, type, text, more["turn_id"]))

    asked = '@tool echo {"text": "one"}\n@tool echo {"text": "two"}'
    turn = await world.of().take_turn("strategist", asked, conversation=None, key="k", tools=echo, on_event=on_event)
    assert [one.body for one in sections(turn.reply, "result")] == ["echo one", "echo two"]
    assert [c["text"] for c in echo.called] == ["one", "two"]
    assert told == [("strategist", "tool_called", "strategist used echo", turn.turn_id)] * 2
    assert turn.usage.input_tokens == 30


async def test_a_busy_agent_queues_and_is_shown_as_busy(world: World) -> None:
    me, script = world.of(), world.script
    replies: list[str] = []
    script.gate = anyio.Event()

    async def send(text: str) -> None:
        replies.append((await me.take_turn("librarian", text, conversation=None, key=text)).reply)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send, "first")
            await script.at_gate.wait()
            busy = {a.name: a.busy for a in await me.list_agents()}
            assert busy["librarian"]
            assert not busy["strategist"]
            tasks.start_soon(send, "second")
            await anyio.lowlevel.checkpoint()
            assert script.calls == 1
            script.gate.set()
    assert replies == ["ok: first", "ok: second"]
    texts = [m.text for m in script.seen[1] if m.type == "human"]
    assert texts == ["first", "second"]
    assert not any(a.busy for a in await me.list_agents())


async def test_two_turns_of_one_agent_in_two_conversations_run_side_by_side(world: World) -> None:
    me, script = world.of(), world.script
    await me.open_conversation("librarian")
    script.gate = anyio.Event()
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for name in ("a", "b"):

                async def send(name: str = name) -> None:
                    await me.take_turn("librarian", name, conversation="new", key=name)

                tasks.start_soon(send)
            while script.calls < 2:
                await anyio.lowlevel.checkpoint()
            script.gate.set()


async def test_a_failing_model_is_a_readable_error_and_the_key_may_be_tried_again(world: World) -> None:
    world.script.failure = RuntimeError("the model is on fire")
    with pytest.raises(ModelFailed, match="the model is on fire"):
        await world.of().take_turn("librarian", "hello", conversation=None, key="k")
    world.script.failure = None
    turn = await world.of().take_turn("librarian", "hello", conversation=None, key="k")
    assert turn.reply == "ok: hello"
    assert len([m for m in world.script.seen[-1] if m.type == "human"]) == 1


async def test_a_turn_whose_answer_was_lost_on_the_way_is_found_and_not_sent_again(world: World) -> None:
    me = world.of()
    thread = await me.open_conversation("librarian")
    world.wire.cut_after_events = 1
    turn = await me.take_turn("librarian", "hello", conversation=thread, key="k")
    assert turn.reply == "ok: hello"
    assert turn.usage.input_tokens == 10
    world.wire.cut_after_events = None
    assert await me.take_turn("librarian", "hello", conversation=thread, key="k") == turn
    assert world.script.calls == 1


async def test_what_an_agent_remembered_in_a_turn_whose_answer_was_lost_is_still_its_own(world: World) -> None:
    me = world.of()
    thread = await me.open_conversation("librarian")
    world.wire.cut_after_events = 1
    asked = '@tool memory_insert {"label": "human", "new_string": "likes tea"}'
    turn = await me.take_turn("librarian", asked, conversation=thread, key="k")
    assert [(c.label, c.author, c.revision) for c in turn.memory_changes] == [("human", "agent:librarian", 2)]
    assert world.script.calls == 2


async def test_a_turn_cut_off_at_each_step_goes_on_where_it_stopped(world: World, echo: Echo) -> None:
    me = world.of()
    thread = await me.open_conversation("librarian")
    world.wire.cut_after_events = 1
    asked = '@tool echo {"text": "hi"}'
    turn = await me.take_turn("librarian", asked, conversation=thread, key="k", tools=echo)
    assert [one.body for one in sections(turn.reply, "result")] == ["echo hi"]
    assert turn.usage.input_tokens == 20
    assert world.script.calls == 2
    assert echo.called == [{"text": "hi"}]


async def test_a_cancelled_turn_frees_its_conversation_and_leaves_nothing_behind(world: World) -> None:
    me, script = world.of(), world.script
    thread = await me.open_conversation("librarian")
    script.gate = anyio.Event()
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: me.take_turn("librarian", "never", conversation=thread, key="1"))
            await script.at_gate.wait()
            tasks.cancel_scope.cancel()
        script.gate = None
        turn = await me.take_turn("librarian", "hello", conversation=thread, key="2")
    assert turn.reply == "ok: hello"
    assert [m.text for m in script.seen[-1] if m.type == "human"] == ["hello"]
    assert not any(a.busy for a in await me.list_agents())


async def test_a_turn_cancelled_during_a_tool_of_ours_frees_its_conversation(world: World, echo: Echo) -> None:
    me = world.of()
    thread = await me.open_conversation("librarian")
    echo.gate = anyio.Event()
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                asked = '@tool echo {"text": "hi"}'
                await me.take_turn("librarian", asked, conversation=thread, key="1", tools=echo)

            tasks.start_soon(send)
            await echo.at_gate.wait()
            tasks.cancel_scope.cancel()
        turn = await me.take_turn("librarian", "hello", conversation=thread, key="2")
    assert turn.reply == "ok: hello"


async def test_listing_the_agents_asks_nobody(world: World) -> None:
    agents = await world.of().list_agents()
    assert len(agents) == 19
    assert [a.name for a in await world.of().list_agents("rating")] == [
        "rating_supervisor",
        "quality_rater",
        "verification_rater",
        "feedback_rater",
    ]
    web = next(a for a in agents if a.name == "web_researcher")
    assert (web.team, web.role, web.model, web.needs) == ("research", "worker", "test:obedient", ["search_web"])
    assert web.blocks == ["persona", "human", "current_state", "active_context", "team_notes"]
    assert world.wire.requests == []
