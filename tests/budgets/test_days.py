"""A caller's dollars of a day: in chats, groups and tasks, in several server processes, and told by the status."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from mcp.types import TextContent

from atlas_mcp.atlas import Atlas
from atlas_mcp.errors import BudgetSpent, ConfigurationError, ModelFailed, UnpricedModel
from atlas_mcp.model.budget import Budget
from atlas_mcp.model.caller import Caller
from atlas_mcp.server import create_server
from atlas_mcp.watch.estimate import ANSWER, AROUND
from tests.budgets.conftest import PRICE, Open, entered, set_price
from tests.main_job.hosts import Host, host
from tests.scripted_model import ScriptedModel
from tests.teamwork.house import TASK

pytestmark = pytest.mark.anyio
SECONDS = 200
TURN = (AROUND + ANSWER + 10) * PRICE / 1e6
"""What a turn with a short message is reserved for, a little high."""


async def chat(atlas: Atlas, caller: Caller | None = None, text: str = "Good day") -> Any:
    return await atlas.chat(caller or atlas.local_caller(), "librarian", text, conversation="new")


async def test_a_chat_beyond_the_day_s_dollars_is_refused_and_the_next_caller_s_is_not(
    opened: Open, model: ScriptedModel, home: Path
) -> None:
    with anyio.fail_after(SECONDS):
        async with opened(daily=TURN * 1.01) as atlas:
            assert (await chat(atlas)).usage.cost_usd
            with pytest.raises(BudgetSpent, match="Raise ATLAS_DAILY_USD and restart, or wait until 00:00 UTC"):
                await chat(atlas)
            told = (await atlas.status(atlas.local_caller())).spending
            assert (await chat(atlas, atlas.access.key_caller())).status == "completed"
    assert told is not None
    assert told.limit_usd == TURN * 1.01
    assert told.left_usd is not None
    assert told.left_usd < TURN
    assert told.usd + told.left_usd == pytest.approx(told.limit_usd)
    assert sum(t["usd"] for t in entered(home) if t["caller"].startswith("local:")) == pytest.approx(told.usd)


async def test_a_day_of_zero_dollars_spends_nothing_at_all(opened: Open, model: ScriptedModel, home: Path) -> None:
    with anyio.fail_after(SECONDS):
        async with opened(daily=0) as atlas:
            with pytest.raises(BudgetSpent, match=r"the day's limit of \$0\.00 allows no turn"):
                await chat(atlas)
            with pytest.raises(BudgetSpent, match="ATLAS_DAILY_USD"):
                await atlas.rate_text(atlas.local_caller(), "The lamp was lit at dusk.")
            run = await atlas.run_team_task(atlas.local_caller(), TASK)
            status = await atlas.status(atlas.local_caller())
    assert (run.status, model.calls, entered(home)) == ("failed", 0, [])
    assert "day's limit" in str(run.error)
    assert "ATLAS_DAILY_USD is 0: only models that cost nothing answer." in status.notes


async def test_a_day_cannot_be_limited_where_a_price_is_not_known(opened: Open, model: ScriptedModel) -> None:
    with anyio.fail_after(SECONDS):
        async with opened(daily=1, priced=False) as atlas:
            with pytest.raises(UnpricedModel, match="ATLAS_DAILY_USD"):
                await atlas.run_team_task(atlas.local_caller(), TASK)
            with pytest.raises(ConfigurationError, match="what openai:scripted-1 costs is not known"):
                await chat(atlas)
    assert model.calls == 0


async def test_a_group_is_ended_by_the_day_s_dollars_and_what_was_said_is_given(
    opened: Open, model: ScriptedModel
) -> None:
    agents = ["librarian", "content_writer", "quality_reviewer"]
    with anyio.fail_after(SECONDS):
        async with opened(daily=TURN * 1.2) as atlas:
            me = atlas.local_caller()
            group = {"name": "table", "description": "talks", "agents": agents, "manager": {"type": "round_robin"}}
            await atlas.groups.create_group(me, group)
            replies = [await atlas.groups.chat(me, "table", "Speak.", conversation="new")]
            while replies[-1].stopped is None:
                replies.append(await atlas.groups.chat(me, "table", "Speak.", conversation="new"))
            with pytest.raises(BudgetSpent, match="ATLAS_DAILY_USD"):
                await atlas.groups.chat(me, "table", "Speak.")
    last = replies[-1]
    assert last.stopped is not None
    assert last.stopped.pattern == "budget"
    assert "day's limit" in last.stopped.reason
    spoke = [m.speaker for m in last.messages if m.source == "agent"]
    assert 0 < len(spoke) < len(agents)


async def test_what_a_failed_turn_did_cost_is_counted(opened: Open, model: ScriptedModel, home: Path) -> None:
    model.script(
        [
            {"tool": "text_statistics", "args": {"text": "one two"}},
            {"status": 400, "message": "no more"},
        ]
    )
    with anyio.fail_after(SECONDS):
        async with opened(daily=1) as atlas:
            with pytest.raises(ModelFailed):
                await atlas.chat(atlas.local_caller(), "data_scientist", "count")
            [failed] = entered(home)
            model.script([{"status": 400, "message": "not at all"}])
            with pytest.raises(ModelFailed):
                await atlas.chat(atlas.local_caller(), "data_scientist", "count")
    assert model.calls == 3
    assert (failed["turns"], failed["tokens"] > 100) == (1, True)
    assert failed["usd"] == pytest.approx(failed["tokens"] * PRICE / 1e6)
    free = entered(home)[1]
    assert (free["turns"], free["tokens"], free["usd"]) == (0, 0, 0)


async def test_a_server_killed_in_a_turn_leaves_a_reservation_that_the_next_one_settles(
    model: ScriptedModel, home: Path
) -> None:
    set_price(home)
    model.hold()
    environment = {"ATLAS_DAILY_USD": "1", **_keys(model)}
    with anyio.fail_after(SECONDS):
        async with host(home, **environment) as killed:
            begun = await killed.call("chat_with_agent", agent="librarian", message="Good day", wait_seconds=0)
            await model.arrived(1)
            killed.kill()
        [left] = entered(home)
        assert (left["turns"], left["entries"]) == (1, 1)
        assert left["tokens"] >= AROUND + ANSWER
        model.release()
        async with host(home, **environment) as living:
            run = await _ended(living, begun["run_id"])
            status = await living.call("get_status")
    assert run["status"] == "completed", run["error"]
    [turn] = entered(home)
    assert turn["turns"] == 1
    assert turn["tokens"] == run["usage"]["input_tokens"] + run["usage"]["output_tokens"]
    assert status["spending"]["tokens"] == turn["tokens"]


async def test_two_servers_on_one_home_spend_together_no_more_than_the_day_has(
    model: ScriptedModel, home: Path
) -> None:
    """Every turn is held until all others were decided, so that whatever was let through is under way at once."""
    set_price(home)
    model.hold()
    allowed, asked = 3, 4
    environment = {"ATLAS_DAILY_USD": str(allowed * TURN), **_keys(model)}
    outcomes: list[str] = []

    async def one(server: Host) -> None:
        arguments = {"agent": "librarian", "message": "Good day", "conversation": "new", "wait_seconds": 40}
        result = await server.client.call_tool("chat_with_agent", arguments, read_timeout_seconds=SECONDS)
        text = "".join(p.text for p in result.content if isinstance(p, TextContent))
        outcomes.append("refused" if result.is_error and "day's limit" in text else text)
        if outcomes.count("refused") == 2 * asked - allowed:
            model.release()

    with anyio.fail_after(SECONDS):
        async with (
            host(home, "one", **environment) as first,
            host(home, "two", **environment) as second,
            anyio.create_task_group() as tasks,
        ):
            for server in (first, second) * asked:
                tasks.start_soon(one, server)
    assert outcomes.count("refused") == 2 * asked - allowed, outcomes
    assert model.calls == allowed
    assert sum(t["usd"] for t in entered(home)) <= allowed * TURN


async def test_a_client_sets_budgets_and_sees_them(opened: Open, model: ScriptedModel) -> None:
    async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
        result = await client.call_tool(tool, arguments)
        assert not result.is_error, result.content
        assert result.structured_content is not None
        return result.structured_content

    with anyio.fail_after(SECONDS):
        async with opened(daily=5) as atlas, Client(create_server(atlas, transport="stdio")) as client:
            refused = await call(client, "run_team_task", goal="Do it.", budget_usd=0, budget_tokens=1000)
            model.hold()
            run = await call(client, "run_team_task", goal="Do it.", budget_usd=0.5, wait_seconds=0)
            await model.arrived(1)
            spending = (await call(client, "get_status"))["spending"]
            await call(client, "cancel_run", run_id=run["run_id"])
            wrong = await client.call_tool("run_team_task", {"goal": "Do it.", "budget_usd": -1})
    assert refused["status"] == "failed"
    assert "budget_usd" in refused["error"]
    assert run["budget"] == Budget(usd=0.5).model_dump()
    [open_run] = spending["runs"]
    assert open_run["run_id"] == run["run_id"]
    assert open_run["turns"] == 1
    assert open_run["left"]["usd"] == pytest.approx(0.5 - open_run["usd"])
    assert spending["left_usd"] == pytest.approx(5 - spending["usd"])
    assert wrong.is_error


def _keys(model: ScriptedModel) -> dict[str, str]:
    return {"ATLAS_MODEL": "openai:scripted-1", "OPENAI_API_KEY": "k", "OPENAI_BASE_URL": model.url}


async def _ended(server: Host, run_id: str) -> dict[str, Any]:
    run, since = await server.call("get_run", run_id=run_id), 0
    while run["status"] in {"queued", "working"}:
        since = max([since, *(event["seq"] for event in run["events"])])  # there may be no news for a while
        run = await server.call("get_run", run_id=run_id, since=since, wait_seconds=30)
    return run
