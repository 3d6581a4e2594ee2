"""The MCP Inspector's command line, a client that is not ours, over stdio and HTTP, in both eras of the protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests import npm
from tests.clients.journey import PROMPTS
from tests.server.doors import TOOLS

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = "@modelcontextprotocol/inspector"
REFUSED = 5
"""The Inspector's exit code where a tool answers with an error."""
UNAUTHORIZED = 3
ERAS = ["modern", "legacy"]
STDIO = [sys.executable, "-m", "atlas_mcp", "serve"]

pytestmark = npm.needs(PACKAGE)


def inspect(home: Path, door: list[str], *arguments: str, era: str = "modern", code: int = 0) -> dict[str, Any]:
    """What it prints of a request by that door."""
    program = npm.program(PACKAGE, "mcp-inspector")
    command = [*program, "--cli", *door, *arguments, "--protocol-era", era]
    command += ["--connect-timeout", "60000", "--format", "json"]
    environment = os.environ | {"HOME": str(home.parent)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, env=environment)
    assert done.returncode == code, f"{done.returncode}: {done.stdout}\n{done.stderr}"
    printed = json.loads(done.stdout) if done.stdout else {}
    return printed.get("result", printed)


def over_http(address: str, key: str) -> list[str]:
    return ["--server-url", f"{address}/mcp", "--transport", "http", "--header", f"Authorization: Bearer {key}"]


@pytest.fixture(params=["stdio", "http"])
def door(request: pytest.FixtureRequest, server: tuple[str, str]) -> list[str]:
    """How it is told to come in."""
    return STDIO if request.param == "stdio" else over_http(*server)


def calling(tool: str, arguments: dict[str, Any]) -> list[str]:
    return ["--method", "tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments)]


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.timeout(600)
def test_it_finds_the_schemas_portable_and_gets_prompts_and_resources(home: Path, door: list[str], era: str) -> None:
    listed = inspect(home, door, "--method", "tools/list", "--strict", era=era)
    assert {tool["name"] for tool in listed["tools"]} == TOOLS
    given = ["--prompt-name", "delegate", "--prompt-args", "goal=Find tea."]
    prompt = inspect(home, door, "--method", "prompts/get", *given, era=era)
    assert "Find tea." in prompt["messages"][0]["content"]["text"]
    agents = inspect(home, door, "--method", "resources/read", "--uri", "atlas://agents", era=era)
    assert "librarian" in agents["contents"][0]["text"]


@pytest.mark.parametrize("era", ERAS)
def test_it_lists_prompts_resources_and_templates(home: Path, server: tuple[str, str], era: str) -> None:
    prompts = inspect(home, over_http(*server), "--method", "prompts/list", era=era)
    assert {prompt["name"] for prompt in prompts["prompts"]} == PROMPTS
    resources = inspect(home, over_http(*server), "--method", "resources/list", era=era)
    assert "atlas://agents" in {resource["uri"] for resource in resources["resources"]}
    templates = inspect(home, over_http(*server), "--method", "resources/templates/list", era=era)
    assert "atlas://runs/{run_id}" in {one["uriTemplate"] for one in templates["resourceTemplates"]}


def test_without_the_key_it_is_not_let_in(home: Path, server: tuple[str, str]) -> None:
    keyless = ["--server-url", f"{server[0]}/mcp", "--transport", "http"]
    inspect(home, keyless, "--method", "tools/list", code=UNAUTHORIZED)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.timeout(600)
def test_it_calls_a_tool_over_stdio(home: Path, era: str) -> None:
    message = {"agent": "librarian", "message": "Please remember: I am Ada."}
    chat = inspect(home, STDIO, *calling("chat_with_agent", message), era=era)
    assert chat["structuredContent"]["memory_changes"]


@pytest.mark.timeout(900)
def test_it_calls_every_tool(home: Path, server: tuple[str, str]) -> None:
    def use(tool: str, *, era: str = "modern", **arguments: Any) -> dict[str, Any]:
        return inspect(home, over_http(*server), *calling(tool, arguments), era=era)["structuredContent"]

    assert use("list_agents")["agents"]
    assert use("get_status")["ok"]
    assert use("chat_with_agent", agent="librarian", message="Please remember: I am Ada.")["reply"]
    assert use("get_agent_memory", agent="librarian", label="human", era="legacy")["blocks"][0]["value"]
    before = use("update_agent_memory", agent="librarian", label="human", value="Ada.")
    assert before["value"] == "Ada."
    after = use("update_agent_memory", agent="librarian", label="human", value="Bob.")
    undone = use("undo_memory", agent="librarian", label="human", revision=before["revision"])
    assert (undone["value"], undone["revision"]) == ("Ada.", after["revision"] + 1)
    assert use("share_knowledge", name="tea", text="Tea is grown in Darjeeling.")["chars"]
    assert use("search_memory", query="Darjeeling")["hits"][0]["kind"] == "knowledge"
    assert use("chat_with_group", group="sounding_board", message="Is tea good?")["messages"]
    material = {"name": "tea.txt", "text": "Tea is grown in Assam."}
    run = use("run_team_task", goal="Where is tea grown?", materials=[material], wait_seconds=45)
    while run["status"] in {"queued", "working"}:  # on a slow machine it takes longer than one call may wait
        since = run["events"][-1]["seq"] if run["events"] else 0
        run = use("get_run", run_id=run["run_id"], since=since, wait_seconds=45)
    assert use("get_run", run_id=run["run_id"])["status"] == "completed"
    assert use("list_runs")["runs"]
    unasked = calling("answer_run", {"run_id": run["run_id"], "answer": "yes"})
    assert "asks nothing" in json.dumps(inspect(home, over_http(*server), *unasked, code=REFUSED))
    assert use("rate_text", text="Tea is grown in Assam.")["run_id"]
    assert use("cancel_run", run_id=run["run_id"])["run_id"] == run["run_id"]
