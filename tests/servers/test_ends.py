"""Programs of other servers end with ATLAS, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from mcp import MCPError
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters

from tests.servers.conftest import entry, opened

pytestmark = pytest.mark.anyio


def _starts(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] != "Z"  # a zombie has ended


async def _until_gone(pid: int) -> None:
    with anyio.fail_after(60):
        while _runs(pid):  # noqa: ASYNC110 - of another process
            await anyio.sleep(0.02)


async def test_a_server_that_does_not_leave_is_ended_with_what_it_started(tmp_path: Path) -> None:
    shell = {"command": "sh", "args": ["-c", f"{sys.executable} {entry()['args'][0]}; :"], "env": {"STAY": "1"}}
    async with opened(tmp_path, {"s": shell}) as house:
        pid = int(await house.call("s_act", do="pid"))
        assert _runs(pid)
    await _until_gone(pid)  # it was killed: the system needs a moment for it, and longer where it has much to do


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with a parent that is killed")
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
async def test_a_server_ends_when_atlas_is_ended(tmp_path: Path, ending: signal.Signals) -> None:
    count, home = tmp_path / "starts", tmp_path / "home"
    home.mkdir()
    servers = {"s": entry(COUNT=str(count), STAY="1")}
    (home / "mcp_servers.json").write_text(json.dumps({"mcpServers": servers}))
    pids = tmp_path / "pid"
    program = (
        f"import os, sys; open({str(pids)!r}, 'w').write(str(os.getpid())); os.execv(sys.executable, sys.argv[1:])"
    )
    command = [sys.executable, "-m", "atlas_mcp", "serve"]
    params = StdioServerParameters(
        command=sys.executable, args=["-c", program, *command], env={"ATLAS_HOME": str(home)}
    )
    gone = False
    with anyio.fail_after(110):
        with suppress(MCPError):  # the client's own server is ended under it
            async with Client(params) as client:
                assert not _starts(count)  # listing the agents starts nobody
                await client.call_tool("list_agents", {})
                assert not _starts(count)
                await client.call_tool("chat_with_agent", {"agent": "web_researcher", "message": "Hello."})
                (pid,) = _starts(count)
                assert _runs(pid)
                os.kill(int(pids.read_text()), ending)
                await _until_gone(pid)
                gone = True
    assert gone


def test_a_command_that_tries_servers_out_leaves_none_behind(tmp_path: Path) -> None:
    count, home = tmp_path / "starts", tmp_path / "home"
    home.mkdir()
    servers = {name: entry(COUNT=str(count), STAY="1") for name in ("a", "b")}
    (home / "mcp_servers.json").write_text(json.dumps({"mcpServers": servers}))
    command = [sys.executable, "-m", "atlas_mcp", "tools", "check"]
    environment = {"ATLAS_HOME": str(home), "PATH": os.environ["PATH"]}
    subprocess.run(command, env=environment, capture_output=True, timeout=120, check=True)
    assert len(_starts(count)) == 2
    for pid in _starts(count):
        anyio.run(_until_gone, pid)
