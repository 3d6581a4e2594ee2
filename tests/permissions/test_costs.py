"""What a service costs is entered before it is called, counts for the turn and its limits, and is shown as its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest
from mcp.client import Client

from atlas_mcp.atlas import open_atlas
from atlas_mcp.server import create_server
from atlas_mcp.settings import load_settings
from tests.budgets.conftest import set_price
from tests.connectors import test_tavily
from tests.connectors.loopback import loopback
from tests.permissions.conftest import chat, events, until
from tests.server.doors import call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.connectors.loopback import Loopback
    from tests.scripted_model import ScriptedModel

pytestmark = pytest.mark.anyio
LOOK = "Look it up."
SEARCH = {"tool": "search_web", "args": {"query": "lighthouses"}}
CREDIT = 1.0


@pytest.fixture
async def tavily(scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch, home: Path) -> AsyncIterator[Loopback]:
    """A home with a priced model whose agents search by a service that costs a dollar a call."""
    set_price(home)
    scripted_model.on(LOOK, [SEARCH, "I looked."])
    async with loopback() as server:
        server.answers(test_tavily.tavily_says)
        settings = {
            "ATLAS_MODEL": "openai:scripted-1",
            "OPENAI_API_KEY": "k",
            "OPENAI_BASE_URL": scripted_model.url,
            "TAVILY_API_KEY": test_tavily.KEY,
            "ATLAS_TAVILY_BASE_URL": server.url,
            "ATLAS_TAVILY_CREDIT_USD": str(CREDIT),
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield server


async def by_model() -> dict[str, dict[str, Any]]:
    command = [sys.executable, "-m", "atlas_mcp", "costs", "--by", "model", "--json"]
    done = await anyio.to_thread.run_sync(lambda: subprocess.run(command, capture_output=True, text=True, check=True))
    return {line["name"]: line for line in json.loads(done.stdout)["lines"]}


async def test_a_paid_call_is_part_of_what_its_turn_cost_and_a_line_of_its_own(
    tavily: Loopback, scripted_model: ScriptedModel
) -> None:
    async with open_atlas(load_settings()) as atlas, Client(create_server(atlas, transport="stdio")) as client:
        free = await chat(client, "Good morning.", "web_researcher")
        paid = await chat(client, LOOK, "web_researcher")
        assert paid["usage"]["turns"] == 1
        assert paid["usage"]["cost_usd"] == pytest.approx(CREDIT, abs=0.5)
        assert free["usage"]["cost_usd"] < 0.5
        spent = (await call(client, "get_status"))["spending"]
    lines = await by_model()
    assert (lines["tool:tavily"]["turns"], lines["tool:tavily"]["usd"]) == (0, CREDIT)
    of_model = lines["openai/scripted-1"]
    assert of_model["turns"] == 2
    assert of_model["usd"] + CREDIT == pytest.approx(spent["usd"])
    assert free["usage"]["cost_usd"] + paid["usage"]["cost_usd"] == pytest.approx(spent["usd"])
    assert len(tavily.calls) == 1


async def test_a_call_that_the_days_limit_has_no_room_for_is_not_made_and_the_agent_goes_on(
    tavily: Loopback, scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATLAS_DAILY_USD", "0.9")
    async with open_atlas(load_settings()) as atlas, Client(create_server(atlas, transport="stdio")) as client:
        told = await chat(client, LOOK, "web_researcher")
        assert told["reply"] == "I looked."
        assert told["usage"]["cost_usd"] < CREDIT
    assert tavily.calls == []
    assert "the day's limit of $0.90 has no room for another call" in json.dumps(scripted_model.last)
    assert "tool:tavily" not in await by_model()


async def test_what_a_service_costs_can_be_made_a_matter_of_approval(
    tavily: Loopback, scripted_model: ScriptedModel, home: Path
) -> None:
    with (home / "settings.toml").open("a") as file:
        file.write('\n[permissions.tools."search_*"]\nmarks = ["spend"]\n')
    async with open_atlas(load_settings()) as atlas, Client(create_server(atlas, transport="stdio")) as client:
        told = await chat(client, LOOK, "web_researcher")
        run = await until(client, told["run_id"], "awaiting_answer")
        assert "which spends" in run["question"]["text"]
        assert tavily.calls == []
        await call(client, "answer_run", run_id=run["run_id"], answer="approve")
        done = await until(client, run["run_id"], "completed")
    assert len(tavily.calls) == 1
    assert done["usage"]["turns"] == 2
    assert done["usage"]["cost_usd"] == pytest.approx(CREDIT, abs=0.5), "what was paid between the turns counts too"
    [paid] = events(done, "tool_paid")
    assert (paid["data"]["service"], paid["data"]["usd"]) == ("tavily", CREDIT)
