"""Agents use the tools of the user's other servers, through an MCP client as a person's host is one."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from mcp.client import Client

from atlas_mcp.atlas import open_atlas
from atlas_mcp.model.caller import Caller
from atlas_mcp.server import create_server
from atlas_mcp.settings import load_settings
from tests.scripted_model import ScriptedModel, last_user_text
from tests.server.doors import call, until_ended
from tests.servers.conftest import entry
from tests.teamwork.house import good_answer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

LOOKUP = {
    "name": "lookup",
    "description": "Looks a word up.",
    "inputSchema": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    "annotations": {"readOnlyHint": True},
}


def _configure(monkeypatch: pytest.MonkeyPatch, home: Path, model: ScriptedModel, servers: dict[str, Any]) -> None:
    home.mkdir(parents=True, exist_ok=True)
    (home / "mcp_servers.json").write_text(json.dumps({"mcpServers": servers}))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", model.url)
    monkeypatch.setenv("ATLAS_MODEL", "openai:scripted-1")


async def test_an_agent_uses_a_tool_of_another_server_in_its_first_turn(
    monkeypatch: pytest.MonkeyPatch, home: Path, tmp_path: Path, scripted_model: ScriptedModel
) -> None:
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps([LOOKUP]))
    _configure(monkeypatch, home, scripted_model, {"dict": entry(TOOLS=str(tools))})
    scripted_model.script([{"tool": "dict_lookup", "args": {"word": "quay"}}, "A quay is a landing place."])
    with anyio.fail_after(120):
        async with open_atlas(load_settings()) as atlas, Client(create_server(atlas, transport="stdio")) as client:
            before = await call(client, "get_status")
            assert "it is started with the first call" in _room(before, "server dict")["text"]
            reply = await call(client, "chat_with_agent", agent="web_researcher", message="What is a quay?")
            after = await call(client, "get_status")
    assert reply["reply"] == "A quay is a landing place."
    offered = {tool["function"]["name"]: tool["function"] for tool in scripted_model.requests[0]["tools"]}
    assert "«Looks a word up.»" in offered["dict_lookup"]["description"]
    given = scripted_model.requests[1]["messages"][-1]["content"]
    assert 'called lookup with {\\"word\\": \\"quay\\"}' in given or 'called lookup with {"word": "quay"}' in given
    assert _room(after, "server dict")["health"] == "ok"


async def test_a_team_uses_a_tool_of_another_server_and_may_cite_what_it_gave(
    monkeypatch: pytest.MonkeyPatch, home: Path, tmp_path: Path, scripted_model: ScriptedModel
) -> None:
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps([LOOKUP]))
    _configure(monkeypatch, home, scripted_model, {"dict": entry(TOOLS=str(tools))})
    scripted_model.on(_may_look_up, [{"tool": "dict_lookup", "args": {"word": "quay"}}, {"call": _cite}])
    scripted_model.on("answer_schema", {"call": lambda request: {"json": good_answer(last_user_text(request))}})
    with anyio.fail_after(170):
        async with open_atlas(load_settings()) as atlas, Client(create_server(atlas, transport="stdio")) as client:
            task = {"goal": "Say what a quay is", "teams": ["research"], "wait_seconds": 45}
            run = await call(client, "run_team_task", **task)
            run = await until_ended(client, run)
    assert run["status"] == "completed", run
    evidence = [e for e in run["result"]["evidence"] if e["source"].startswith("dict_lookup#")]
    assert evidence
    assert all(e["quote"] == "called lookup with" for e in evidence)


async def test_a_tool_that_may_destroy_is_asked_about_and_called_once_when_it_is_approved(
    monkeypatch: pytest.MonkeyPatch, home: Path, tmp_path: Path, scripted_model: ScriptedModel
) -> None:
    count = tmp_path / "calls"
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps([{**LOOKUP, "name": "erase", "annotations": {}}]))
    _configure(monkeypatch, home, scripted_model, {"dict": entry(TOOLS=str(tools), CALLS=str(count))})
    scripted_model.script([{"tool": "dict_erase", "args": {"word": "quay"}}, "I asked.", "It is erased."])
    with anyio.fail_after(170):
        async with open_atlas(load_settings()) as atlas, Client(create_server(atlas, transport="stdio")) as client:
            asked = await call(client, "chat_with_agent", agent="web_researcher", message="Erase the quay.")
            run = await call(client, "get_run", run_id=asked["run_id"], wait_seconds=0)
            assert run["status"] == "awaiting_answer"
            assert "dict_erase" in run["question"]["text"]
            assert not count.exists()
            run = await call(client, "answer_run", run_id=run["run_id"], answer="approve")
            run = await until_ended(client, run)
    assert run["status"] == "completed"
    assert count.read_text() == "erase\n"


async def test_other_callers_have_no_tools_of_the_owners_servers_unless_they_are_shared(
    monkeypatch: pytest.MonkeyPatch, home: Path, scripted_model: ScriptedModel
) -> None:
    _configure(monkeypatch, home, scripted_model, {"mine": entry(), "ours": {**entry(), "shared": True}})
    with anyio.fail_after(120):
        async with open_atlas(load_settings()) as atlas:
            for caller in (atlas.local_caller(), Caller(id="key:ann", kind="key")):
                await atlas.chat(caller, "web_researcher", "Hello.")
    owner, other = ({t["function"]["name"] for t in request["tools"]} for request in scripted_model.requests)
    assert {"mine_act", "ours_act"} <= owner
    assert "ours_act" in other
    assert "mine_act" not in other


def _may_look_up(request: dict[str, Any]) -> bool:
    offered = [tool["function"]["name"] for tool in request.get("tools", [])]
    return "dict_lookup" in offered and 'title="Findings"' in last_user_text(request)


def _cite(request: dict[str, Any]) -> dict[str, Any]:
    """Findings that quote what the tool gave, by the name that it came with."""
    found = re.search(r"Source: (dict_lookup#[0-9a-f]+)", json.dumps(request["messages"]))
    assert found
    evidence = [{"claim": "a quay was looked up", "source": found[1], "quote": "called lookup with"}]
    return {"json": {"text": "It was looked up.", "evidence": evidence}}


def _room(status: dict[str, Any], name: str) -> dict[str, Any]:
    return next(room for room in status["rooms"] if room["name"] == name)
