"""The connectors as agents use them: offered, used, cited, entered in the ledger, approved, and shown."""

from __future__ import annotations

import json
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from mcp.client import Client

from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.errors import ConfigurationError
from atlas_mcp.model.caller import Caller
from atlas_mcp.reach.connectors import public
from atlas_mcp.server import create_server
from atlas_mcp.settings import load_settings
from tests.connectors import test_firecrawl, test_github, test_microsoft, test_tavily
from tests.connectors.loopback import Loopback, Told, loopback
from tests.connectors.test_microsoft import Office
from tests.guard.watched import answers, by_one, does_well, team_task, told
from tests.homes import contents
from tests.server.doors import call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.scripted_model import ScriptedModel

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
WEB, OFFICE = "web_researcher", "document_researcher"
"""Who has the tools, by the shipped roster."""
SECRETS = (test_tavily.KEY, test_firecrawl.KEY, test_github.TOKEN, test_microsoft.SECRET)
DRAFT = {"to": ["grace@x.example"], "subject": "The plan", "text": "It is good."}
OFFERED = ("github_", "microsoft_", "tavily_", "firecrawl_")


@dataclass
class House:
    """An Atlas that has all connectors, a client on it, and the servers that stand for the services."""

    atlas: Atlas
    client: Client
    office: Office
    services: dict[str, Loopback]

    async def chat(self, message: str, agent: str = WEB) -> dict[str, Any]:
        return await call(self.client, "chat_with_agent", agent=agent, message=message, conversation="new")

    async def rooms(self) -> dict[str, dict[str, Any]]:
        return {room["name"]: room for room in (await call(self.client, "get_status"))["rooms"]}


@pytest.fixture
async def house(scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    async def public_name(host: str, port: int) -> list[str]:
        return ["93.184.215.14"]

    monkeypatch.setattr(public, "resolve", public_name)
    async with _services() as services:
        office = Office(services["login"], services["graph"], Told(), None)  # pyright: ignore[reportArgumentType]
        services["login"].answers(office.login_says)
        services["graph"].answers(office.graph_says)
        settings = {
            "ATLAS_MODEL": "openai:scripted-1",
            "OPENAI_API_KEY": "k",
            "OPENAI_BASE_URL": scripted_model.url,
            "TAVILY_API_KEY": test_tavily.KEY,
            "ATLAS_TAVILY_BASE_URL": services["tavily"].url,
            "FIRECRAWL_API_KEY": test_firecrawl.KEY,
            "ATLAS_FIRECRAWL_BASE_URL": services["firecrawl"].url,
            "ATLAS_GITHUB_TOKEN": test_github.TOKEN,
            "ATLAS_GITHUB_BASE_URL": services["github"].url + test_github.API,
            "ATLAS_MICROSOFT_TENANT": test_microsoft.TENANT,
            "ATLAS_MICROSOFT_CLIENT_ID": test_microsoft.CLIENT,
            "ATLAS_MICROSOFT_CLIENT_SECRET": test_microsoft.SECRET,
            "ATLAS_MICROSOFT_USER": test_microsoft.USER,
            "ATLAS_MICROSOFT_BASE_URL": services["graph"].url,
            "ATLAS_MICROSOFT_LOGIN_URL": services["login"].url,
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        async with open_atlas(load_settings()) as atlas, Client(create_server(atlas, transport="stdio")) as client:
            yield House(atlas, client, office, services)


@asynccontextmanager
async def _services() -> AsyncIterator[dict[str, Loopback]]:
    async with (
        loopback() as tavily,
        loopback() as firecrawl,
        loopback() as github,
        loopback() as login,
        loopback() as graph,
    ):
        tavily.answers(test_tavily.tavily_says)
        firecrawl.answers(test_firecrawl.firecrawl_says)
        github.answers(test_github.github_says)
        yield {"tavily": tavily, "firecrawl": firecrawl, "github": github, "login": login, "graph": graph}


async def test_an_agent_uses_each_connector_and_is_given_what_it_found(
    house: House, scripted_model: ScriptedModel, caplog: pytest.LogCaptureFixture, tmp_path: Path
):
    caplog.set_level(logging.DEBUG)
    await _uses(
        house,
        scripted_model,
        WEB,
        [
            ("github_search_code", {"query": "sail"}, "def sail_1"),
            ("github_search_issues", {"query": "leak"}, "github:ada/ship#1"),
            ("github_read_issue", {"repository": "ada/ship", "number": 7}, "Water comes in."),
            ("github_read_file", {"repository": "ada/ship", "path": "README.md"}, "It sails."),
            ("github_list_folder", {"repository": "ada/ship"}, "README.md (18)"),
            ("firecrawl_read_page", {"address": test_firecrawl.PAGE}, "Apples and pears."),
            ("firecrawl_search_web", {"query": "apples"}, "The list"),
            ("search_web", {"query": "pages"}, "https://a.example/two"),
            ("tavily_read_page", {"address": "https://a.example/one"}, "The first page."),
        ],
    )
    await _uses(
        house,
        scripted_model,
        OFFICE,
        [
            ("microsoft_search_mail", {"query": "plan"}, "Please see"),
            ("microsoft_read_mail", {"id": "m=1"}, "Please see the plan."),
            ("microsoft_list_events", {"start": "2026-05-01T00:00:00", "end": "2026-05-02T00:00:00"}, "Launch"),
            ("microsoft_search_files", {"query": "ada's plan"}, "plan.txt"),
        ],
    )
    assert {room for room, stands in (await house.rooms()).items() if stands["health"] == "ok"} >= {
        "tavily",
        "firecrawl",
        "github",
        "microsoft",
    }
    spent = (await call(house.client, "get_status"))["spending"]
    assert spent["usd"] == pytest.approx(0.016), "a search and a page of Tavily are not entered"
    kept = b"".join(content for _, content in contents(tmp_path / "home"))
    said = caplog.text + json.dumps(scripted_model.requests)
    for secret in (*SECRETS, *house.office.tokens):
        assert secret not in said, "a key is in the log, or was told to the model"
        assert secret.encode() not in kept, "a key lies in the home"


async def test_what_was_read_through_a_connector_can_be_cited_in_a_team_task(
    house: House, scripted_model: ScriptedModel
):
    source, claim = "github:ada/ship/README.md", "the ship sails"
    cite = {"claim": claim, "source": source}
    steps: list[Any] = [
        {"tool": "cite_source", "args": {**cite, "quote": "It sails."}},
        {"tool": "github_read_file", "args": {"repository": "ada/ship", "path": "README.md"}},
        {"tool": "cite_source", "args": {**cite, "quote": "It sinks."}},
        {"tool": "cite_source", "args": {**cite, "quote": "It sails."}},
        {"tool": "submit_result", "args": {"result": {"text": "The ship sails."}}},
        "I have handed it in.",
    ]
    by_one(scripted_model, WEB)
    scripted_model.on(answers("Findings", of=WEB), steps)
    merged = {"text": "The ship sails.", "evidence": [{**cite, "quote": "It sails."}]}
    scripted_model.on(answers("Findings", "reported. Merge"), {"json": merged})
    does_well(scripted_model)
    with anyio.fail_after(100):
        run = await team_task(house.client)
    mine = [r for r in scripted_model.requests if f"You are {WEB}:" in json.dumps(r["messages"][0])]
    given = [m["content"] for m in max((r["messages"] for r in mine), key=len) if m["role"] == "tool"]
    assert "Noted" not in given[0] + given[2]
    assert "Noted" in given[3]
    assert (claim, source, "It sails.") in [(e["claim"], e["source"], e["quote"]) for e in run["result"]["evidence"]]
    assert f"{WEB} read README.md of ada/ship on GitHub" in [event["text"] for event in told(run, "tool_called")]


async def test_a_draft_is_written_once_it_is_approved_and_once_only(house: House, scripted_model: ScriptedModel):
    scripted_model.on("was approved and made", "It lies there.")
    scripted_model.on("Draft it.", [{"tool": "microsoft_create_draft", "args": DRAFT}, "I asked."])
    run = await _asked(house, "Draft it.")
    assert "document_researcher wants to call microsoft_create_draft, which writes" in run["question"]["text"]
    assert "It is good." in run["question"]["text"]
    assert house.office.sent == []
    done = await _answered(house, run, "approve")
    assert done["reply"] == "It lies there."
    [(place, body)] = house.office.sent
    assert (place, body["subject"]) == ("/messages", "The plan")
    assert "lies in the drafts of ada@contoso.example" in json.dumps(scripted_model.last)


async def test_a_message_that_is_not_approved_is_not_sent(house: House, scripted_model: ScriptedModel):
    scripted_model.on("was not approved", "Then not.")
    scripted_model.on("Send it.", [{"tool": "microsoft_send_mail", "args": DRAFT}, "I asked."])
    done = await _answered(house, await _asked(house, "Send it."), "reject")
    assert done["reply"] == "Then not."
    assert house.office.sent == []
    assert [c for c in house.services["graph"].calls if c.method != "GET"] == []


async def test_what_is_the_owners_own_is_not_offered_to_other_callers(house: House, scripted_model: ScriptedModel):
    scripted_model.on("Hello.", "Hello.")
    mine = await _offered(house, scripted_model, Caller(id="local:me"))
    others = await _offered(house, scripted_model, Caller(id="key:bob", kind="key"))
    home = await _offered(house, scripted_model, Caller(id="key:http", kind="key"))
    assert {name.partition("_")[0] for name in mine} == {"github", "microsoft", "tavily", "firecrawl"}
    assert {name.partition("_")[0] for name in others} == {"tavily", "firecrawl"}
    assert home == mine


async def test_a_wrong_key_is_told_to_the_agent_and_shown_without_the_key(house: House, scripted_model: ScriptedModel):
    house.services["github"].answers(lambda _: test_github.Reply({"message": "Bad credentials"}, 401))
    reads = {"tool": "github_read_file", "args": {"repository": "ada/ship", "path": "README.md"}}
    scripted_model.on("Read it.", [reads, "I cannot."])
    assert (await house.chat("Read it."))["reply"] == "I cannot."
    asked = len(house.services["github"].calls)
    assert "Check ATLAS_GITHUB_TOKEN" in json.dumps(scripted_model.last)
    assert test_github.TOKEN not in json.dumps(scripted_model.requests)
    room = (await house.rooms())["github"]
    assert room["health"] == "warning"
    assert "Bad credentials" in room["text"]
    assert "ATLAS_GITHUB_TOKEN" in room["next_step"]
    assert len(house.services["github"].calls) == asked, "asking for the status asked the service"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"ATLAS_MICROSOFT_TENANT": "t"}, "needs ATLAS_MICROSOFT_CLIENT_ID, ATLAS_MICROSOFT_CLIENT_SECRET, ATLAS_MIC"),
        ({"ATLAS_GITHUB_TOKEN": "a b"}, "ATLAS_GITHUB_TOKEN: it has a space"),
        ({"ATLAS_GITHUB_BASE_URL": "http://api.github.com"}, "ATLAS_GITHUB_BASE_URL: a key would go there unprotec"),
        ({"ATLAS_TAVILY_BASE_URL": "tavily"}, "ATLAS_TAVILY_BASE_URL: it is no address of a service"),
        ({"ATLAS_MICROSOFT_USER": "a/b"}, "ATLAS_MICROSOFT_USER: 'a/b' is neither an id nor a name"),
        ({"ATLAS_TAVILY_CREDIT_USD": "-1"}, "ATLAS_TAVILY_CREDIT_USD: "),
    ],
)
def test_settings_that_cannot_be_right_are_told_at_the_start(
    settings: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
):
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as raised:
        load_settings()
    assert told in str(raised.value)


def test_an_empty_key_is_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TAVILY_API_KEY", " ")
    monkeypatch.setenv("ATLAS_MICROSOFT_TENANT", "")
    settings = load_settings()
    assert (settings.tavily_api_key, settings.microsoft_tenant) == (None, None)


async def _uses(house: House, model: ScriptedModel, agent: str, calls: list[tuple[str, dict[str, Any], str]]) -> None:
    """The agent makes these calls in one turn, and is given what each of them shall give."""
    steps: list[Any] = [{"tool": name, "args": arguments} for name, arguments, _ in calls]
    model.on(f"Look, {agent}.", [*steps, "I looked."])
    assert (await house.chat(f"Look, {agent}.", agent))["reply"] == "I looked."
    results = [message["content"] for message in model.last["messages"] if message["role"] == "tool"]
    for (name, _, gives), result in zip(calls, results, strict=True):
        assert gives in result, f"{name}: {result}"


async def _offered(house: House, model: ScriptedModel, caller: Caller) -> set[str]:
    """The connectors' tools that the researchers of that caller are offered."""
    names: set[str] = set()
    for agent in (WEB, OFFICE):
        await house.atlas.chat(caller, agent, "Hello.")
        names |= {tool["function"]["name"] for tool in model.last["tools"]}
    return {name for name in names if name.startswith(OFFERED)}


async def _asked(house: House, message: str) -> dict[str, Any]:
    chat = await house.chat(message, OFFICE)
    return await _until(house, chat["run_id"], "awaiting_answer")


async def _answered(house: House, run: dict[str, Any], answer: str) -> dict[str, Any]:
    await call(house.client, "answer_run", run_id=run["run_id"], answer=answer)
    return await _until(house, run["run_id"], "completed")


async def _until(house: House, run_id: str, status: str) -> dict[str, Any]:
    seen = 0
    with anyio.fail_after(90):
        while True:
            run = await call(house.client, "get_run", run_id=run_id, since=seen, wait_seconds=5)
            seen = run["events"][-1]["seq"] if run["events"] else seen
            if run["status"] == status:
                return run
            assert run["status"] in {"queued", "working", "awaiting_answer"}, run["error"]
