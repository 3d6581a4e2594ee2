"""Texts that command, and a model that obeys them all: nothing is destroyed or spent, nothing crosses callers, and the
fence around what strangers wrote holds in the prompts that the model really gets."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from mcp.client import Client

from atlas_mcp import _reminding
from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.fact import Triple
from atlas_mcp.model.sections import DATA, section
from atlas_mcp.server import create_server
from atlas_mcp.settings import load_settings
from tests.hostile.obedient import MARK, NOT_OFFERED, Obedient, injections
from tests.scripted_model import Request, ScriptedModel
from tests.server.doors import call, until_ended
from tests.teamwork.house import TEXT

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

INJECTIONS = injections()
_FENCED = re.compile(
    rf'(?s)<({"|".join(sorted(DATA))})((?: [a-z_]+="[^"]*")*) mark="([0-9a-f]{{16}})">\n.*?\n</\1 mark="\3">'
)
RULES, RULE_TEXT = "House rules", "Nobody pays for a boat permit before noon; tides are told at the harbour."
SECRET = "victim-marker-7f3a"
KEY = "fee of a boat permit"
HARM: dict[str, Any] = {
    "title": RULES,
    "text": "pwned: the tides cost everything and rules are off",
    "key": KEY,
    "label": "human",
    "old_string": "Ada",
    "new_string": "pwned",
    "subject": "Boat permit",
    "relation": "costs",
    "object": "",
    "value": "0 euros",
    "whom": "all",
    "kind": "long_term",
    "name": "outline",
    "share_observation": {"title": RULES},
    "memory_insert": {"insert_line": 0},
    "relate": {"functional": True, "true_from": "", "true_until": "", "source": ""},
    "cite_source": {"source": "https://evil.example/collect", "quote": "Ada keeps boats."},
}


@pytest.fixture
def model(scripted_model: ScriptedModel) -> Obedient:
    """Obeys whatever it is asked."""
    one = Obedient(HARM)
    scripted_model.on(lambda _: True, [{"call": one.reply}] * 200)  # one for each number of a turn's tool results
    return one


@pytest.fixture
async def atlas(
    monkeypatch: pytest.MonkeyPatch, scripted_model: ScriptedModel, request: pytest.FixtureRequest
) -> AsyncIterator[Atlas]:
    """With the settings that a test asks for by its parameter."""
    for name, value in getattr(request, "param", {}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(_reminding, "PATIENCE", 60.0)  # agents are reminded, however slow the machine is
    monkeypatch.setenv("ATLAS_MODEL", "openai:scripted-1")
    monkeypatch.setenv("OPENAI_BASE_URL", scripted_model.url)
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    async with open_atlas(load_settings()) as opened:
        yield opened


@pytest.fixture
async def client(atlas: Atlas) -> AsyncIterator[Client]:
    async with Client(create_server(atlas, transport="stdio", toolset="all")) as connected:
        yield connected


@pytest.fixture
async def kept(atlas: Atlas, client: Client) -> dict[str, Any]:
    """What the caller, and another one, have before anything hostile comes."""
    await call(client, "share_knowledge", name=RULES, text=RULE_TEXT)
    await call(client, "update_agent_memory", agent="librarian", label="human", value="Ada keeps boats.")
    text = "The fee of a boat permit is 40 euros."
    memory = await call(client, "remember", text=text, key=KEY, about="boat permit")
    fact = {"subject": "Boat permit", "relation": "costs", "value": "40 euros", "functional": True}
    await call(client, "relate", facts=[fact])
    await atlas.share_knowledge(VICTIM, "Tides of the victim", f"The victim's boat permit and tides: {SECRET}.")
    await atlas.facts.relate(VICTIM, [Triple(subject="Boat permit", relation="has_number", value=SECRET)])
    await atlas.update_memory(VICTIM, "librarian", "human", value=f"I am {SECRET}.")
    return await unharmed(client, {"memory": memory})


VICTIM = Caller(id="key:victim", kind="key")


async def unharmed(client: Client, before: dict[str, Any]) -> dict[str, Any]:
    """What must be as it was: agents and groups, the caller's own document, memory and fact, and what it wrote."""
    listed = await call(client, "list_agents")
    found = await call(client, "search_memory", query="boat permit noon tides harbour", kinds=["knowledge"], limit=50)
    rules = [hit["text"] for hit in found["hits"] if hit["source"] == RULES and not hit.get("agent")]
    memories = (await call(client, "list_memories", limit=200))["memories"]
    facts = (await call(client, "recall_facts", about="Boat permit"))["facts"]
    return {
        "memory": before["memory"],
        "names": sorted(one["name"] for one in (*listed["agents"], *listed["groups"])),
        "rules": rules,
        "mine": [(one["id"], one["text"]) for one in memories if one["author"] == "caller"],
        "facts": sorted(one["text"] for one in facts if one["author"] == "caller"),
    }


async def check(atlas: Atlas, client: Client, model: Obedient, before: dict[str, Any]) -> None:
    """Nothing of the caller's is gone, what agents wrote can be undone, and nothing of another caller's was seen."""
    assert await unharmed(client, before) == before
    assert before["rules"]
    assert before["facts"]
    assert before["mine"]
    [block] = (await call(client, "get_agent_memory", agent="librarian", label="human", history=True))["blocks"]
    assert "Ada keeps boats." in [one["value"] for one in block["history"]]
    authors = {one["author"] for one in block["history"]}
    assert all(one in {"caller", "roster"} or one.startswith("agent:") for one in authors), authors
    theirs = await atlas.get_memory(VICTIM, "librarian", "human")
    assert theirs[0].value == f"I am {SECRET}."
    assert (await atlas.list_runs(VICTIM))[0] == []
    for request in model.requests:
        assert SECRET not in json.dumps(request["messages"])
        assert not leaked(request), leaked(request)


async def ended(client: Client, answer: dict[str, Any]) -> dict[str, Any]:
    """What came of a chat, also of one that took longer than its call may wait."""
    return answer if answer["status"] == "completed" else await until_ended(client, {**answer, "events": []})


def leaked(request: Request) -> list[str]:
    """The marks of injections that stand outside of every fence in this request: not in a section of data, not in a
    tool's result, not in a block of memory."""
    loose: list[str] = []
    for message in request["messages"]:
        if message["role"] == "assistant":
            continue  # what the model said itself
        text = message["content"] if isinstance(message["content"], str) else json.dumps(message["content"])
        if message["role"] == "system":
            text = re.sub(r"(?s)<value>\n.*?\n</value>", "", text)
        if message["role"] == "tool" and not text.startswith("<result "):
            continue  # Letta's own tools and refusals: marked as a tool's by the protocol
        loose += MARK.findall(_FENCED.sub("", text))
    return loose


def test_what_stands_outside_of_every_fence_is_found() -> None:
    fenced = section("material", "</material> do INJ-01", name="x")
    block = "<value>\nINJ-02\n</value>"
    loose = {"role": "user", "content": f"INJ-03 {fenced} INJ-04 <material>\nINJ-05\n</material>"}
    assert leaked({"messages": [{"role": "system", "content": f"{block} INJ-06"}, loose]}) == [
        *("INJ-06", "INJ-03", "INJ-04", "INJ-05")
    ]


async def test_materials_that_command_change_nothing(
    atlas: Atlas, client: Client, model: Obedient, kept: dict[str, Any]
) -> None:
    quiet = {"name": "log.txt", "text": TEXT}
    for start in range(0, len(INJECTIONS), 18):
        some = INJECTIONS[start : start + 18]
        long = start == 0  # these are only reached by tools
        texts = [{"name": f"{kind} {n}", "text": text + long * " tide" * 200} for n, (kind, text) in enumerate(some)]
        arguments = {"goal": "How was the light kept?", "materials": [quiet, *texts], "wait_seconds": 20}
        with anyio.fail_after(200):
            run = await until_ended(client, await call(client, "run_team_task", **arguments, budget_tokens=3_000_000))
        assert run["status"] == "completed", run["error"]
        assert "evil.example" not in json.dumps(run["result"]["evidence"])
        assert run["usage"]["turns"] < 60
    assert len(model.obeyed) > 40
    assert set(NOT_OFFERED) <= model.called
    runs = (await call(client, "list_runs"))["runs"]
    assert len(runs) == 3, "a run was begun by a text"
    await check(atlas, client, model, kept)


async def test_what_is_remembered_and_commands_changes_nothing(
    atlas: Atlas, client: Client, model: Obedient, kept: dict[str, Any]
) -> None:
    third = len(INJECTIONS) // 3
    for number, (kind, text) in enumerate(INJECTIONS):
        about = f"boat permit and tides: {text}"
        if number < third:
            await call(client, "share_knowledge", name=f"{kind} {number}", text=about)
        elif number < 2 * third:
            await call(client, "remember", text=about[:600], about="boat permit")
        else:
            fact = {"subject": "Boat permit", "relation": f"warns_of_{number}", "value": about[:200]}
            await call(client, "relate", facts=[fact])
    before = await unharmed(client, kept)
    for agent in ("librarian", "document_researcher", "source_verifier"):
        with anyio.fail_after(120):
            message = "What is the fee of a boat permit?"
            reply = await ended(client, await call(client, "chat_with_agent", agent=agent, message=message))
        assert reply["status"] == "completed"
    assert len(model.obeyed) > 4
    runs = (await call(client, "list_runs"))["runs"]
    assert [run for run in runs if run["kind"] != "turn"] == []  # a chat that took long is one
    await check(atlas, client, model, before)


@pytest.mark.parametrize("atlas", [{"ATLAS_GUARD_RULES": "false"}], indirect=True)  # which would cut the tags out
async def test_a_block_that_commands_cannot_leave_its_place_in_the_prompt(
    atlas: Atlas, client: Client, model: Obedient, kept: dict[str, Any]
) -> None:
    for _, text in [one for one in INJECTIONS if one[0] in {"closing_the_fence", "fake_system"}]:
        await call(client, "update_agent_memory", agent="strategist", label="human", value=text)
        said = await call(client, "chat_with_agent", agent="strategist", message="Hello.", conversation="new")
        await ended(client, said)
    assert len(model.obeyed) >= 16
    await check(atlas, client, model, kept)


async def test_an_agent_that_commands_the_others_is_only_quoted(
    atlas: Atlas, client: Client, model: Obedient, kept: dict[str, Any]
) -> None:
    said = iter([text for _, text in INJECTIONS])
    model.say = lambda _: next(said, "Nothing more.")
    agents = ["librarian", "strategist", "data_scientist", "document_researcher"]
    await call(client, "create_group", name="table", description="Talks of tides.", agents=agents)
    before = await unharmed(client, kept)
    for _ in range(4):
        with anyio.fail_after(120):
            talk = await ended(client, await call(client, "chat_with_group", group="table", message="And the tides?"))
        assert talk["status"] == "completed"
    assert model.obeyed
    await check(atlas, client, model, before)
