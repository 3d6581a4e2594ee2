"""Tool calls through a real MCP server and client: each is one trace of its own."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from atlas_mcp.watch.calls import CallTracing, hashed_caller
from atlas_mcp.watch.spans import span
from atlas_mcp.watch.spool import read, waiting
from atlas_mcp.watch.tracing import Tracing, open_tracing

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def connected(began: anyio.Event | None = None) -> AsyncGenerator[Client]:
    server = MCPServer("traced")

    @server.tool()
    async def greet(name: str, conversation: str = "") -> dict[str, str]:
        """Greet somebody."""
        with span("think", "AGENT"):
            await anyio.lowlevel.checkpoint()
        return {"greeting": f"hello {name}"}

    @server.tool()
    async def fail(reason: str) -> str:
        """Fail."""
        raise ToolError(reason)

    @server.tool()
    async def hang() -> str:
        """Hang."""
        assert began
        began.set()
        await anyio.sleep_forever()
        return ""

    server._lowlevel_server.middleware[0] = CallTracing(lambda ctx: "local:abc")
    async with Client(server) as client:
        yield client


def rows(tracing: Tracing) -> list[dict[str, Any]]:
    assert tracing.flush(60)
    return [dict(row) for file in waiting(tracing.home / "spool") for row in read(file.path).spans]


async def test_a_call_is_one_trace_with_arguments_result_caller_and_conversation(home: Path) -> None:
    with open_tracing(home) as tracing:
        async with connected() as client:
            await client.call_tool("greet", {"name": "Ada", "conversation": "conv-3"})
        found = {row["name"]: row for row in rows(tracing)}
    call, think = found["greet"], found["think"]
    assert call["parent"] is None
    assert think["parent"] == call["span"]
    attributes = call["attributes"]
    assert json.loads(attributes["mlflow.spanInputs"]) == {"name": "Ada", "conversation": "conv-3"}
    assert json.loads(attributes["mlflow.spanOutputs"])["greeting"] == "hello Ada"
    assert attributes["mlflow.traceTag.mlflow.traceName"] == "greet"
    assert attributes["session.id"] == "conv-3"
    assert attributes["user.id"] == hashed_caller("local:abc")
    assert "local:abc" not in json.dumps(found)
    assert call["status"] == 1


async def test_connecting_and_listing_leave_no_trace(home: Path) -> None:
    with open_tracing(home) as tracing:
        async with connected() as client:
            await client.list_tools()
            await client.list_resources()
        assert rows(tracing) == []


async def test_a_tool_that_answers_with_an_error_is_recorded_as_failed(home: Path) -> None:
    with open_tracing(home) as tracing:
        async with connected() as client:
            result = await client.call_tool("fail", {"reason": "no such agent"})
        (call,) = rows(tracing)
    assert result.is_error
    assert call["status"] == 2
    assert "no such agent" in call["said"]


async def test_a_call_that_the_client_gives_up_is_recorded_as_cancelled(home: Path) -> None:
    began = anyio.Event()
    with open_tracing(home) as tracing:
        async with connected(began) as client, anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "hang", {})
            await began.wait()
            group.cancel_scope.cancel()
        (call,) = rows(tracing)
    assert (call["name"], call["status"], call["said"]) == ("hang", 2, "cancelled")


@pytest.mark.parametrize("flags", ["00", "01"])
async def test_a_clients_own_trace_becomes_a_link_and_never_decides_for_us(home: Path, flags: str) -> None:
    remote = f"00-{'ab' * 16}-{'cd' * 8}-{flags}"
    with open_tracing(home) as tracing:
        async with connected() as client:
            await client.call_tool("greet", {"name": "Ada"}, meta={"traceparent": remote})
        call = next(row for row in rows(tracing) if row["name"] == "greet")
    assert call["parent"] is None
    assert call["links"] == [["ab" * 16, "cd" * 8]]


@pytest.mark.parametrize("meta", [{"traceparent": "nonsense"}, {"traceparent": 7}, {"traceparent": ["a"]}])
async def test_a_malformed_traceparent_costs_nothing(home: Path, meta: Any) -> None:
    with open_tracing(home) as tracing:
        async with connected() as client:
            result = await client.call_tool("greet", {"name": "Ada"}, meta=meta)
        names = {row["name"] for row in rows(tracing)}
    assert not result.is_error
    assert names == {"greet", "think"}
