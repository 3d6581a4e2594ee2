"""Turns on both Lettas: what streams back, what is listed, what a failing model does, and what is cancelled."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import anyio
import anyio.lowlevel
import pytest
from letta_client import APIStatusError, ConflictError, UnprocessableEntityError

from atlas_mcp.errors import AtlasError, ModelFailed
from tests.contract.conftest import House, of_type, said
from tests.scripted_model import last_user_text

pytestmark = pytest.mark.anyio


async def no_tool(name: str, arguments: dict[str, Any]) -> str:
    raise AssertionError(name)


class Runs(list[str]):
    async def note(self, run_id: str) -> None:
        self.append(run_id)


async def ended(house: House, run_id: str) -> Any:
    """The run, once it has ended: nothing but asking tells."""
    with anyio.fail_after(60):
        while True:
            run = await house.client.runs.retrieve(run_id)
            if run.status not in {"created", "running"}:
                return run
            await anyio.sleep(0.05)


async def test_the_first_event_names_the_run_and_the_last_ones_say_why_it_ended_and_what_it_took(house: House) -> None:
    house.scripted.script(["hello there"])
    events = await house.send(await house.thread(), "hi")
    assert events[0].message_type == "ping"
    assert said(events) == "hello there"
    assert {e.run_id for e in events if getattr(e, "run_id", None)} == {events[0].run_id}
    stop, usage = events[-2:]
    assert (stop.message_type, stop.stop_reason) == ("stop_reason", "end_turn")
    assert (usage.message_type, usage.step_count) == ("usage_statistics", 1)
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0


async def test_the_door_gives_the_answer_its_tokens_and_its_run_which_tells_the_same_tokens(house: House) -> None:
    house.scripted.script(["hello there"])
    runs = Runs()
    answer = await house.door.send(await house.thread(), "hi", otid="t-1", run_tool=no_tool, on_run=runs.note)
    assert answer.text == "hello there"
    assert answer.letta_runs == tuple(runs)
    usage = await house.client.runs.usage.retrieve(runs[0])
    assert (usage.prompt_tokens, usage.completion_tokens) == (answer.input_tokens, answer.output_tokens)
    run = await house.client.runs.retrieve(runs[0])
    assert (run.status, run.stop_reason) == ("completed", "end_turn")
    steps = [step async for step in house.client.runs.steps.list(runs[0])]
    assert [step.total_tokens for step in steps] == [answer.input_tokens + answer.output_tokens]


async def test_a_stream_of_tokens_is_the_same_message_in_pieces(house: House) -> None:
    house.scripted.script(["one two three"])
    create = house.client.conversations.messages.create
    message: Any = {"role": "user", "content": "count"}
    stream = await create(await house.thread(), messages=[message], streaming=True, stream_tokens=True)
    async with stream:
        pieces = of_type([event async for event in stream], "assistant_message")
    assert len(pieces) > 1
    assert len({p.id for p in pieces}) == 1
    assert "".join(p.content for p in pieces) == "one two three"


async def test_an_agents_own_thread_answers_whole_and_keeps_apart_from_its_conversations(house: House) -> None:
    agent = await house.agent()
    await house.send(await house.thread(agent), "elsewhere")
    house.scripted.script(["whole"])
    response = await house.client.agents.messages.create(agent.id, messages=[{"role": "user", "content": "here"}])
    assert [m.content for m in of_type(response.messages, "assistant_message")] == ["whole"]
    assert (response.stop_reason.stop_reason, response.usage.step_count) == ("end_turn", 1)
    assert "elsewhere" not in str(house.scripted.last["messages"])


async def test_on_purpose_a_server_lists_all_threads_as_the_agents_messages_and_the_embedded_its_own_thread(
    house: House,
) -> None:
    agent = await house.agent()
    await house.send(await house.thread(agent), "elsewhere")
    await house.client.agents.messages.create(agent.id, messages=[{"role": "user", "content": "here"}])
    listed: Any = [m async for m in house.client.agents.messages.list(agent.id, order="asc")]
    texts = [m.content for m in of_type(listed, "user_message") if m.content in {"here", "elsewhere"}]
    assert texts == (["elsewhere", "here"] if house.real else ["here"])


async def test_a_thread_is_listed_with_its_otids_in_both_orders_and_by_pages(house: House) -> None:
    thread = await house.thread()
    for number in range(3):
        house.scripted.script([f"answer {number}"])
        await house.send(thread, f"question {number}", otid=f"otid-{number}")
    listed = await house.listed(thread)
    texts = [m.content for m in listed]
    assert texts == [f"{what} {n}" for n in range(3) for what in ("question", "answer")]
    assert [m.otid for m in of_type(listed, "user_message")] == ["otid-0", "otid-1", "otid-2"]
    assert [m.content for m in await house.listed(thread, limit=2)] == texts
    newest: Any = house.client.conversations.messages.list
    page = (await newest(thread, limit=2)).items  # without an order, newest first
    assert [m.content for m in page] == texts[:-3:-1]
    older = (await newest(thread, order="desc", limit=2, before=page[-1].id)).items
    assert [m.content for m in older] == texts[-3:-5:-1]


async def test_on_purpose_going_on_backwards_by_letta_client_itself_ends_on_the_embedded_only(house: House) -> None:
    thread = await house.thread()
    for number in range(2):
        await house.send(thread, f"question {number}")
    backwards: Any = house.client.conversations.messages.list(thread, order="desc", limit=2)
    asked = [m.content for m in of_type([m async for m in backwards], "user_message")]
    assert asked == (["question 1"] if house.real else ["question 1", "question 0"])


async def test_a_message_is_found_again_by_its_otid_with_what_came_of_it(house: House) -> None:
    thread = await house.thread()
    for number in range(3):
        house.scripted.script([f"answer {number}"])
        await house.send(thread, f"question {number}", otid=f"otid-{number}")
    found = await house.found(thread, "otid-1")
    assert found
    assert found.has_answer
    assert found.answer().text == "answer 1"
    assert await house.found(thread, "never sent") is None


async def test_the_agent_knows_the_thread_and_no_other(house: House) -> None:
    agent = await house.agent()
    mine, other = await house.thread(agent), await house.thread(agent)
    await house.send(mine, "the word is juniper")
    await house.send(other, "hello")
    assert "juniper" not in str(house.scripted.last["messages"])
    await house.send(mine, "which word?")
    assert "juniper" in str(house.scripted.last["messages"])


@pytest.mark.parametrize(("status", "transient"), [(429, True), (500, True), (400, False)])
async def test_a_failing_model_is_told_as_such_and_leaves_the_thread_usable(
    house: House, status: int, transient: bool
) -> None:
    thread = await house.thread()
    house.scripted.on("fails", {"status": status, "message": "out of order, try again in 1m7.5s"})
    with pytest.raises(ModelFailed, match="out of order") as failed:
        await house.door.send(thread, "this fails", otid="t-1", run_tool=no_tool, on_run=Runs().note)
    assert (failed.value.transient, failed.value.retry_after) == (transient, 67.5)
    found = await house.found(thread, "t-1")
    assert found is None or not found.has_answer
    answer = await house.door.send(thread, "this works", otid="t-2", run_tool=no_tool, on_run=Runs().note)
    assert answer.text.startswith("ok")


async def test_a_failing_model_has_letta_s_error_shape_in_the_blocking_form(house: House) -> None:
    agent = await house.agent()
    house.scripted.on("fails", {"status": 429})
    with pytest.raises(APIStatusError) as failed:
        await house.client.agents.messages.create(agent.id, messages=[{"role": "user", "content": "this fails"}])
    assert failed.value.status_code == 429
    assert failed.value.body["error"]["type"] == "llm_rate_limit"  # type: ignore[index]


async def test_an_empty_message_list_is_refused(house: House) -> None:
    agent = await house.agent()
    with pytest.raises(UnprocessableEntityError):
        await house.client.agents.messages.create(agent.id, messages=[])


async def test_a_turn_in_the_background_is_a_run_that_can_be_followed(house: House) -> None:
    agent = await house.agent()
    house.scripted.script(["done in the dark"])
    run = await house.client.agents.messages.create_async(agent.id, messages=[{"role": "user", "content": "go"}])
    run = await ended(house, run.id)
    assert run.status == "completed"
    messages = [m async for m in house.client.runs.messages.list(run.id)]
    assert said(messages) == "done in the dark"


async def test_reset_forgets_the_agents_own_messages_and_keeps_its_memory(house: House) -> None:
    agent = await house.agent()
    word = str(uuid4())
    await house.client.agents.messages.create(agent.id, messages=[{"role": "user", "content": f"say {word}"}])
    await house.client.agents.messages.reset(agent.id)
    await house.client.agents.messages.create(agent.id, messages=[{"role": "user", "content": "hello"}])
    assert word not in str(house.scripted.last["messages"])
    assert [b.value for b in await house.door.blocks(agent.id)] == ["likes tea"]


async def test_cancelling_where_nothing_runs_is_a_409(house: House) -> None:
    with pytest.raises(ConflictError):
        await house.client.conversations.cancel(await house.thread())


async def test_what_runs_is_listed_as_active_until_it_is_cancelled_and_the_thread_goes_on(house: House) -> None:
    thread = await house.thread()
    house.scripted.hold()
    runs = Runs()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_quietly, house, thread, runs)
        await begun(house, runs)
        active = await house.client.runs.list(conversation_id=thread, active=True)
        assert [(run.id, run.status) for run in active.items] == [(runs[0], "running")]
        await house.client.conversations.cancel(thread)
        assert not (await house.client.runs.list(conversation_id=thread, active=True)).items
        house.scripted.release()
    answer = await house.door.send(thread, "next", otid="t-2", run_tool=no_tool, on_run=runs.note)
    assert answer.text == "ok: next"


async def test_a_turn_whose_sender_is_cancelled_is_cancelled_in_letta_as_well(house: House) -> None:
    thread = await house.thread()
    house.scripted.hold()
    runs = Runs()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_quietly, house, thread, runs)
        await begun(house, runs)
        tasks.cancel_scope.cancel()
    assert (await house.client.runs.retrieve(runs[0])).status == "cancelled"
    assert not (await house.client.runs.list(conversation_id=thread, active=True)).items
    house.scripted.release()


async def test_on_purpose_a_cancelled_step_comes_to_its_end_on_a_server_and_leaves_nothing_on_the_embedded(
    house: House,
) -> None:
    thread = await house.thread()
    house.scripted.hold()
    runs = Runs()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_quietly, house, thread, runs)
        await begun(house, runs)
        await house.client.conversations.cancel(thread)
        if house.real:
            assert [s.status async for s in house.client.runs.steps.list(runs[0])] == ["pending"]
        house.scripted.release()
    kinds = [m.message_type for m in await house.listed(thread)]
    assert kinds == (["user_message", "assistant_message"] if house.real else [])


async def begun(house: House, runs: Runs) -> None:
    """Return when the model is asked, and the turn's run is known here."""
    await house.scripted.arrived(1)
    with anyio.fail_after(60):
        while not runs:
            await anyio.lowlevel.checkpoint()


async def _quietly(house: House, thread: str, runs: Runs) -> None:
    try:
        await house.door.send(thread, "wait for me", otid="t-1", run_tool=no_tool, on_run=runs.note)
    except AtlasError:
        return


async def test_on_purpose_the_embedded_takes_an_otid_once_and_a_server_as_often_as_it_is_sent(house: House) -> None:
    thread = await house.thread()
    house.scripted.script(["first", "second"])
    assert said(await house.send(thread, "once", otid="same")) == "first"
    assert said(await house.send(thread, "once", otid="same")) == ("second" if house.real else "first")
    assert len(of_type(await house.listed(thread), "user_message")) == (2 if house.real else 1)


async def test_on_purpose_the_embedded_queues_parallel_sends_and_a_server_loses_them_from_its_context(
    house: House,
) -> None:
    thread = await house.thread()
    house.scripted.hold()
    texts = [f"parallel {number}" for number in range(3)]
    async with anyio.create_task_group() as tasks:
        for text in texts:
            tasks.start_soon(house.send, thread, text)
        if house.real:
            await house.scripted.arrived(3, 100)  # all at once
        house.scripted.release()
    await house.send(thread, "which?")
    known = [text for text in texts if text in str(house.scripted.last["messages"])]
    assert last_user_text(house.scripted.last) == "which?"
    assert (len(known) < 3) if house.real else (known == texts)
