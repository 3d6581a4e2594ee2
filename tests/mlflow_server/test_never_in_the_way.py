"""A real ATLAS beside a real MLflow that is gone, frozen, slow or full of errors: nothing waits, nothing is lost."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import MCPError, StdioServerParameters, stdio_client
from mcp.client import Client

from atlas_mcp.watch.spool import read, waiting
from atlas_mcp.watch.state import load_state
from tests.mlflow_server.conftest import Answer, MlflowServer, Proxy, wait_until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="POSIX signals"),
]

Ingest = Callable[..., subprocess.CompletedProcess[str]]

CALLS = 60
_LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
os.execv(sys.executable, [sys.executable, "-m", "atlas_mcp", "serve"])
"""


@asynccontextmanager
async def atlas(home: Path, *command: str, **environment: str) -> AsyncGenerator[Client]:
    """A client on a server process of its own."""
    words = list(command) or ["-m", "atlas_mcp", "serve"]
    variables = {**os.environ, "ATLAS_HOME": str(home), **environment}
    with (home.parent / "stderr.txt").open("a") as said:
        parameters = StdioServerParameters(command=sys.executable, args=words, env=variables)
        async with Client(stdio_client(parameters, errlog=said)) as client:
            yield client


async def call(client: Client, tool: str = "get_status", **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content or {}


async def tracing_room(client: Client) -> dict[str, Any]:
    return next(room for room in (await call(client))["rooms"] if room["name"] == "tracing")


def spooled(home: Path) -> list[str]:
    """The names of the roots that wait."""
    batches = [read(file.path) for file in waiting(home / "spool")]
    return [span["name"] for batch in batches for span in batch.spans if not span["parent"]]


@pytest.mark.parametrize("fault", ["gone", "frozen", "slow", "errors"])
async def test_calls_and_the_exit_are_as_quick_while_mlflow_fails_and_all_traces_arrive_after(
    tmp_path: Path, mlflow: MlflowServer, proxy: Proxy, ingest: Ingest, fault: str
) -> None:
    before, home = len(mlflow.spans()), tmp_path / "home"
    if fault == "gone":
        mlflow.stop()
    elif fault == "frozen":
        mlflow.freeze()
    elif fault == "slow":
        proxy.says = Answer(after=threading.Event())
    else:
        proxy.says = Answer(500, b"out of order")
    failing, well = [], []
    async with atlas(tmp_path / "other") as beside:
        async with atlas(home, MLFLOW_TRACKING_URI=proxy.address) as client:
            for _ in range(CALLS):
                for one, times in ((client, failing), (beside, well)):
                    began = time.perf_counter()
                    await call(one)
                    times.append(time.perf_counter() - began)
            left = time.monotonic()
        one_left = time.monotonic()
    other_left = time.monotonic()
    assert one_left - left < max(5, 3 * (other_left - one_left)), "the exit waited for MLflow"
    # Calls to both alternate, so that whatever else the machine does hits both alike.
    assert statistics.median(failing) < 3 * statistics.median(well)
    if proxy.says.after is not None:
        proxy.says.after.set()
    proxy.says = Answer()
    await anyio.to_thread.run_sync(mlflow.start)
    # The process has started a carrier as it left; that one may still be failing.
    with anyio.fail_after(200):
        while waiting(home / "spool"):
            await anyio.to_thread.run_sync(lambda: ingest(home, "--tracking-uri", proxy.address))
    assert len(mlflow.spans()) - before == CALLS
    assert load_state(home / "spool").refused == 0


async def test_what_a_full_spool_does_not_take_is_counted_and_shown_and_calls_go_on(home: Path) -> None:
    file = home / "spool" / "1-full" / "00000000000000000001-1-abcdef.spans"
    file.parent.mkdir(parents=True)
    with file.open("wb") as full:
        full.truncate(256 << 20)
    async with atlas(home, MLFLOW_TRACKING_URI="http://127.0.0.1:9") as client:
        await _until_lost(client)


async def test_a_disk_that_takes_nothing_costs_traces_only_and_they_are_counted(home: Path) -> None:
    async with atlas(home, "-c", _LIMITED) as client:
        await _until_lost(client)
    assert not list((home / "spool").glob("*/*")), "half a batch was left lying on the full disk"


async def _until_lost(client: Client) -> None:
    room = await tracing_room(client)
    with anyio.fail_after(120):
        while "spans were lost" not in room["text"]:
            room = await tracing_room(client)
    assert room["health"] == "warning"
    assert room["next_step"]


async def test_a_killed_server_loses_the_open_call_only_and_the_next_one_sends_the_rest(
    home: Path, mlflow: MlflowServer
) -> None:
    before = mlflow.spans()

    async def hang_in(client: Client) -> None:
        with suppress(MCPError):
            await client.call_tool("chat_with_agent", {"agent": "librarian", "message": "hello"})

    made = 0
    gone = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "ATLAS_OFFLINE_DELAY": "60"}
    async with atlas(home, **gone) as client, anyio.create_task_group() as group:
        group.start_soon(hang_in, client)
        with anyio.fail_after(120):
            agents: list[dict[str, Any]] = []
            while not any(agent["busy"] for agent in agents):
                agents, made = (await call(client, "list_agents"))["agents"], made + 1
        await anyio.to_thread.run_sync(lambda: wait_until(lambda: len(spooled(home)) == made))
        os.kill(int(waiting(home / "spool")[0].path.parent.name.split("-")[0]), signal.SIGKILL)
    async with atlas(home, MLFLOW_TRACKING_URI=mlflow.address) as client:
        await call(client)  # and stays: after the failures of the first one a carrier comes after a pause
        await anyio.to_thread.run_sync(lambda: wait_until(lambda: not waiting(home / "spool")))
    found = [spans for trace, spans in mlflow.spans().items() if trace not in before]
    assert [spans for spans in found if "chat_with_agent" in spans] == []
    assert len([spans for spans in found if "list_agents" in spans]) == made
    assert ["get_status"] in found


async def test_two_servers_that_start_on_an_empty_home_at_the_same_instant_both_work_and_trace(
    home: Path, ingest: Ingest, stored_traces: Callable[[str], list[dict[str, Any]]], database: str
) -> None:
    async def use() -> None:
        async with atlas(home) as client:
            assert (await call(client, "list_agents"))["agents"]

    async with anyio.create_task_group() as group:
        group.start_soon(use)
        group.start_soon(use)
    assert (await anyio.to_thread.run_sync(ingest, home)).returncode == 0
    traces = await anyio.to_thread.run_sync(stored_traces, database)
    assert [trace["name"] for trace in traces] == ["list_agents"] * 2
