"""The HTTP server: both transports, both eras, and nobody without the key or from another site."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.server.doors import COMMAND, ERAS, TOOLS, call, http_server, over_http, over_stdio, refused, until_ended

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

Running = tuple[str, str, subprocess.Popen[str]]


@pytest.fixture
def running() -> Iterator[Running]:
    with http_server() as server:
        yield server


@pytest.mark.parametrize("era", list(ERAS))
@pytest.mark.parametrize("path", ["/mcp", "/sse"])
async def test_a_client_does_the_main_job(running: Running, path: str, era: str) -> None:
    address, key, _ = running
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    async with over_http(address, key, path, era) as client:
        assert client.protocol_version == era
        assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS
        material = {"name": "tea.txt", "text": "Tea is grown in Assam. It came to Europe in 1610."}
        arguments = {"goal": "Where is tea grown?", "materials": [material], "wait_seconds": 20}
        result = await client.call_tool("run_team_task", arguments, progress_callback=hear)
        assert result.structured_content is not None
        run = await until_ended(client, result.structured_content)
        assert "Assam" in run["result"]["output"]
        assert heard == sorted(set(heard))
        assert heard
        path_given = [{"name": "x", "path": "/etc/hostname"}]
        assert "refused over HTTP" in await refused(client, "run_team_task", goal="x", materials=path_given)


async def test_the_keys_holder_has_a_constellation_apart_from_stdio(running: Running) -> None:
    address, key, _ = running
    async with over_http(address, key, "/mcp", "2026-07-28") as web, over_stdio("2026-07-28") as local:
        await call(web, "update_agent_memory", agent="librarian", label="human", value="Ada.")
        blocks = (await call(local, "get_agent_memory", agent="librarian", label="human"))["blocks"]
        assert blocks[0]["value"] == ""


async def test_only_the_key_opens_and_only_from_this_machine(running: Running, home: Path) -> None:
    address, key, _ = running
    bearer = {"Authorization": f"Bearer {key}"}
    # The SDK closes the connection after it has refused a stream at /sse: each request has one of its own.
    alone = httpx2.Limits(max_keepalive_connections=0)
    async with httpx2.AsyncClient(base_url=address, limits=alone, timeout=60) as http:
        for path in ("/mcp", "/sse"):
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {key}x"}):
                assert (await http.get(path, headers=headers)).status_code == 401
            assert (await http.get(path, headers=bearer | {"Host": "evil.example"})).status_code == 421
            assert (await http.get(path, headers=bearer | {"Host": "127.0.0.1:1"})).status_code == 421
            assert (await http.get(path, headers=bearer | {"Origin": "http://evil.example"})).status_code == 403
        assert (await http.post("/messages/?session_id=0", json={})).status_code == 401
    if os.name != "nt":
        assert stat.S_IMODE((home / "keys" / "http").stat().st_mode) == 0o600


async def test_health_needs_no_key_and_tells_nothing_secret(running: Running) -> None:
    address, key, _ = running
    async with httpx2.AsyncClient(base_url=address, timeout=60) as http:
        health = await http.get("/health")
    assert health.json().keys() == {"status", "version"}
    assert key not in health.text


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals between processes")
async def test_the_server_ends_cleanly_while_a_client_listens(running: Running) -> None:
    address, key, process = running
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(base_url=address, headers=headers, timeout=60) as http,
        http.stream("GET", "/sse") as stream,
    ):
        arriving = stream.aiter_lines()
        assert await anext(arriving) == "event: endpoint"
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(httpx2.RemoteProtocolError):  # the stream ends in the middle
            async for _ in arriving:
                pass
    assert process.wait(60) == 0
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()


def serve(*options: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "serve", "--http", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)


def test_a_port_in_use_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = serve("--port", str(port))
    assert done.returncode == 2
    assert f"127.0.0.1:{port} is already in use" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org"])
def test_an_address_that_others_reach_is_refused(host: str) -> None:
    done = serve("--host", host)
    assert done.returncode == 2
    assert "loopback" in done.stderr
    assert "Traceback" not in done.stderr


async def test_other_machines_come_in_by_the_names_that_were_allowed_and_with_the_key_only() -> None:
    options = ("--host", "0.0.0.0", "--allow-host", "atlas.example.com", "--allow-host", "10.0.0.7:8443")
    with http_server(*options) as (address, key, _):
        async with httpx2.AsyncClient(base_url=address, timeout=60) as http:

            async def status(host: str, bearer: str = key, **more: str) -> int:
                headers = {"Host": host, "Authorization": f"Bearer {bearer}", **more}
                body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
                accepted = {"Accept": "application/json, text/event-stream"}
                return (await http.post("/mcp", json=body, headers={**headers, **accepted})).status_code

            refused_host = 421
            for host in ("atlas.example.com", "atlas.example.com:443", "10.0.0.7:8443", address.rpartition("/")[2]):
                assert await status(host) not in {401, 403, refused_host}, host
                assert await status(host, "wrong") == 401
            for host in ("10.0.0.7", "10.0.0.7:80", "example.com", "atlas.example.com.evil.org"):
                assert await status(host) == refused_host, host
            assert await status("atlas.example.com", Origin="https://atlas.example.com") not in {401, 403, 421}
            assert await status("atlas.example.com", Origin="https://evil.example.com") == 403


@pytest.mark.parametrize("name", ["", "*", "https://a.example", "a.example/mcp", "a b", "a.example:x", "-a"])
def test_what_is_no_name_of_a_host_is_refused(name: str) -> None:
    done = serve("--port", "0", f"--allow-host={name}")
    assert done.returncode == 2
    assert "--allow-host: " in done.stderr
    assert "Traceback" not in done.stderr
