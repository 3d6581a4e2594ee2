"""What clients are promised: names, arguments, annotations, size."""

from __future__ import annotations

import json
import re
import subprocess
from base64 import b64decode
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from mcp.client import Client

from atlas_mcp.server import create_server
from atlas_mcp.server.schemas import input_schema, output_schema
from atlas_mcp.server.table import tool_table
from atlas_mcp.server.toolsets import core_tools, tools_of
from tests.server.doors import COMMAND, ERAS, MODERN, TOOLS, http_server, over_http, over_stdio

if TYPE_CHECKING:
    from mcp.types import Tool

    from atlas_mcp.atlas import Atlas

pytestmark = pytest.mark.anyio

ARGUMENTS = {
    "list_agents": ["team"],
    "chat_with_agent": ["agent", "message", "conversation", "wait_seconds"],
    "chat_with_group": ["group", "message", "conversation", "wait_seconds"],
    "run_team_task": [
        *("goal", "materials", "teams", "criteria", "project", "max_rounds", "mode"),
        *("budget_usd", "budget_tokens", "approve_plan", "wait_seconds"),
    ],
    "get_run": ["run_id", "since", "wait_seconds"],
    "answer_run": ["run_id", "answer"],
    "list_runs": ["status", "limit", "cursor"],
    "cancel_run": ["run_id"],
    "get_agent_memory": ["agent", "label", "history"],
    "update_agent_memory": ["agent", "label", "value", "append", "replace", "expected_revision"],
    "undo_memory": ["agent", "label", "revision", "id", "run_id"],
    "forget": ["id", "agent", "label", "run_id", "confirm"],
    "search_memory": ["query", "agent", "kinds", "project", "limit", "since", "until", "min_trust"],
    "share_knowledge": ["name", "text", "path", "project"],
    "rate_text": ["text", "criteria", "wait_seconds"],
    "give_feedback": ["good", "run_id", "trace_id", "turn_id", "comment"],
    "get_status": [],
}
READ_ONLY = {"list_agents", "get_run", "list_runs", "get_agent_memory", "search_memory", "get_status"}
_TOKENS = re.compile(r"[A-Za-z]+|\d|[^\sA-Za-z\d]|\n+| {2,}")


def tokens(text: str) -> float:
    """About how many tokens a model sees: words by length, digits and signs by kind."""
    return sum(_weight(match.group()) for match in _TOKENS.finditer(text))


def _weight(part: str) -> float:
    if part.isalpha():
        return 1 if len(part) <= 6 else len(part) / 5
    return 0.5 if part.isdigit() else 0.75


def as_sent(tool: Tool) -> str:
    return tool.model_dump_json(by_alias=True, exclude_none=True)


async def test_the_tools_and_their_arguments_are_those_promised(client: Client) -> None:
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == TOOLS
    assert {name: list(tool.input_schema["properties"]) for name, tool in tools.items()} == ARGUMENTS


async def test_every_tool_is_described_and_annotated(client: Client) -> None:
    for tool in (await client.list_tools()).tools:
        assert tool.title
        assert tool.description
        assert tool.output_schema is not None
        assert all("description" in one for one in tool.input_schema["properties"].values()), tool.name
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint == (tool.name in READ_ONLY)
        for hint in (tool.annotations.destructive_hint, tool.annotations.idempotent_hint):
            assert (hint is None) == (tool.name in READ_ONLY)  # of a tool that only reads they say nothing
        assert tool.annotations.open_world_hint is not None


async def test_the_core_set_stays_small_in_a_models_context(client: Client) -> None:
    tools = (await client.list_tools()).tools
    assert sum(tokens(as_sent(tool)) for tool in tools) < 6_000
    assert sum(len(as_sent(tool)) for tool in tools) / 4 < 6_000


async def test_schemas_carry_no_generated_titles(client: Client) -> None:
    for tool in (await client.list_tools()).tools:
        assert '"title":' not in json.dumps([tool.input_schema, tool.output_schema]), tool.name


async def test_unknown_arguments_are_refused_by_the_schema_too(client: Client) -> None:
    assert all(tool.input_schema["additionalProperties"] is False for tool in (await client.list_tools()).tools)


async def test_the_server_says_who_it_is_and_how_to_use_it(client_of_each_era: Client) -> None:
    client = client_of_each_era
    assert client.server_info is not None
    assert client.server_info.name == "atlas"
    assert client.server_info.icons
    [icon] = client.server_info.icons
    assert ET.fromstring(b64decode(icon.src.removeprefix("data:image/svg+xml;base64,"))).tag.endswith("svg")
    assert client.instructions is not None
    assert all(name in client.instructions for name in ("list_agents", "run_team_task", "get_run", "get_status"))
    assert tokens(client.instructions) < 300


async def test_only_who_connects_is_told_more_of_the_server_than_its_name(client: Client) -> None:
    result = await client.call_tool("list_agents", {})
    assert result.meta is not None
    assert result.meta["io.modelcontextprotocol/serverInfo"].keys() == {"name", "version"}


async def test_listings_may_be_kept_for_minutes_and_by_nobody_else(client: Client) -> None:
    listings = (
        await client.list_tools(),
        await client.list_prompts(),
        await client.list_resources(),
        await client.list_resource_templates(),
    )
    assert {(one.ttl_ms, one.cache_scope) for one in listings} == {(300_000, "private")}
    assert not (await client.read_resource("atlas://agents")).ttl_ms


CHOSEN = ("get_run", "list_agents", "remember")


async def check_chosen(client: Client) -> None:
    assert {tool.name for tool in (await client.list_tools()).tools} == {*CHOSEN}
    assert (await client.list_prompts()).prompts == []
    refused = await client.call_tool("get_status", {})
    assert refused.is_error


@pytest.mark.parametrize("era", list(ERAS))
async def test_exactly_the_tools_that_are_named_are_offered(era: str) -> None:
    named = ("--tools", ", ".join(CHOSEN))
    async with over_stdio(era, *named) as client:
        await check_chosen(client)
    with http_server(*named) as (address, key, _):
        async with over_http(address, key, "/mcp", era) as client:
            await check_chosen(client)


async def test_instructions_speak_only_of_tools_that_are_offered(atlas: Atlas) -> None:
    known = {tool.name for tool in tools_of(atlas, "stdio", "all")}
    for offer in ("core", "all", CHOSEN, ("run_team_task",)):
        offered = {tool.name for tool in tools_of(atlas, "stdio", offer)}
        async with Client(create_server(atlas, transport="stdio", toolset=offer)) as client:
            assert client.instructions is not None
            assert {*re.findall(r"[a-z]+(?:_[a-z]+)+", client.instructions)} & known <= offered


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--tools", "list_agent,get_run"], "there is no tool 'list_agent'. Did you mean 'list_agents'? There are: "),
        (["--tools", " ,"], "no tool is named. There are: list_agents, chat_with_agent,"),
        (["--tools", "get_run", "--toolset", "all"], "--tools: it was given with --toolset. Give one of the two."),
        (["--http", "--port", "0", "--tools", "get_runs,nope"], "there is no tool 'get_runs'. Did you mean 'get_run'?"),
    ],
)
def test_a_tool_that_there_is_not_is_refused_with_those_that_there_are(options: list[str], why: str) -> None:
    done = subprocess.run(
        [*COMMAND, "serve", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr
    assert len(done.stderr.splitlines()) == 1


async def test_the_tool_table_names_every_tool_and_argument(atlas: Atlas) -> None:
    table = tool_table(core_tools(atlas, "stdio"))
    for name, arguments in ARGUMENTS.items():
        row = next(line for line in table.splitlines() if line.startswith(f"| `{name}` |"))
        assert all(re.search(rf"`{argument}\b", row) for argument in arguments)


async def test_what_is_listed_over_a_process_is_the_same(client: Client) -> None:
    async with over_stdio(MODERN) as other:
        assert (await other.list_tools()).tools == (await client.list_tools()).tools


def test_a_property_named_title_survives() -> None:
    schema = {"title": "T", "properties": {"title": {"title": "Title", "type": "string"}}}
    assert input_schema(schema) == {"properties": {"title": {"type": "string"}}}


def test_an_output_schema_shows_one_level_and_names_the_fields_below() -> None:
    schema = {
        "properties": {
            "inner": {"anyOf": [{"$ref": "#/$defs/Inner"}, {"type": "null"}], "description": "Mine."},
            "text": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "many": {"type": "array", "items": {"$ref": "#/$defs/Inner"}},
        },
        "required": ["inner"],
        "$defs": {"Inner": {"type": "object", "description": "Long.", "properties": {"x": {}, "y": {}}}},
    }
    assert output_schema(schema) == {
        "properties": {
            "inner": {"type": ["object", "null"], "description": "Mine. {x, y}"},
            "text": {"type": ["string", "null"]},
            "many": {"type": "array", "items": {"type": "object", "description": "{x, y}"}},
        }
    }


def test_a_brief_output_schema_shows_what_is_always_there() -> None:
    schema = {
        "required": ["description"],
        "properties": {"description": {"type": "string", "description": "What."}, "note": {"type": "string"}},
    }
    assert output_schema(schema, brief=True) == {"properties": {"description": {"type": "string"}}}


def test_an_input_schema_says_each_thing_in_its_place_and_null_by_leaving_out() -> None:
    schema = {
        "properties": {"given": {"anyOf": [{"$ref": "#/$defs/Given"}, {"type": "null"}], "description": "Mine."}},
        "$defs": {
            "Given": {
                "type": "object",
                "title": "Given",
                "required": ["x"],
                "properties": {"x": {"title": "X", "type": "string"}},
            }
        },
    }
    given = {"type": "object", "required": ["x"], "properties": {"x": {"type": "string"}}}
    assert input_schema(schema) == {"properties": {"given": {**given, "description": "Mine."}}}
