"""A host's view of the server subprocess: both eras, a clean pipe, and an end that is prompt in every way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.server.doors import COMMAND, ERAS, TOOLS, call, over_stdio, refused, until_ended

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio

END_SECONDS = 60
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


@pytest.mark.parametrize("era", list(ERAS))
async def test_a_host_does_the_main_job_in_each_era(era: str) -> None:
    async with over_stdio(era) as client:
        assert client.protocol_version == era
        assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS
        reply = await call(client, "chat_with_agent", agent="librarian", message="Please remember: I am Ada.")
        assert reply["reply"]
        material = {"name": "tea.txt", "text": "Tea is grown in Assam. It came to Europe in 1610."}
        run = await call(client, "run_team_task", goal="Where is tea grown?", materials=[material], wait_seconds=1)
        run = await until_ended(client, run)
        assert "Assam" in run["result"]["output"]
        assert "agent:" in await refused(client, "chat_with_agent", agent="nobody", message="Hello.")
        assert (await call(client, "get_status"))["ok"]


async def test_what_agents_remember_outlives_the_server() -> None:
    for expected in ("", "Ada"):
        async with over_stdio("2026-07-28") as client:
            blocks = (await call(client, "get_agent_memory", agent="librarian", label="human"))["blocks"]
            assert expected in blocks[0]["value"]
            await call(client, "chat_with_agent", agent="librarian", message="Please remember: I am Ada.")


@pytest.fixture
def serving() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [*COMMAND, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    yield process
    process.kill()
    process.wait()


def ask(process: subprocess.Popen[bytes], message: dict[str, object]) -> dict[str, object]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def test_every_line_on_stdout_is_a_protocol_message(serving: subprocess.Popen[bytes]) -> None:
    ask(serving, INITIALIZE)
    chat = {"agent": "librarian", "message": "Please remember: I am Ada."}
    calls = [("list_agents", {}), ("chat_with_agent", chat), ("get_status", {}), ("nonsense", {})]
    for number, (name, arguments) in enumerate(calls, 2):
        params = {"name": name, "arguments": arguments}
        ask(serving, {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})
    out, _ = serving.communicate(b"this is not JSON\n", timeout=END_SECONDS)
    for line in out.splitlines():
        assert json.loads(line)["jsonrpc"] == "2.0"


def test_the_server_ends_when_the_host_closes_the_pipe(serving: subprocess.Popen[bytes]) -> None:
    ask(serving, INITIALIZE)
    out, err = serving.communicate(timeout=END_SECONDS)
    assert serving.returncode == 0, err
    assert out == b""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals between processes")
@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_the_server_ends_when_it_is_told_to_while_the_pipe_is_open(
    serving: subprocess.Popen[bytes], told: signal.Signals
) -> None:
    ask(serving, INITIALIZE)
    serving.send_signal(told)
    assert serving.wait(END_SECONDS) == 0
    assert serving.stderr is not None
    assert b"Traceback" not in serving.stderr.read()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals between processes")
def test_who_waits_is_answered_before_the_server_ends_also_where_the_record_is_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ATLAS_OFFLINE_DELAY", "60")
    command, pipe = [sys.executable, "-m", "tests.server.slow_record", "serve"], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        ask(process, INITIALIZE)
        chat = {"name": "chat_with_agent", "arguments": {"agent": "librarian", "message": "Hello."}}
        params = {**chat, "_meta": {"progressToken": 1}}
        told = ask(process, {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params})
        assert told["method"] == "notifications/progress", told
        process.send_signal(signal.SIGTERM)
        assert process.wait(END_SECONDS) == 0  # while the pipe is open: a host that closes it wants no answer
        out, _ = process.communicate()
    [answer] = [one for one in map(json.loads, out.splitlines()) if one.get("id") == 2]
    assert answer["result"]["structuredContent"]["status"] == "working"


def test_without_a_command_a_host_is_served_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run(
        COMMAND, input=json.dumps(INITIALIZE).encode() + b"\n", capture_output=True, timeout=60, check=True
    )
    assert json.loads(done.stdout)["result"]["serverInfo"]["name"] == "atlas"


def test_a_home_that_cannot_be_written_ends_it_with_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("ATLAS_HOME", str(tmp_path / "file"))
    done = subprocess.run([*COMMAND, "serve"], capture_output=True, text=True, timeout=60, check=False, input="")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("atlas-mcp: ")
    assert "ATLAS_HOME" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("ATLAS_MODEL", "nobody:model", "nobody"),
        ("ATLAS_MODEL", "openai:gpt-5", "OPENAI_API_KEY"),
        ("ATLAS_ROSTER", "no-such-roster.toml", "ATLAS_ROSTER"),
        ("LETTA_BASE_URL", "127.0.0.1:8283", "LETTA_BASE_URL"),
    ],
)
async def test_a_host_reads_from_every_tool_what_must_be_mended_first(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, named: str
) -> None:
    monkeypatch.setenv(variable, value)
    async with over_stdio("2025-11-25") as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS
        assert named in await refused(client, "get_status")
        assert named in await refused(client, "chat_with_agent", agent="librarian", message="Hello.")


def test_mcp_json_starts_this_server() -> None:
    path = Path(__file__).parents[2] / "mcp.json"
    assert json.loads(path.read_text()) == {"mcpServers": {"atlas": {"command": "atlas-mcp", "args": ["serve"]}}}


def test_without_a_pipe_it_says_what_it_needs() -> None:
    command = f"exec {' '.join(COMMAND)} serve <&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "stdin" in done.stderr
    assert "Traceback" not in done.stderr
