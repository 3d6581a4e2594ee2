"""Groups on Letta's own server: all four kinds talk there, and each is seen in Letta as what it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest

from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.settings import load_settings
from tests.groups.conftest import agent_of, speaks
from tests.real_letta import RealLetta

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400)]


@pytest.fixture
def _settings(real_letta: RealLetta, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real server is ATLAS's Letta."""
    monkeypatch.setenv("LETTA_BASE_URL", real_letta.url)
    monkeypatch.setenv("LETTA_MODEL", real_letta.model)
    monkeypatch.setenv("LETTA_EMBEDDING_MODEL", real_letta.embedding)


@pytest.fixture
async def atlas(_settings: None) -> AsyncIterator[Atlas]:
    """An Atlas on an empty home, whose Letta is the real server."""
    async with open_atlas(load_settings()) as opened:
        yield opened


@pytest.fixture
async def raw(real_letta: RealLetta) -> AsyncIterator[httpx.AsyncClient]:
    """Letta's own API, without ATLAS or letta-client between."""
    async with httpx.AsyncClient(base_url=real_letta.url, timeout=60) as http:
        yield http


async def seen(raw: httpx.AsyncClient, name: str) -> list[dict[str, Any]]:
    """The groups of that name as Letta lists them."""
    listed = (await raw.get("/v1/groups/", params={"limit": 200})).json()
    return [g for g in listed if g["description"].startswith(f"{name}: ")]


async def members(raw: httpx.AsyncClient, group: dict[str, Any]) -> list[str]:
    return [(await raw.get(f"/v1/agents/{agent_id}")).json()["name"] for agent_id in group["agent_ids"]]


def of(name: str, manager: dict[str, Any], *agents: str) -> dict[str, Any]:
    return {"name": name, "description": "Looks after the light.", "agents": agents, "manager": manager}


async def test_round_robin_talks_on_letta_and_is_seen_there_changed_and_taken_away(
    atlas: Atlas, raw: httpx.AsyncClient, real_letta: RealLetta
) -> None:
    me, name = atlas.local_caller(), "real_keepers"
    await atlas.groups.create_group(me, of(name, {"type": "round_robin", "max_turns": 3}, "strategist", "librarian"))
    speaks(real_letta.scripted, "strategist", "First the oil.", "Then the wick.")
    speaks(real_letta.scripted, "librarian", "The log has it.")
    reply = await atlas.groups.chat(me, name, "How was the light kept?")
    assert [(m.speaker, m.text) for m in reply.messages] == [
        ("strategist", "First the oil."),
        ("librarian", "The log has it."),
        ("strategist", "Then the wick."),
    ]
    [group] = await seen(raw, name)
    assert (group["manager_type"], group["max_turns"]) == ("round_robin", 3)
    assert await members(raw, group) == ["strategist", "librarian"]
    again = await atlas.groups.chat(me, name, "And in winter?")
    assert again.status == "completed"
    assert [g["id"] for g in await seen(raw, name)] == [group["id"]], "it is shown once"
    await atlas.groups.delete_group(me, name)
    assert await seen(raw, name) == []
    assert (await atlas.chat(me, "strategist", "Still there?")).status == "completed"


@pytest.mark.usefixtures("_settings")
async def test_a_group_that_was_taken_away_in_letta_is_shown_again_by_the_next_process(raw: httpx.AsyncClient) -> None:
    async with open_atlas(load_settings()) as first:
        await first.groups.create_group(first.local_caller(), of("real_gone", {"type": "round_robin"}, "librarian"))
    [group] = await seen(raw, "real_gone")
    await raw.delete(f"/v1/groups/{group['id']}")
    assert await seen(raw, "real_gone") == []
    async with open_atlas(load_settings()) as second:
        assert (await second.groups.chat(second.local_caller(), "real_gone", "Hello?")).status == "completed"
        [again] = await seen(raw, "real_gone")
        assert again["agent_ids"] == group["agent_ids"]
        await second.groups.delete_group(second.local_caller(), "real_gone")


async def test_supervisor_and_dynamic_talk_on_letta_and_show_their_managers(
    atlas: Atlas, raw: httpx.AsyncClient, real_letta: RealLetta
) -> None:
    me = atlas.local_caller()
    await atlas.groups.create_group(
        me, of("real_watch", {"type": "supervisor", "agent": "librarian"}, "strategist", "data_scientist")
    )
    await atlas.groups.create_group(
        me,
        of("real_table", {"type": "dynamic", "agent": "global_supervisor", "max_turns": 4}, "strategist", "librarian"),
    )
    speaks(real_letta.scripted, "librarian", "All: did it fail?", "Twice, they say.", "I have no more.")
    speaks(real_letta.scripted, "global_supervisor", "strategist", "DONE!")
    speaks(real_letta.scripted, "strategist", "Once by storm.", "It is settled for me.")
    speaks(real_letta.scripted, "data_scientist", "Once by neglect.")
    watch = await atlas.groups.chat(me, "real_watch", "Did the light fail?")
    assert watch.messages[0].text == "All: did it fail?"
    assert {m.speaker for m in watch.messages[1:3]} == {"strategist", "data_scientist"}
    assert watch.messages[3].text == "Twice, they say."
    table = await atlas.groups.chat(me, "real_table", "Is it settled?")
    assert [m.text for m in table.messages] == ["It is settled for me."]
    for name, kind, manager in (
        ("real_watch", "supervisor", "librarian"),
        ("real_table", "dynamic", "global_supervisor"),
    ):
        [group] = await seen(raw, name)
        assert group["manager_type"] == kind
        shown = (await raw.get(f"/v1/agents/{group['manager_agent_id']}")).json()
        assert shown["name"] == manager
        await atlas.groups.delete_group(me, name)


async def test_a_sleeptime_group_tends_its_notes_on_letta_and_letta_runs_no_background_agent_itself(
    atlas: Atlas, raw: httpx.AsyncClient, real_letta: RealLetta
) -> None:
    me = atlas.local_caller()
    await atlas.groups.create_group(
        me, of("real_evening", {"type": "sleeptime", "agent": "strategist", "frequency": 1}, "librarian")
    )
    speaks(real_letta.scripted, "strategist", "The late boat.")
    note = {"tool": "memory_insert", "args": {"label": "real_evening_notes", "new_string": "The late boat it is."}}
    real_letta.scripted.on(lambda r: agent_of(r) == "librarian", [note, "Noted."])
    reply = await atlas.groups.chat(me, "real_evening", "Which boat?")
    [run_id] = reply.background_runs
    with anyio.fail_after(120):
        while (run := await atlas.get_run(me, run_id, wait_seconds=10)).status not in {"completed", "failed"}:
            pass
    assert run.status == "completed", run.error
    [block] = await atlas.get_memory(me, "strategist", "real_evening_notes")
    assert (block.value, block.author) == ("The late boat it is.", "agent:librarian")
    asked = [agent_of(r) for r in real_letta.scripted.requests]
    assert asked.count("librarian") == 2, "its turn and its tool's result: nobody else set it to work"
    [group] = await seen(raw, "real_evening")
    assert await members(raw, group) == ["strategist", "librarian"]
    await atlas.groups.delete_group(me, "real_evening")


async def test_a_warm_talk_sends_letta_one_request_a_turn(
    atlas: Atlas, real_letta: RealLetta, monkeypatch: pytest.MonkeyPatch
) -> None:
    me, sent = atlas.local_caller(), list[str]()
    await atlas.groups.create_group(me, of("real_pair", {"type": "round_robin"}, "strategist", "librarian"))
    speaks(real_letta.scripted, "strategist", "One thing.", "Another thing.", "And a third.")
    speaks(real_letta.scripted, "librarian", "I see it otherwise.", "Still otherwise.", "As before, otherwise.")
    for _ in range(2):
        await atlas.groups.chat(me, "real_pair", "And what of it?")
    send = httpx.AsyncClient.send

    async def noting(client: httpx.AsyncClient, request: httpx.Request, **more: Any) -> httpx.Response:
        if str(request.url).startswith(real_letta.url):
            sent.append(f"{request.method} {request.url.path.rpartition('/')[2]}")
        return await send(client, request, **more)

    monkeypatch.setattr(httpx.AsyncClient, "send", noting)
    reply = await atlas.groups.chat(me, "real_pair", "And now?")
    assert len(reply.messages) == 2
    assert sent == ["POST messages", "POST messages"]
    monkeypatch.undo()
    await atlas.groups.delete_group(me, "real_pair")
