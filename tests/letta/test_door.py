"""The door to Letta: what it says when something is wrong, and what it reads from the wire of a real server."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from letta_client import AsyncLetta

from atlas_mcp.errors import LettaLost, LettaUnavailable, ModelFailed, OverLimit, ToolFailed, UnknownModel
from atlas_mcp.letta.connect import open_server
from atlas_mcp.letta.door import Letta
from atlas_mcp.letta.finding import Patience
from atlas_mcp.letta.states import NewAgent, NewBlock
from atlas_mcp.model.turn import ToolSpec
from tests.constellation.conftest import Script, open_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

pytestmark = pytest.mark.anyio

HURRIED = Patience(first_event=0.05, event=0.05, grace=0.0, away=0.0, busy=0.0)
ECHO = ToolSpec(name="echo", description="Says it again.", parameters={"type": "object", "properties": {}})
DATE = "2026-11-20T09:02:05+00:00"


async def no_tool(name: str, arguments: dict[str, Any]) -> str:
    raise AssertionError(name)


async def no_run(run_id: str) -> None:
    return


@asynccontextmanager
async def server(answer: Callable[[httpx.Request], httpx.Response], **more: Any) -> AsyncIterator[Letta]:
    """A Letta whose answers the test writes itself."""
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        yield Letta(AsyncLetta(base_url="http://letta", api_key="x", http_client=http), kind="server", **more)


def events(*sent: dict[str, Any], done: bool = True) -> httpx.Response:
    common = {"date": DATE, "run_id": "run-1"}
    lines = [f"data: {json.dumps({'id': f'message-{n}', **common, **e})}\n\n" for n, e in enumerate(sent)]
    body = "".join(lines) + ("data: [DONE]\n\n" if done else "")
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body.encode())


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"message_type": "assistant_message", "content": text, **more}


def stop(reason: str = "end_turn") -> dict[str, Any]:
    return {"message_type": "stop_reason", "stop_reason": reason}


def used(prompt: int, completion: int) -> dict[str, Any]:
    return {"message_type": "usage_statistics", "prompt_tokens": prompt, "completion_tokens": completion}


def asks(name: str, arguments: str, call: str = "call-1") -> dict[str, Any]:
    tool_call = {"name": name, "arguments": arguments, "tool_call_id": call}
    return {"message_type": "approval_request_message", "tool_call": tool_call, "tool_calls": [tool_call]}


async def test_an_answer_is_read_with_its_tokens_and_its_run() -> None:
    runs: list[str] = []

    async def on_run(run_id: str) -> None:
        runs.append(run_id)

    async with server(lambda _: events({"message_type": "ping"}, said("hello"), stop(), used(7, 3))) as letta:
        answer = await letta.send("conv-1", "hi", otid="t", run_tool=no_tool, on_run=on_run)
    assert (answer.text, answer.input_tokens, answer.output_tokens, answer.letta_runs) == ("hello", 7, 3, ("run-1",))
    assert runs == ["run-1"]


async def test_an_answer_in_pieces_is_joined_and_what_was_said_before_a_tool_is_not_the_answer() -> None:
    call = {"name": "memory_insert", "arguments": '{"label": "human"}', "tool_call_id": "c"}
    stream = events(
        said("let me ", id="message-a"),
        said("see", id="message-a"),
        {"message_type": "tool_call_message", "tool_call": call},
        {"message_type": "tool_return_message", "tool_call_id": "c", "tool_return": "done", "status": "success"},
        said("it is ", id="message-b"),
        said("done", id="message-b"),
        stop(),
    )
    async with server(lambda _: stream) as letta:
        answer = await letta.send("conv-1", "hi", otid="t", run_tool=no_tool, on_run=no_run)
    assert answer.text == "it is done"
    assert [(c.name, c.arguments, c.ok) for c in answer.tool_calls] == [("memory_insert", {"label": "human"}, True)]


async def test_a_message_is_posted_once_with_its_otid_and_its_tools_and_a_failing_tool_is_told_to_the_agent() -> None:
    posted: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        posted.append(json.loads(request.content))
        if len(posted) == 1:
            return events(asks("echo", '{"text": "hi"}'), stop("requires_approval"), used(5, 1))
        return events(said("as you like"), stop(), used(6, 2))

    async def fails(name: str, arguments: dict[str, Any]) -> str:
        assert (name, arguments) == ("echo", {"text": "hi"})
        raise ToolFailed("out of order")

    async with server(answer) as letta:
        got = await letta.send("conv-1", "hi", otid="turn-1", tools=[ECHO], run_tool=fails, on_run=no_run)
    assert (got.text, got.input_tokens, got.output_tokens) == ("as you like", 11, 3)
    first, second = posted
    assert first["messages"] == [{"type": "message", "role": "user", "content": "hi", "otid": "turn-1"}]
    assert [t["name"] for t in first["client_tools"]] == [t["name"] for t in second["client_tools"]] == ["echo"]
    (returned,) = second["messages"][0]["tool_returns"]
    assert (returned["tool_call_id"], returned["status"], returned["tool_return"]) == (
        "call-1",
        "error",
        "out of order",
    )


async def test_an_agent_that_never_stops_calling_tools_is_told_to_answer_and_then_given_up() -> None:
    posted: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        posted.append(json.loads(request.content))
        return events(asks("echo", "{}", f"call-{len(posted)}"), stop("requires_approval"))

    async def run_tool(name: str, arguments: dict[str, Any]) -> str:
        return "again"

    async with server(answer) as letta:
        with pytest.raises(ModelFailed, match="30 times"):
            await letta.send("conv-1", "hi", otid="t", tools=[ECHO], run_tool=run_tool, on_run=no_run)
    assert len(posted) == 31
    assert "Answer now" in posted[-1]["messages"][0]["tool_returns"][0]["tool_return"]


@pytest.mark.parametrize(
    ("status", "kind", "transient"),
    [(429, "llm_rate_limit", True), (502, "llm_error", True), (400, "llm_bad_request", False)],
)
async def test_a_models_failure_is_told_with_its_own_words(status: int, kind: str, transient: bool) -> None:
    calls: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        fault = {"type": kind, "message": "The model says no.", "detail": "quota of 5 exceeded"}
        return httpx.Response(status, json={"error": fault})

    async with server(answer) as letta:
        with pytest.raises(ModelFailed, match=r"The model says no. quota of 5 exceeded") as caught:
            await letta.send("conv-1", "hi", otid="t", run_tool=no_tool, on_run=no_run)
    assert caught.value.transient is transient
    assert len(calls) == 1


async def test_a_models_failure_in_mid_stream_is_told_in_both_of_lettas_forms() -> None:
    fault = {"error": {"type": "llm_rate_limit", "message": "slow down", "detail": None}}
    head = events({"message_type": "ping"}, done=False).content
    event = httpx.Response(
        200,
        headers={"content-type": "text/event-stream"},
        content=head + f"event: error\ndata: {json.dumps(fault)}\n\n".encode(),
    )
    typed = events(
        {"message_type": "error_message", "error_type": "llm_timeout", "message": "too slow", "run_id": "run-1"},
        stop("llm_api_error"),
    )
    for response, words in ((event, "slow down"), (typed, "too slow")):
        async with server(lambda _, r=response: r) as letta:
            with pytest.raises(ModelFailed, match=words) as caught:
                await letta.send("conv-1", "hi", otid="t", run_tool=no_tool, on_run=no_run)
        assert caught.value.transient


async def test_a_server_that_says_nothing_is_given_up_after_the_events_deadline() -> None:
    async with server(lambda _: httpx.Response(200), patience=HURRIED) as letta:
        letta._client._client._transport = Silent()  # MockTransport cannot hang
        with anyio.fail_after(60), pytest.raises(LettaUnavailable):
            await letta.send("conv-1", "hi", otid="t", run_tool=no_tool, on_run=no_run)


class Silent(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json=[])
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Forever())


class Forever(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        await anyio.sleep_forever()
        yield b""


async def test_a_key_that_the_server_refuses_is_said() -> None:
    async with server(lambda _: httpx.Response(401, json={"detail": "Unauthorized"})) as letta:
        with pytest.raises(LettaUnavailable, match=r"refuses the call.*Set the key"):
            await letta.blocks("agent-1")


async def test_nobody_at_the_address_is_said_with_the_next_step() -> None:
    async with open_server("http://127.0.0.1:9") as letta:
        with pytest.raises(LettaUnavailable, match=r"did not answer.*get_status"):
            await letta.health()


async def test_what_the_embedded_letta_refuses_comes_as_our_own_errors(home: Path) -> None:
    async with open_world(home) as world:
        letta = world.letta
        assert "embedded" in await letta.health()
        with pytest.raises(LettaLost):
            await letta.agent("agent-00000000-0000-4000-8000-000000000000")
        with pytest.raises(LettaLost):
            await letta.send("conv-00000000-0000-4000-8000-000000000000", "hi", otid="t", run_tool=no_tool,
                             on_run=no_run)  # fmt: skip
        block = await letta.create_block(NewBlock("notes", "", 5))
        with pytest.raises(OverLimit, match="9 characters is too long: the limit is 5"):
            await letta.set_block(block.id, "ninechars")
        with pytest.raises(UnknownModel, match="nobody/knows"):
            await letta.create_agent(NewAgent("a", "", "nobody/knows", "", ()))
        await letta.delete_agent("agent-00000000-0000-4000-8000-000000000000")


async def test_a_message_that_was_posted_before_is_found_by_its_otid_among_others(home: Path) -> None:
    async with open_world(home, Script()) as world:
        letta = world.letta
        agent = await letta.create_agent(NewAgent("a", "", "test/obedient", "", (NewBlock("persona", "me", 100),)))
        thread = await letta.open_conversation(agent.id)
        for otid in ("one", "two"):
            await letta.send(thread, f"message {otid}", otid=otid, run_tool=no_tool, on_run=no_run)
        for otid in ("one", "two", "three"):
            again = await letta.send(thread, f"message {otid}", otid=otid, posted=True, run_tool=no_tool, on_run=no_run)
            assert again.text == f"ok: message {otid}"
        assert world.script.calls == 3


async def test_a_letta_that_cannot_compile_a_thread_anew_is_asked_once() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(404, json={"detail": "Not Found"})

    async with server(answer) as letta:
        await letta.recompile("conv-1")
        await letta.recompile("conv-2")
    assert asked == ["/v1/conversations/conv-1/recompile"]


async def test_a_thread_that_is_gone_is_lost_when_it_is_compiled_anew() -> None:
    gone = httpx.Response(404, json={"detail": "Conversation not found with id='conv-1'"})
    async with server(lambda _: gone) as letta:
        with pytest.raises(LettaLost):
            await letta.recompile("conv-1")
