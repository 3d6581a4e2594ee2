"""The audit log of what comes over HTTP and by the command line, read by `atlas-mcp audit`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest

from atlas_mcp.home_care import open_audit
from atlas_mcp.model.audited import Audited, AuditQuery
from atlas_mcp.settings import load_settings
from tests.interruptible import interruptible
from tests.server.doors import COMMAND, ERAS, LEGACY, MODERN, call, http_server, over_http, refused

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(600)  # many processes, one after the other
DEADLINE = 200


def run(*arguments: str, code: int = 0) -> str:
    """The command's standard output."""
    done = subprocess.run([*COMMAND, *arguments], check=False, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == code, done.stderr
    return done.stdout


def shown(*options: str) -> list[dict[str, Any]]:
    """What `atlas-mcp audit --json` says."""
    return [json.loads(line) for line in run("audit", "--json", *options).splitlines()]


async def until(action: str) -> Audited:
    """The first entry of that action, once it is there."""
    with anyio.fail_after(DEADLINE):
        async with open_audit(load_settings()) as trail:
            async for entry in trail.follow(AuditQuery(action=action)):
                return entry
    raise AssertionError


@pytest.mark.anyio
async def test_who_came_with_which_key_from_where_and_who_was_not_let_in() -> None:
    token = run("keys", "create", "ann", "--scope", "read").strip()
    with http_server() as (address, home_key, _):
        for path, key, era in (("/mcp", token, MODERN), ("/sse", token, LEGACY)):
            async with over_http(address, key, path, era) as client:
                await call(client, "list_agents")
                await refused(client, "chat_with_agent", agent="librarian", message="A secret message.")
        async with over_http(address, home_key, "/mcp", MODERN) as client:
            await call(client, "share_knowledge", name="tea.txt", text="Tea is grown in Assam.")
        async with httpx2.AsyncClient(base_url=address, timeout=60) as http:
            for _ in range(50):
                assert (await http.post("/mcp", json={}, headers={"Authorization": "Bearer wrong"})).status_code == 401
        await until("http 401")
    # Only now, when the server is gone: within a minute of the first it tells of all those that it did not let in.
    chats = shown("--action", "chat_with_agent")
    key_id = next(entry["via"] for entry in chats)
    assert [(e["caller"], e["via"], e["outcome"], e["detail"], e["address"]) for e in chats] == [
        ("key:ann", key_id, "refused", "NotAllowed", "127.0.0.1")
    ] * 2
    assert key_id in run("keys", "list")
    (made,) = shown("--action", "keys create")
    assert (made["via"], made["outcome"], made["target"].split()[0]) == ("cli", "done", "name=ann")
    (document,) = shown("--action", "share_knowledge")
    assert (document["caller"], document["via"], document["target"]) == ("key:http", "http", "name=tea.txt")
    (flood,) = shown("--action", "http 401")
    assert (flood["caller"], flood["outcome"], flood["address"]) == ("", "refused", "127.0.0.1")
    table = run("audit", "--caller", "key:ann")
    assert "chat_with_agent" in table
    assert "share_knowledge" not in table
    everything = run("audit", "--json")
    for text in ("secret message", "Assam", token, home_key, "wrong"):
        assert text not in everything


CLIENT = {"name": "raw", "version": "1"}
ASKED: dict[str, Any] = {"name": "list_agents", "arguments": {"team": "research"}}
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}
SAID: dict[str, list[dict[str, Any]]] = {
    MODERN: [{"id": 1, "method": "tools/call", "params": {**ASKED, "_meta": META}}],
    LEGACY: [
        {
            "id": 0,
            "method": "initialize",
            "params": {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT},
        },
        {"method": "notifications/initialized"},
        {"id": 1, "method": "tools/call", "params": ASKED},
    ],
}


@pytest.mark.parametrize("era", list(ERAS))
def test_over_stdio_nothing_is_lost_at_the_end_of_the_process(era: str) -> None:
    """By a host that lets the server end: the SDK's client kills one that is still there after a few seconds."""
    with subprocess.Popen([*COMMAND, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for message in SAID[era]:
            process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        process.stdin.flush()
        while json.loads(process.stdout.readline()).get("id") != 1:
            pass
        process.stdin.close()
        process.wait(DEADLINE)
    (entry,) = shown("--action", "list_agents")
    assert (entry["via"], entry["target"], entry["outcome"]) == ("stdio", "team=research", "done")


def test_what_the_command_line_does_to_the_home_is_kept_and_what_it_asks_to_see_is_not(tmp_path: Path) -> None:
    run("export", str(tmp_path / "mine.atlas"))
    run("import", str(tmp_path / "nothing.atlas"), code=2)
    run("memory", "forget", "mem_nothing", "--yes", code=2)
    run("memory", "purge")
    told = [(e["action"], e["target"], e["outcome"], e.get("detail")) for e in shown()]
    assert told == [
        ("export", "mine.atlas", "done", ""),
        ("import", "nothing.atlas", "failed", "InvalidInput"),
        ("memory forget", "id=mem_nothing", "failed", "InvalidInput"),
        ("memory purge", "", "done", ""),
    ]


def test_it_can_be_followed_and_narrowed_to_a_time() -> None:
    run("memory", "purge")
    assert shown("--since", "1h")[0]["action"] == "memory purge"
    assert shown("--until", "1h") == []
    assert shown("--since", "2999-01-01") == []
    assert "nothing of that kind" in run("audit", "--outcome", "failed")
    bad = subprocess.run(
        [*COMMAND, "audit", "--since", "soon"], check=False, capture_output=True, text=True, timeout=DEADLINE
    )
    assert bad.returncode == 2
    assert "--since: 'soon' is not a moment. As 2026-03-01" in bad.stderr
    command, start = [*COMMAND, "audit", "--follow", "--json"], interruptible if os.name != "nt" else None
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=start) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["action"] == "memory purge"
        run("memory", "purge")
        assert json.loads(process.stdout.readline())["action"] == "memory purge"
        process.send_signal(signal.SIGINT if os.name != "nt" else signal.SIGTERM)
        process.wait(DEADLINE)
