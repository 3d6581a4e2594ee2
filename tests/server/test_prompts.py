"""Prompts: what a person picks so that the host's model uses the tools well, over every door and in each era."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from mcp import MCPError
from mcp.client import Client
from mcp.types import INVALID_PARAMS, TextContent

from atlas_mcp.atlas import refusing
from atlas_mcp.errors import ConfigurationError
from atlas_mcp.server import create_server
from atlas_mcp.server.toolsets import tools_of
from tests.server.doors import ERAS, MODERN, TOOLS, http_server, over_http, over_stdio

if TYPE_CHECKING:
    from mcp.types import GetPromptResult

    from atlas_mcp.atlas import Atlas

pytestmark = pytest.mark.anyio

ARGUMENTS = {
    "delegate": {"goal": True, "to": False},
    "research_brief": {"topic": True, "audience": False, "questions": False},
    "review_text": {"text": True, "criteria": False},
    "what_do_you_remember": {"about": False, "agent": False, "label": False},
}
"""The arguments of each prompt, and whether they must be given."""


def text_of(result: GetPromptResult) -> str:
    [message] = result.messages
    assert message.role == "user"
    assert isinstance(message.content, TextContent)
    return message.content.text


async def refused(client: Client, name: str, **arguments: str) -> str:
    with pytest.raises(MCPError) as error:
        await client.get_prompt(name, arguments)
    assert error.value.code == INVALID_PARAMS
    return error.value.message


async def check_listing(client: Client) -> None:
    prompts = (await client.list_prompts()).prompts
    found = {p.name: {one.name: bool(one.required) for one in p.arguments or ()} for p in prompts}
    assert found == ARGUMENTS
    assert all(p.title and p.description and all(one.description for one in p.arguments or ()) for p in prompts)


async def test_prompts_and_their_arguments_are_those_promised(client_of_each_era: Client) -> None:
    await check_listing(client_of_each_era)


@pytest.mark.parametrize("era", list(ERAS))
async def test_prompts_are_there_over_stdio_and_http(era: str) -> None:
    async with over_stdio(era) as client:
        await check_listing(client)
        assert "run_team_task" in text_of(await client.get_prompt("delegate", {"goal": "Find out where tea is grown."}))
    with http_server() as (address, key, _):
        async with over_http(address, key, "/mcp", era) as client:
            await check_listing(client)
            assert "librarian" in text_of(await client.get_prompt("delegate", {"goal": "Tidy.", "to": "librarian"}))


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        ({"goal": "Find out."}, "Call run_team_task with the goal and wait_seconds=45."),
        ({"goal": "Find out.", "to": ""}, "Call run_team_task with the goal and wait_seconds=45."),
        ({"goal": "Find out.", "to": "research"}, 'Call run_team_task with the goal, teams=["research"] and wait'),
        ({"goal": "Find out.", "to": "librarian"}, 'Call chat_with_agent with agent="librarian".'),
        ({"goal": "{Find} out."}, "<work>\n{Find} out.\n</work>"),
    ],
)
async def test_work_goes_to_whom_the_person_names(client: Client, arguments: dict[str, str], call: str) -> None:
    assert call in text_of(await client.get_prompt("delegate", arguments))


async def test_work_goes_to_a_group_of_the_callers_own(atlas: Atlas) -> None:
    server = create_server(atlas, transport="stdio", toolset="admin")
    async with Client(server) as client, Client(create_server(atlas, transport="http")) as other:
        desk = {"name": "desk", "description": "Both.", "agents": ["librarian", "web_researcher"]}
        await client.call_tool("create_group", desk)
        text = text_of(await client.get_prompt("delegate", {"goal": "Decide.", "to": "desk"}))
        assert 'Call chat_with_group with group="desk".' in text
        assert "desk" not in (await refused(other, "delegate", goal="Decide.", to="desk")).partition("There are")[2]


async def test_a_review_passes_the_text_and_each_criterion(client: Client) -> None:
    given = {"text": "Tea is grown in Assam.", "criteria": "clear, true ,,short"}
    text = text_of(await client.get_prompt("review_text", given))
    assert "<text>\nTea is grown in Assam.\n</text>" in text
    assert 'criteria=["clear", "true", "short"]' in text


async def test_a_brief_says_who_reads_it_and_what_it_answers(client: Client) -> None:
    text = text_of(await client.get_prompt("research_brief", {"topic": "Tea", "questions": "Where is it grown?"}))
    assert "<topic>\nTea\n</topic>\n<questions>\nWhere is it grown?\n</questions>" in text
    assert "<audience>" not in text


async def test_memory_is_asked_for_by_subject_by_agent_or_by_both(client: Client) -> None:
    both = text_of(await client.get_prompt("what_do_you_remember", {"about": "tea", "agent": "librarian"}))
    assert 'Call get_agent_memory with agent="librarian".' in both
    assert 'and agent="librarian":\n\n<query>\ntea\n</query>' in both
    subject = text_of(await client.get_prompt("what_do_you_remember", {"about": "tea"}))
    assert "get_agent_memory" not in subject
    block = text_of(await client.get_prompt("what_do_you_remember", {"agent": "librarian", "label": "human"}))
    assert 'agent="librarian", label="human".' in block
    assert "search_memory" not in block


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("delegate", {}, "goal: this argument is missing. delegate takes: goal, to."),
        ("delegate", {"goal": "  "}, "goal: this argument is missing."),
        ("delegate", {"goal": "x", "too": "y"}, "too: there is no such argument. delegate takes: goal, to."),
        ("delegate", {"goal": "x", "to": "libarian"}, "Did you mean 'librarian'?"),
        ("review_text", {"text": "x" * 100_001}, "text: 100,001 characters is too long: the limit is 100,000."),
        ("what_do_you_remember", {}, "about: it is missing. Name a subject, an agent, or both."),
        ("what_do_you_remember", {"about": "x", "label": "human"}, "label: a label needs an agent."),
        ("what_do_you_remember", {"agent": "nobody"}, "there is no agent 'nobody'."),
        ("what_do_you_remember", {"agent": "librarian", "label": "humane"}, "Did you mean 'human'?"),
        ("no_such_prompt", {}, "there is no prompt 'no_such_prompt'. There are: delegate, research_brief"),
    ],
)
async def test_what_does_not_fit_is_refused_in_words(
    client_of_each_era: Client, name: str, arguments: dict[str, str], why: str
) -> None:
    assert why in await refused(client_of_each_era, name, **arguments)


async def test_prompts_speak_of_tools_that_are_there(client: Client, atlas: Atlas) -> None:
    known = {tool.name for tool in tools_of(atlas, "stdio", "all")}
    fields = {"run_id", "wait_seconds", "memory_changes"}
    for name, arguments in ARGUMENTS.items():
        given = {one: "librarian" if one == "agent" else "x" for one in arguments if one not in {"to", "label"}}
        text = text_of(await client.get_prompt(name, given))
        named = {*re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", text)}
        assert named - fields <= known
        assert named & TOOLS


async def test_a_prompt_is_offered_only_with_the_tools_that_it_needs(atlas: Atlas) -> None:
    offers = {
        ("list_agents",): set[str](),
        ("rate_text",): {"review_text"},
        ("run_team_task", "get_run", "answer_run"): {"research_brief"},
        ("search_memory", "get_agent_memory", "rate_text"): {"review_text", "what_do_you_remember"},
    }
    for tools, prompts in offers.items():
        async with Client(create_server(atlas, transport="stdio", toolset=tools)) as client:
            assert {one.name for one in (await client.list_prompts()).prompts} == prompts


async def test_a_server_that_cannot_open_its_home_says_why_when_a_prompt_needs_it() -> None:
    broken = refusing(ConfigurationError("The roster is broken.", next_step="Mend roster.toml."))
    async with Client(create_server(broken, transport="stdio"), mode=ERAS[MODERN]) as client:
        assert "Mend roster.toml." in await refused(client, "delegate", goal="Find out.")
        assert "rate_text" in text_of(await client.get_prompt("review_text", {"text": "Tea."}))
