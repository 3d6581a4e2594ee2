"""A cancelled call stops the work that it has begun, a lost connection does not: over stdio and HTTP, in both eras."""

from __future__ import annotations

import contextlib
import json
import subprocess
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import httpx2
import pytest
from mcp import MCPError

from tests.server.doors import ERAS, LEGACY, MODERN, call, http_server, over_http, over_stdio, until_ended

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from mcp.client import Client

    from tests.scripted_model import ScriptedModel

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

Running = tuple[str, str, subprocess.Popen[str]]
DEADLINE = 90
CALLS = {
    "chat_with_agent": {"agent": "librarian", "message": "Think about it."},
    "chat_with_group": {"group": "sounding_board", "message": "Think about it."},
    "run_team_task": {"goal": "Where is tea grown?", "materials": [{"name": "tea", "text": "Tea grows in Assam."}]},
}


@pytest.fixture
def model(scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch) -> ScriptedModel:
    """The model behind every server of a test; its answers wait until they are released."""
    monkeypatch.setenv("ATLAS_MODEL", "openai:scripted-1")
    monkeypatch.setenv("OPENAI_BASE_URL", scripted_model.url)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    scripted_model.hold()
    return scripted_model


@pytest.fixture
def running(model: ScriptedModel) -> Iterator[Running]:
    with http_server() as server:
        yield server


async def gone(model: ScriptedModel, dropped: int) -> None:
    """Return when the model has seen so many calls given up."""
    await anyio.to_thread.run_sync(model.wait_for_dropped, dropped, DEADLINE)


async def cancelled_in_the_middle(client: Client, model: ScriptedModel, tool: str, *, timed_out: bool) -> None:
    """Call the tool, and give the call up while the model thinks: by cancelling it, or because its time is over."""
    before, dropped = model.calls, model.dropped
    if timed_out:
        await timed_out_in_the_middle(client, model, tool, before)
    else:
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, tool, CALLS[tool])
            await model.arrived(before + 1, DEADLINE)
            group.cancel_scope.cancel()
    await gone(model, dropped + 1)


async def timed_out_in_the_middle(client: Client, model: ScriptedModel, tool: str, before: int) -> None:
    """Call the tool with too little time; with more of it where that was over before the model was asked at all."""
    for seconds in (6, 20, 60):
        with pytest.raises(MCPError):
            await client.call_tool(tool, CALLS[tool], read_timeout_seconds=seconds)
        if model.calls > before:
            return
    raise AssertionError("the model was never asked")


async def stops(client: Client, model: ScriptedModel, *tools: str, timed_out: bool = False) -> None:
    model.release()
    assert (await call(client, "chat_with_agent", agent="librarian", message="@@say Hello."))["reply"] == "Hello."
    model.hold()  # everything is open by now: what takes its time from here on is the model
    for number, tool in enumerate(tools, start=1):
        await cancelled_in_the_middle(client, model, tool, timed_out=timed_out)
        runs = (await call(client, "list_runs"))["runs"]
        assert {run["status"] for run in runs} == {"cancelled"}, tool
        assert len(runs) == number or (timed_out and len(runs) > number), tool  # a call may have been made anew
        run = await call(client, "get_run", run_id=runs[0]["run_id"])
        assert run["events"][-1]["type"] == "run_cancelled"
        assert any(event["type"] == "turn_started" for event in run["events"]), "what was done is kept"
    model.release()
    assert (await call(client, "chat_with_agent", agent="librarian", message="@@say Well."))["reply"] == "Well."


@pytest.mark.parametrize("era", list(ERAS))
async def test_over_stdio_a_call_that_is_cancelled_stops_its_run(model: ScriptedModel, era: str) -> None:
    async with over_stdio(era) as client:
        await stops(client, model, *CALLS)


@pytest.mark.parametrize("era", list(ERAS))
async def test_a_call_whose_time_is_over_stops_its_run(model: ScriptedModel, era: str) -> None:
    async with over_stdio(era) as client:
        await stops(client, model, "chat_with_agent", timed_out=True)


@pytest.mark.parametrize(("path", "era"), [("/mcp", MODERN), ("/mcp", LEGACY), ("/sse", MODERN), ("/sse", LEGACY)])
async def test_over_http_a_call_that_is_given_up_stops_its_run(
    running: Running, model: ScriptedModel, path: str, era: str
) -> None:
    address, key, _ = running
    async with over_http(address, key, path, era) as client:
        await stops(client, model, *CALLS)


async def test_a_get_run_that_is_given_up_stops_only_the_waiting(model: ScriptedModel) -> None:
    async with over_stdio(MODERN) as client:
        run = await call(client, "run_team_task", **CALLS["run_team_task"], wait_seconds=0)
        await model.arrived(1, DEADLINE)
        with pytest.raises(MCPError):
            await client.call_tool(
                "get_run", {"run_id": run["run_id"], "since": 1_000, "wait_seconds": 30}, read_timeout_seconds=1
            )
        assert (await call(client, "get_run", run_id=run["run_id"], wait_seconds=0))["status"] == "working"
        assert model.dropped == 0


async def test_a_cancel_from_another_process_stops_the_model_call(model: ScriptedModel) -> None:
    async with over_stdio(MODERN) as one, over_stdio(LEGACY) as other:
        run = await call(one, "run_team_task", **CALLS["run_team_task"], wait_seconds=0)
        await model.arrived(1, DEADLINE)
        assert (await call(other, "cancel_run", run_id=run["run_id"]))["status"] == "cancelled"
        await gone(model, 1)
        again = await call(other, "cancel_run", run_id=run["run_id"])
        assert again["status"] == "cancelled"
        told = [event["type"] for event in again["events"]] or [
            event["type"] for event in (await call(one, "get_run", run_id=run["run_id"]))["events"]
        ]
        assert told.count("run_cancelled") == 1


async def test_a_cancel_after_the_end_changes_nothing_and_says_so(model: ScriptedModel) -> None:
    async with over_stdio(MODERN) as client:
        handle = await call(client, "chat_with_agent", agent="librarian", message="@@say Done.", wait_seconds=0)
        model.release()
        ended = await until_ended(client, await call(client, "get_run", run_id=handle["run_id"]))
        after = await call(client, "cancel_run", run_id=handle["run_id"])
    assert (after["status"], after["reply"]) == (ended["status"], "Done.") == ("completed", "Done.")
    assert "nothing was changed" in after["note"]


# -- without the SDK's client, which says goodbye: a client that is suddenly gone

MODERN_META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def request(tool: str, **more: Any) -> dict[str, Any]:
    params = {"name": tool, "arguments": CALLS[tool], **more}
    return {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}


@contextlib.asynccontextmanager
async def raw(running: Running, **headers: str) -> AsyncIterator[httpx2.AsyncClient]:
    address, key, _ = running
    accepted = {"Accept": "application/json, text/event-stream", "Authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(base_url=address, timeout=DEADLINE, headers={**accepted, **headers}) as http:
        yield http


async def given_up(http: httpx2.AsyncClient, body: dict[str, Any], model: ScriptedModel, **headers: str) -> None:
    """Post the call and close the connection while the model thinks."""
    calls = model.calls

    async def post() -> None:
        async with http.stream("POST", "/mcp", json=body, headers=headers) as response:
            async for _ in response.aiter_bytes():
                pass

    async with anyio.create_task_group() as group:
        group.start_soon(post)
        await model.arrived(calls + 1, DEADLINE)
        group.cancel_scope.cancel()


async def test_since_2026_a_response_stream_that_is_closed_is_a_cancellation(
    running: Running, model: ScriptedModel
) -> None:
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call"}
    for number, tool in enumerate(CALLS, start=1):
        body = request(tool, _meta=MODERN_META)
        async with raw(running, **headers, **{"Mcp-Name": tool}) as http:
            await given_up(http, body, model)
        await gone(model, number)
    async with over_http(*running[:2], "/mcp", MODERN) as client:
        assert {run["status"] for run in (await call(client, "list_runs"))["runs"]} == {"cancelled"}


async def test_before_2026_a_lost_connection_is_no_cancellation(running: Running, model: ScriptedModel) -> None:
    first = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}},
    }
    async with raw(running) as http:
        hello = await http.post("/mcp", json=first)
        session = {"mcp-session-id": hello.headers["mcp-session-id"], "mcp-protocol-version": LEGACY}
        await http.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=session)
        await given_up(http, request("chat_with_group"), model, **session)
        await goes_on(running, model)
        await given_up(http, request("chat_with_group"), model, **session)
        assert (await http.delete("/mcp", headers=session)).status_code == 200  # the whole session ends
    await goes_on(running, model)


async def test_an_sse_stream_that_ends_is_no_cancellation(running: Running, model: ScriptedModel) -> None:
    for opening in (
        {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}},
        },
        {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": MODERN_META}},
    ):
        modern = opening["method"] == "server/discover"
        async with raw(running) as http, http.stream("GET", "/sse") as stream:
            arriving = stream.aiter_lines()
            lines = [await anext(arriving), await anext(arriving)]
            endpoint = lines[1].removeprefix("data: ")
            assert (await http.post(endpoint, json=opening)).is_success
            async for line in arriving:
                if line.startswith("data: "):
                    assert "result" in json.loads(line.removeprefix("data: ")), line
                    break
            if not modern:
                await http.post(endpoint, json={"jsonrpc": "2.0", "method": "notifications/initialized"})
            calls = model.calls
            body = request("chat_with_agent", **({"_meta": MODERN_META} if modern else {}))
            assert (await http.post(endpoint, json=body)).is_success
            await model.arrived(calls + 1, DEADLINE)
        await goes_on(running, model)


async def goes_on(running: Running, model: ScriptedModel) -> None:
    """The run that has just lost its client goes on, and completes when the model answers."""
    async with over_http(*running[:2], "/mcp", MODERN) as client:
        run = (await call(client, "list_runs"))["runs"][0]
        assert run["status"] == "working"
        model.release()
        assert (await until_ended(client, await call(client, "get_run", run_id=run["run_id"])))["status"] == "completed"
        assert model.dropped == 0
        model.hold()
