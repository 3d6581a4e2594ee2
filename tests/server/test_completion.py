"""Completion: the names that a person may mean, of their own constellation alone, over every door and in each era."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from mcp import MCPError
from mcp.client import Client
from mcp.types import INVALID_PARAMS, PromptReference, ResourceTemplateReference

from atlas_mcp.atlas import refusing
from atlas_mcp.errors import ConfigurationError
from atlas_mcp.server import create_server
from tests.server.doors import ERAS, call, http_server, over_http, over_stdio

if TYPE_CHECKING:
    from atlas_mcp.atlas import Atlas

pytestmark = pytest.mark.anyio

AGENTS, AGENT, BLOCK = (
    "atlas://agents{?team}",
    "atlas://agents/{agent}",
    "atlas://agents/{agent}/memory/{label}",
)
RUN, RESULT = "atlas://runs/{run_id}", "atlas://runs/{run_id}/result"
TEAMS = ["research", "analysis", "writing", "rating"]


async def complete(
    client: Client, where: str, argument: str, typed: str, **chosen: str
) -> tuple[list[str], int | None, bool | None]:
    """The values, how many there are in all, and whether there are more than those."""
    template = "://" in where
    ref = (
        ResourceTemplateReference(uri=where, type="ref/resource")
        if template
        else PromptReference(name=where, type="ref/prompt")
    )
    given = (
        await client.complete(ref, {"name": argument, "value": typed}, context_arguments=chosen or None)
    ).completion
    return given.values, given.total, given.has_more


def whole(*values: str) -> tuple[list[str], int, bool]:
    return [*values], len(values), False


async def check_names(client: Client) -> None:
    assert await complete(client, AGENT, "agent", "libr") == whole("librarian")
    assert await complete(client, AGENTS, "team", "") == whole(*TEAMS)
    assert await complete(client, BLOCK, "label", "hum", agent="librarian") == whole("human")


async def test_names_are_completed_in_templates_and_prompts(client_of_each_era: Client) -> None:
    client = client_of_each_era
    await check_names(client)
    assert await complete(client, BLOCK, "agent", "web_") == whole("web_researcher")
    assert await complete(client, "what_do_you_remember", "agent", "web_") == whole("web_researcher")
    assert await complete(client, "what_do_you_remember", "label", "TEAM_N") == whole("team_notes")
    assert await complete(client, "delegate", "to", "writ") == whole("writing", "writing_supervisor", "content_writer")


@pytest.mark.parametrize("era", list(ERAS))
async def test_names_are_completed_over_stdio_and_http(era: str) -> None:
    async with over_stdio(era) as client:
        await check_names(client)
    with http_server() as (address, key, _):
        async with over_http(address, key, "/mcp", era) as client:
            await check_names(client)


async def test_names_that_begin_so_come_before_those_that_hold_it(client: Client) -> None:
    values, _, _ = await complete(client, "delegate", "to", "research")
    assert values[:2] == ["research", "research_supervisor"]
    assert {"web_researcher", "document_researcher"} <= {*values[2:]}


async def test_groups_are_completed_and_labels_are_those_of_the_agent_chosen(atlas: Atlas) -> None:
    async with Client(create_server(atlas, transport="stdio", toolset="admin")) as client:
        await call(client, "create_group", name="desk", description="Both.", agents=["librarian", "web_researcher"])
        assert await complete(client, "delegate", "to", "des") == whole("desk")
        assert await complete(client, BLOCK, "label", "desk", agent="librarian") == whole("desk_notes")
        assert await complete(client, BLOCK, "label", "desk", agent="content_writer") == whole()
        assert await complete(client, BLOCK, "label", "desk", agent="nobody") == whole()
        assert await complete(client, BLOCK, "label", "desk") == whole("desk_notes")


async def test_runs_are_completed_by_their_id_and_by_their_goal(client: Client) -> None:
    tea = (await call(client, "run_team_task", goal="Where is tea grown?", wait_seconds=0))["run_id"]
    salt = (await call(client, "run_team_task", goal="How is salt 100% pure?", wait_seconds=0))["run_id"]
    assert await complete(client, RUN, "run_id", "") == whole(salt, tea)
    assert await complete(client, RESULT, "run_id", tea[:-2]) == whole(tea)
    assert await complete(client, RUN, "run_id", "TEA") == whole(tea)
    assert await complete(client, RUN, "run_id", "100%") == whole(salt)
    assert await complete(client, RUN, "run_id", "%") == whole(salt)
    for run_id in (tea, salt):
        await call(client, "cancel_run", run_id=run_id)


async def test_no_more_than_a_hundred_are_given_and_the_rest_is_counted(atlas: Atlas) -> None:
    async with Client(create_server(atlas, transport="stdio", toolset="admin")) as client:
        for number in range(100):
            given = {"name": f"night_{number}", "description": "Edits.", "persona": "I edit."}
            await call(client, "create_agent", **given)
        assert await complete(client, AGENT, "agent", "night_9") == whole(
            "night_9", *(f"night_9{n}" for n in range(10))
        )
        values, total, more = await complete(client, AGENT, "agent", "night_")
        assert (len(values), total, more) == (100, 100, False)
        everybody = len((await call(client, "list_agents"))["agents"])
        values, total, more = await complete(client, AGENT, "agent", "")
        assert (len(values), total, more) == (100, everybody, True)
        assert everybody > 100


async def test_nothing_of_anothers_is_completed(atlas: Atlas) -> None:
    mine = create_server(atlas, transport="stdio", toolset="all")
    async with Client(mine) as client, Client(create_server(atlas, transport="http")) as other:
        await call(client, "create_agent", name="night_editor", description="Edits.", persona="I edit.")
        await call(client, "create_group", name="night_desk", description="One.", agents=["night_editor"])
        run = await call(client, "run_team_task", goal="Nightly tea.", wait_seconds=0)
        asked: list[tuple[str, str, str, dict[str, Any]]] = [
            (AGENT, "agent", "night", {}),
            ("delegate", "to", "night", {}),
            (BLOCK, "label", "night", {"agent": "night_editor"}),
            (RUN, "run_id", run["run_id"], {}),
            (RUN, "run_id", "Nightly", {}),
        ]
        for where, argument, typed, chosen in asked:
            assert (await complete(client, where, argument, typed, **chosen))[1], argument
            assert await complete(other, where, argument, typed, **chosen) == whole()
        await call(client, "cancel_run", run_id=run["run_id"])


async def test_an_argument_that_nothing_is_known_of_has_no_values(client_of_each_era: Client) -> None:
    assert await complete(client_of_each_era, "delegate", "goal", "Find") == whole()
    assert await complete(client_of_each_era, "atlas://graph/{entity}", "entity", "A") == whole()


@pytest.mark.parametrize("where", ["no_such_prompt", "atlas://nothing/{agent}"])
async def test_what_is_not_there_cannot_be_completed(client_of_each_era: Client, where: str) -> None:
    with pytest.raises(MCPError) as refused:
        await complete(client_of_each_era, where, "agent", "l")
    assert refused.value.code == INVALID_PARAMS
    assert where in refused.value.message


async def test_a_broken_home_gives_no_values_and_claims_no_number(caplog: pytest.LogCaptureFixture) -> None:
    broken = refusing(ConfigurationError("The roster is broken.", next_step="Mend roster.toml."))
    async with Client(create_server(broken, transport="stdio")) as client:
        assert await complete(client, AGENT, "agent", "l") == ([], None, None)
    assert "Mend roster.toml." in caplog.text
