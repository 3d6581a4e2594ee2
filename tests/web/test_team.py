"""Research agents search, read and cite the web in a team task, as a person sees it through an MCP client."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from atlas_mcp.model.sections import sections
from tests.guard.watched import answers, by_one, does_well, team_task, told, watched
from tests.scripted_model import ScriptedModel, last_user_text
from tests.server.doors import call
from tests.web.site import Reply, Site
from tests.web.test_pages import ARTICLE

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
QUOTE = "The boat came on Fridays with oil and bread"


@pytest.fixture
def lamps(site: Site) -> str:
    """A page about lamps, which the engine finds; its address."""
    address = f"{site.here}/lamps"
    found = {"url": address, "title": "Lamps of the coast", "content": "The lamp was lit by ghosts."}
    body = json.dumps({"query": "lamps", "results": [found], "unresponsive_engines": []}).encode()
    site.on("/sx/search?q=keeping%20lamps&format=json", Reply(body=body, type="application/json"))
    site.on("/lamps", Reply(body=ARTICLE.encode()))
    return address


async def test_a_research_agent_searches_reads_and_cites_and_no_more_than_it_read(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch, site: Site, lamps: str
) -> None:
    claim = "oil came by boat"
    steps: list[Any] = [
        {"tool": "search_web", "args": {"query": "keeping lamps"}},
        {"tool": "cite_source", "args": {"claim": claim, "source": lamps, "quote": "The lamp was lit by ghosts."}},
        {"tool": "fetch_page", "args": {"address": "http://169.254.169.254/latest/meta-data/"}},
        {"tool": "fetch_page", "args": {"address": lamps}},
        {"tool": "cite_source", "args": {"claim": claim, "source": lamps, "quote": "The boat never came."}},
        {"tool": "cite_source", "args": {"claim": claim, "source": lamps, "quote": QUOTE}},
        {"tool": "submit_result", "args": {"result": {"text": "The boat brought oil and bread."}}},
        "I have handed it in.",
    ]
    by_one(scripted_model, "web_researcher")
    scripted_model.on(answers("Findings", of="web_researcher"), steps)
    merged = {"text": "The boat brought oil.", "evidence": [{"claim": claim, "source": lamps, "quote": QUOTE}]}
    scripted_model.on(answers("Findings", "reported. Merge"), {"json": merged})
    does_well(scripted_model)
    allowed = f"127.0.0.1:{site.port}"
    with anyio.fail_after(110):
        async with watched(
            monkeypatch, scripted_model, ATLAS_WEB_ALLOW=allowed, ATLAS_WEB_SEARCH_URL=f"{site.here}/sx"
        ) as (_, client):
            run = await team_task(client)
            status = await call(client, "get_status")
    results = _results(scripted_model)
    assert json.loads(results["search_web"][0])["hits"][0]["address"] == lamps
    assert "it leads to an address that is link-local" in results["fetch_page"][0]
    assert results["fetch_page"][1].startswith(f"[{lamps}: characters 0 to ")
    early, wrong, right = results["cite_source"]
    assert lamps in early
    assert "Noted" not in early + wrong
    assert right == f"Noted: {claim!r} rests on {lamps!r}."
    [report] = [r for r in scripted_model.requests if "reported. Merge" in last_user_text(r)]
    [given] = sections(last_user_text(report), "report")
    assert [(e["claim"], e["source"], e["quote"]) for e in json.loads(given.body)["evidence"]] == [
        (claim, lamps, QUOTE)
    ]
    assert (claim, lamps, QUOTE) in [(e["claim"], e["source"], e["quote"]) for e in run["result"]["evidence"]]
    said = [event["text"] for event in told(run, "tool_called")]
    assert "web_researcher searched the web for “keeping lamps”" in said
    assert f"web_researcher read {lamps}" in said
    rooms = {room["name"]: room for room in status["rooms"]}
    assert "pages given 1, asked for in vain 1." in rooms["web"]["text"]
    assert rooms["search"]["health"] == "ok"
    assert site.paths().count("/lamps") == 1


async def test_without_a_search_engine_pages_are_read_and_the_lack_is_told(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch, site: Site, lamps: str
) -> None:
    scripted_model.script([{"tool": "fetch_page", "args": {"address": lamps}}, "It came on Fridays."])
    with anyio.fail_after(110):
        async with watched(monkeypatch, scripted_model, ATLAS_WEB_ALLOW=f"127.0.0.1:{site.port}") as (_, client):
            reply = await call(client, "chat_with_agent", agent="web_researcher", message="When did the boat come?")
            status = await call(client, "get_status")
    assert reply["reply"] == "It came on Fridays."
    offered = {tool["function"]["name"] for tool in scripted_model.requests[0]["tools"]}
    assert "fetch_page" in offered
    assert "search_web" not in offered
    given = scripted_model.requests[1]["messages"][-1]["content"]
    assert QUOTE in given
    assert '<result tool=\\"fetch_page\\"' in given or '<result tool="fetch_page"' in given
    [lack] = [note for note in status["notes"] if "search_web" in note]
    assert "Set TAVILY_API_KEY, or ATLAS_WEB_SEARCH_URL to a SearXNG" in lack
    assert "fetch_page" not in lack


def _results(model: ScriptedModel) -> dict[str, list[str]]:
    """What each tool gave to the web researcher, in order: as its model read it last."""
    turns = [r for r in model.requests if "You are web_researcher:" in json.dumps(r["messages"][0])]
    messages = max((r["messages"] for r in turns), key=len)
    names: dict[str, str] = {}
    given: dict[str, list[str]] = {}
    for message in messages:
        for asked in message.get("tool_calls") or []:
            names[asked["id"]] = asked["function"]["name"]
        if message["role"] == "tool":
            given.setdefault(names[message["tool_call_id"]], []).append(_body(str(message["content"])))
    return given


def _body(content: str) -> str:
    """What a tool gave, out of the section that it is delimited in."""
    try:
        told = json.loads(content)
        content = str(told.get("message", told)) if isinstance(told, dict) else content
    except ValueError:
        pass
    found = sections(content, "result")
    return found[0].body if found else content
