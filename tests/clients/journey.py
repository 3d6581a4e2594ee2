"""The journey that clients which are not ours make: what each is told to do, and what each must have seen.

The programs that make it stand beside this file. Each is started with what to do as JSON and prints what it saw:
listing, a call that is refused, a team task with progress and a question to its person, resources, prompts,
completion, and news of a run (`whole`); and a call that is given up (`cancelled`), against agents that are slow.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from tests.server.doors import COMMAND, TOOLS

TEXT = "Tea is grown in Assam. It came to Europe in 1610. It was dear at first."
TASK: dict[str, Any] = {"goal": "Where is tea grown?", "materials": [{"name": "tea.txt", "text": TEXT}]}
PROMPTS = {"delegate", "research_brief", "review_text", "what_do_you_remember"}
SLOW = {"ATLAS_OFFLINE_DELAY": "60"}
"""Agents that are still at work when a call is given up."""


@dataclass(frozen=True)
class Door:
    """How a client is to come in: `stdio`, or `http` or `sse` with the address and the key."""

    door: str
    address: str = ""
    key: str = ""


def travel(program: list[str], door: Door, journey: str, **more: Any) -> dict[str, Any]:
    """Make the journey by that program; what it saw."""
    asked = {"journey": journey, "task": TASK, "prompt": {"goal": "Find tea."}, "command": [*COMMAND, "serve"]}
    command = [*program, json.dumps({**asked, **asdict(door), **more})]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-6000:]
    return json.loads(done.stdout)


def check_whole(saw: dict[str, Any]) -> None:
    """What a client must have seen on the whole journey."""
    assert saw["version"]["title"] == "ATLAS"
    assert "run_team_task" in saw["instructions"]
    assert set(saw["tools"]) == TOOLS
    assert {agent["name"] for agent in saw["agents"]["agents"]} >= {"librarian", "global_supervisor"}
    assert saw["refused"]["isError"]
    assert "librarian" in saw["refused"]["content"][0]["text"], "what would be right is said"
    # Not "Completed": it comes in one breath with the answer, and some SDKs drop what they read after an answer.
    assert {"Asked for", "Begun"} <= {news["message"].partition(";")[0] for news in saw["progress"]}
    numbers = [news["progress"] for news in saw["progress"]]  # a call that is made anew counts anew
    assert all(number in {1, before + 1} for before, number in pairwise([0, *numbers]))
    structured = saw["result"]["structuredContent"]
    assert json.loads(saw["result"]["content"][0]["text"]) == structured
    assert len(saw["questions"]) == 1
    assert "The plan" in saw["questions"][0]["message"]
    assert saw["run"]["run_id"] == structured["run_id"]
    assert "Assam" in saw["run"]["result"]["output"]
    assert saw["read"]["result"] == saw["run"]["result"]
    assert {"atlas://runs/{run_id}", "atlas://agents/{agent}"} <= set(saw["templates"])
    assert set(saw["prompts"]) == PROMPTS
    assert "Find tea." in saw["prompt"]["messages"][0]["content"]["text"]
    assert saw["completed"]["completion"]["values"] == ["librarian"]
    assert set(saw["heard"]["heard"]) == {saw["heard"]["uri"]}
