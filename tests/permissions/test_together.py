"""Calls are held in team tasks and groups as in chats, also when several agents ask at once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.groups.conftest import agent_of, speaks
from tests.permissions.conftest import NOTE, SECONDS, events, until
from tests.scripted_model import last_user_text
from tests.server.doors import call
from tests.teamwork.house import QUOTE, TEXT, good_answer

if TYPE_CHECKING:
    from mcp.client import Client

    from tests.permissions.board import Board
    from tests.permissions.conftest import Opened
    from tests.scripted_model import Request, ScriptedModel

pytestmark = pytest.mark.anyio
WORKERS = ["data_scientist", "financial_analyst", "strategist"]


def at_work(request: Request) -> dict[str, Any]:
    """A team at work whose workers all write on the board before they answer; their calls come at once."""
    prompt = last_user_text(request)
    if "Go on from there" in prompt:
        evidence = [{"claim": "the lamp was lit at dusk", "source": "log.txt", "quote": QUOTE}]
        return {"json": {"text": "The lamp was lit at dusk.", "evidence": evidence}}
    given = good_answer(prompt)
    if "parts" in given:
        return {"json": {"parts": [{"id": "sense", "team": "analysis", "task": "say what that means"}]}}
    if "evidence" in given and agent_of(request) in WORKERS and request["messages"][-1]["role"] == "user":
        return {"tool": "post_note", "args": {"text": f"by {agent_of(request)}"}, "hold": True}
    return {"json": given}


def asking(model: ScriptedModel) -> int:
    return len({agent_of(r) for r in [*model.requests] if agent_of(r) in WORKERS})


async def test_agents_who_ask_at_once_get_a_question_each_and_none_is_lost(
    client: Client, given: Board, scripted_model: ScriptedModel
) -> None:
    scripted_model.on(lambda _: True, {"call": at_work})
    task = {"goal": "How was the light kept?", "materials": [{"name": "log.txt", "text": TEXT}]}
    run = await call(client, "run_team_task", **task, wait_seconds=0)
    seen = 0
    with anyio.fail_after(SECONDS):
        while asking(scripted_model) < len(WORKERS):
            told = await call(client, "get_run", run_id=run["run_id"], since=seen, wait_seconds=1)
            assert told["status"] in {"queued", "working"}, told
            seen = told["events"][-1]["seq"] if told["events"] else seen
    scripted_model.release()
    run = await until(client, run["run_id"], "awaiting_answer")
    assert len(events(run, "tool_held")) == len(WORKERS)
    assert given.notes == []
    asked: dict[str, str] = {}
    for answer in ("approve", "reject", "approve"):
        run = await until(client, run["run_id"], "awaiting_answer")
        asked[run["question"]["text"].split(" wants")[0]] = answer
        await call(client, "answer_run", run_id=run["run_id"], answer=answer)
    assert sorted(asked) == WORKERS
    done = await until(client, run["run_id"], "completed")
    assert Counter(given.notes) == Counter(f"by {agent}" for agent, answer in asked.items() if answer == "approve")
    told = [last_user_text(r) for r in scripted_model.requests if "Go on from there" in last_user_text(r)]
    assert len(told) == len(WORKERS), "each of them went on once"
    assert len(events(done, "question_asked")) == len(WORKERS)


async def test_in_a_group_the_talk_waits_for_the_answer_and_goes_on(
    opened: Opened, given: Board, scripted_model: ScriptedModel
) -> None:
    speaks(scripted_model, "strategist", NOTE, "It hangs there.")
    speaks(scripted_model, "librarian", "Then all know.")
    async with opened(toolset="admin") as client:
        manager = {"type": "round_robin", "max_turns": 2}
        agents = ["strategist", "librarian"]
        await call(client, "create_group", name="pair", description="Two.", agents=agents, manager=manager)
        told = await call(client, "chat_with_group", group="pair", message="Tell all of lunch.")
        assert (told["status"], told["messages"]) == ("working", [])
        await until(client, told["run_id"], "awaiting_answer")
        assert given.notes == []
        await call(client, "answer_run", run_id=told["run_id"], answer="approve")
        run = await until(client, told["run_id"], "completed")
    assert given.notes == ["lunch at noon"]
    assert "It hangs there." in run["reply"]
    assert run["usage"]["turns"] == 3


async def test_a_guest_of_a_debate_has_the_smallest_pool(given: Board) -> None:
    from atlas_mcp.constellation.toolbox import Toolbox
    from atlas_mcp.model.agent import AgentSpec
    from atlas_mcp.settings import load_settings

    guest = AgentSpec(name="guest", role="guest", description="d", persona="p", pools=("web", "servers", "own"))
    session = Toolbox(load_settings().tools).session(guest, None)
    assert list(session.specs) == []
