"""Claude Code, a real host, lists the tools, calls them, runs a team task in the background, answers its question."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests import npm
from tests.clients.claude_code import ClaudeCode
from tests.clients.journey import PROMPTS, TASK
from tests.clients.stub_model import Turn, Use, stub_model
from tests.clients.terminal import ENTER
from tests.server.doors import COMMAND, TOOLS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [npm.needs("@anthropic-ai/claude-code"), pytest.mark.timeout(900)]


def named(tool: str) -> str:
    """The tool's name as this host shows it to its model."""
    return f"mcp__atlas__{tool}"


def one_by_one(*turns: Turn) -> Callable[[str], Turn]:
    """These turns, whatever is said; then `done`."""
    left = list(turns)
    return lambda _: left.pop(0) if left else "done"


def of_type(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] == kind]


def results(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the tools gave, in turn."""
    content = [part for event in of_type(events, "user") for part in event["message"]["content"]]
    return [part for part in content if part["type"] == "tool_result"]


def test_without_a_terminal_it_lists_the_tools_and_calls_them_over_stdio(tmp_path: Path) -> None:
    turns = one_by_one(
        Use(named("list_agents")),
        Use(named("chat_with_agent"), {"agent": "librarian", "message": "Please remember: I am Ada."}),
        Use(named("chat_with_agent"), {"agent": "nobody", "message": "Hello."}),
        Use(named("run_team_task"), TASK),
        Use("ReadMcpResourceTool", {"server": "atlas", "uri": "atlas://agents/librarian/memory/human"}),
    )
    server = {"command": COMMAND[0], "args": [*COMMAND[1:], "serve"], "env": {"ATLAS_HOME": str(tmp_path / "home")}}
    with stub_model(turns) as model:
        events = ClaudeCode(tmp_path, model, server).tell("Go.")
        offered = model.offered()
    [begun] = [event for event in of_type(events, "system") if event["subtype"] == "init"]
    assert [(one["name"], one["status"]) for one in begun["mcp_servers"]] == [("atlas", "connected")]
    assert {tool for tool in begun["tools"] if tool.startswith("mcp__")} == {named(tool) for tool in TOOLS}
    assert {f"mcp__atlas__{name}" for name in PROMPTS} <= set(begun["slash_commands"])
    assert {named(tool) for tool in TOOLS} <= set(offered)
    assert offered[named("run_team_task")]["input_schema"]["properties"]["goal"]["description"]
    agents, chat, refused, task, block = results(events)
    assert "librarian" in [agent["name"] for agent in json.loads(agents["content"])["agents"]]
    assert json.loads(chat["content"])["memory_changes"]
    assert refused["is_error"]
    assert "librarian" in refused["content"], "what would be right is said"
    run = json.loads(task["content"])
    assert (run["status"], "Assam" in run["result"]["output"]) == ("completed", True)
    assert "Ada" in json.dumps(block["content"])


def test_in_a_terminal_a_team_task_goes_on_in_the_background_and_asks_its_question(
    tmp_path: Path, server: tuple[str, str]
) -> None:
    def turn(said: str) -> Turn:
        if "<task-notification>" in said:
            return "The task is over."
        if "moved to the background" in said:
            return "I wait for the task."
        return Use(named("run_team_task"), {**TASK, "approve_plan": True})

    address, key = server
    config = {"type": "http", "url": f"{address}/mcp", "headers": {"Authorization": f"Bearer {key}"}}
    with stub_model(turn) as model, ClaudeCode(tmp_path, model, config).in_terminal() as terminal:
        terminal.until("❯")
        terminal.type(f"/mcp{ENTER}")
        terminal.until(f"✔ atlas   {len(TOOLS)} tools")
        terminal.press("\x1b", until=lambda: "MCP servers" not in terminal.text)
        terminal.press("Where is tea grown?", until="❯ Where is tea grown?")
        terminal.press(ENTER, until=lambda: "moved to the background" in model.heard())
        terminal.until("requests your input")
        assert "The plan" in terminal.text
        assert "'approve' or 'reject'" in terminal.text
        terminal.press("approve", until="✔ Answer: approve")
        terminal.press(ENTER, until=lambda: "requests your input" not in terminal.text)  # to the button, and on it
        terminal.until("The task is over.")
        heard = model.heard()
    assert "<status>completed</status>" in heard
    assert "Assam" in heard[heard.index("<task-notification>") :], "the result comes with the notification"
