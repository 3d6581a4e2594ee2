"""Tools that the client executes, on both Lettas: the turn waits for them, is taken up again, and can be freed."""

from __future__ import annotations

from typing import Any

import pytest
from letta_client import APIStatusError, ConflictError

from atlas_mcp.errors import ModelFailed, ToolFailed
from atlas_mcp.model.turn import ToolSpec
from tests.contract.conftest import ECHO, House, of_type, said
from tests.scripted_model import tool_names

pytestmark = pytest.mark.anyio

CALL = {"tool": "echo", "args": {"text": "hi"}}
SPEC = ToolSpec(**ECHO)


async def no_run(run_id: str) -> None:
    return


async def echo(name: str, arguments: dict[str, Any]) -> str:
    assert name == "echo"
    return f"echo of {arguments['text']}"


async def never(name: str, arguments: dict[str, Any]) -> str:
    raise AssertionError(name)


async def asked(house: House, thread: str, otid: str = "t-1") -> Any:
    """Have the agent call the tool; the call."""
    house.scripted.script([CALL])
    events = await house.send(thread, "use it", otid=otid, tools=[ECHO])
    assert of_type(events, "stop_reason")[0].stop_reason == "requires_approval"
    (request,) = of_type(events, "approval_request_message")
    return request.tool_call


async def test_a_turn_stops_for_a_client_tool_and_goes_on_with_what_it_returned(house: House) -> None:
    thread = await house.thread()
    call = await asked(house, thread)
    assert (call.name, call.arguments.replace(" ", "")) == ("echo", '{"text":"hi"}')
    assert tool_names(house.scripted.last) == ["echo"]
    house.scripted.script(["it said hi"])
    events = await house.give_back(thread, {call.tool_call_id: "echo of hi"})
    assert said(events) == "it said hi"
    assert of_type(events, "stop_reason")[0].stop_reason == "end_turn"
    assert [m["content"] for m in house.scripted.last["messages"] if m["role"] == "tool"][-1].count("echo of hi") == 1
    listed = [m.message_type for m in await house.listed(thread) if m.message_type != "approval_response_message"]
    assert listed == ["user_message", "approval_request_message", "tool_return_message", "assistant_message"]


async def test_the_door_executes_tools_and_counts_both_parts_of_the_turn(house: House) -> None:
    thread = await house.thread()
    house.scripted.script([CALL, "it said hi"])
    answer = await house.door.send(thread, "use it", otid="t", tools=[SPEC], run_tool=echo, on_run=no_run)
    assert answer.text == "it said hi"
    assert [(c.name, c.arguments, c.ok) for c in answer.tool_calls] == [("echo", {"text": "hi"}, True)]
    assert len(answer.letta_runs) == 2
    used: Any = [await house.client.runs.usage.retrieve(run) for run in answer.letta_runs]
    assert answer.input_tokens == sum(u.prompt_tokens for u in used)
    assert answer.output_tokens == sum(u.completion_tokens for u in used)
    found = await house.found(thread, "t")
    assert found
    assert (found.waits_for, found.answer().text) == ((), "it said hi")


async def test_a_failing_tool_is_told_to_the_agent(house: House) -> None:
    async def fails(name: str, arguments: dict[str, Any]) -> str:
        raise ToolFailed("out of order")

    house.scripted.script([CALL, "a pity"])
    thread = await house.thread()
    answer = await house.door.send(thread, "use it", otid="t", tools=[SPEC], run_tool=fails, on_run=no_run)
    assert answer.text == "a pity"
    assert "out of order" in str(house.scripted.last["messages"][-1])


async def test_a_thread_that_waits_for_a_tool_refuses_other_messages_with_409_and_other_threads_go_on(
    house: House,
) -> None:
    agent = await house.agent()
    thread = await house.thread(agent)
    await asked(house, thread)
    message: Any = {"role": "user", "content": "and?"}
    with pytest.raises(ConflictError):
        await house.client.conversations.messages.create(thread, messages=[message], streaming=False)
    with pytest.raises(APIStatusError, match=r"(?i)waits for|waiting for"):
        await house.send(thread, "and?")
    assert said(await house.send(await house.thread(agent), "hello")) == "ok: hello"


async def test_an_interrupted_turn_is_found_waiting_and_taken_up_again(house: House) -> None:
    thread = await house.thread()
    await asked(house, thread, "t-1")
    found = await house.found(thread, "t-1")
    assert found
    assert not found.has_answer
    assert [(c.name, c.arguments) for c in found.waits_for] == [("echo", {"text": "hi"})]
    house.scripted.script(["after all"])
    answer = await house.door.send(
        thread, "use it", otid="t-1", posted=True, tools=[SPEC], run_tool=echo, on_run=no_run
    )
    assert answer.text == "after all"
    assert len(of_type(await house.listed(thread), "user_message")) == 1
    assert "echo of hi" in str(house.scripted.last["messages"])


async def test_a_new_message_frees_a_thread_that_somebody_left_waiting(house: House) -> None:
    thread = await house.thread()
    await asked(house, thread, "t-1")
    house.scripted.on("something else", "gladly")
    answer = await house.door.send(thread, "something else", otid="t-2", run_tool=never, on_run=no_run)
    assert answer.text == "gladly"
    assert [m.otid for m in of_type(await house.listed(thread), "user_message")] == ["t-1", "t-2"]


async def test_a_turn_whose_model_failed_after_a_tool_can_be_tried_again(house: House) -> None:
    thread = await house.thread()
    house.scripted.on("use it", [CALL, {"status": 500, "message": "out of order"}])
    more: Any = {"otid": "t-1", "tools": [SPEC], "run_tool": echo, "on_run": no_run}
    with pytest.raises(ModelFailed, match="out of order"):
        await house.door.send(thread, "use it", **more)
    house.scripted.reset()
    answer = await house.door.send(thread, "use it", posted=True, **more)
    assert answer.text.startswith("ok")
    found = await house.found(thread, "t-1")
    assert found
    assert (found.waits_for, found.answer().text) == ((), answer.text)


async def test_tool_returns_that_nobody_waits_for_are_refused(house: House) -> None:
    with pytest.raises(APIStatusError):
        await house.give_back(await house.thread(), {"call_unknown": "x"})


async def test_on_purpose_a_server_calls_one_tool_at_a_time_and_the_embedded_all_that_were_asked_for(
    house: House,
) -> None:
    house.scripted.script([{"tools": [["echo", {"text": "one"}], ["echo", {"text": "two"}]]}, "done"])
    thread = await house.thread()
    answer = await house.door.send(thread, "both", otid="t", tools=[SPEC], run_tool=echo, on_run=no_run)
    assert answer.text == "done"
    assert [c.arguments["text"] for c in answer.tool_calls] == (["one"] if house.real else ["one", "two"])


async def test_on_purpose_cancelling_a_waiting_thread_ends_its_turn_on_the_embedded_only(house: House) -> None:
    thread = await house.thread()
    await asked(house, thread)
    if house.real:
        with pytest.raises(ConflictError):
            await house.client.conversations.cancel(thread)
    else:
        await house.client.conversations.cancel(thread)
        assert await house.listed(thread) == []
