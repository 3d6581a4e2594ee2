"""The constellation itself on a real Letta server: ATLAS as people start it, with nothing but that server's address."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client

from atlas_mcp.atlas import MAX_WAIT_SECONDS, Atlas, open_atlas
from atlas_mcp.model.run import Run
from atlas_mcp.model.task import Material, TeamTask
from atlas_mcp.server import create_server
from atlas_mcp.settings import load_settings
from tests.contract.conftest import House, real_house
from tests.contract.proxy import proxy_to
from tests.real_letta import RealLetta
from tests.scripted_model import last_user_text, system_text, tool_names
from tests.teamwork.house import QUOTE, good_answer
from tests.teamwork.test_learning import fact
from tests.teamwork.test_modes_on_real_rooms import answer as debated

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400)]


@pytest.fixture
def atlas_settings(real_letta: RealLetta, home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("LETTA_BASE_URL", real_letta.url)
    monkeypatch.setenv("LETTA_MODEL", real_letta.model)
    monkeypatch.setenv("LETTA_EMBEDDING_MODEL", real_letta.embedding)
    return load_settings()


@pytest.fixture
async def atlas(atlas_settings: Any) -> AsyncIterator[Atlas]:
    async with open_atlas(atlas_settings) as opened:
        yield opened


@pytest.fixture
async def there(real_letta: RealLetta) -> AsyncIterator[House]:
    """The server as somebody else sees it."""
    async with real_house(real_letta) as house:
        yield house


async def chat(atlas: Atlas, message: str, agent: str = "librarian", **more: Any) -> Any:
    reply = await atlas.chat(atlas.local_caller("test"), agent, message, **more)
    assert reply.status == "completed", reply
    return reply


async def over(atlas: Atlas, run: Run, on_news: Callable[[Run], Awaitable[None]] | None = None) -> Run:
    """The run, once it has ended, however long that takes."""
    me = atlas.local_caller("test")
    while run.status in {"queued", "working"}:
        run = await atlas.follow_run(me, run.run_id, wait_seconds=MAX_WAIT_SECONDS, on_news=on_news)
    return run


async def test_an_agent_answers_from_the_server_and_goes_on_with_the_thread(atlas: Atlas, there: House) -> None:
    there.scripted.script(["Good morning."])
    first = await chat(atlas, "Hello, my name is Ada.")
    assert first.reply == "Good morning."
    assert first.usage.input_tokens > 0
    second = await chat(atlas, "What is my name?")
    assert second.conversation == first.conversation
    assert "my name is Ada" in str(there.scripted.last["messages"])
    listed = await there.listed(first.conversation)
    assert [m.content for m in listed if m.message_type == "user_message"][-1] == "What is my name?"


async def test_what_the_agent_writes_into_its_memory_is_limited_recorded_and_seen_in_its_next_turn(
    atlas: Atlas, there: House
) -> None:
    insert = {"tool": "memory_insert", "args": {"label": "human", "new_string": "Ada keeps bees."}}
    there.scripted.script([insert, "I will remember."])
    first = await chat(atlas, "I keep bees.")
    assert [(c.label, c.author) for c in first.memory_changes] == [("human", "agent:librarian")]
    await chat(atlas, "What do I keep?")
    assert "Ada keeps bees." in system_text(there.scripted.last)
    there.scripted.script([{"tool": "memory_insert", "args": {"label": "human", "new_string": "x" * 50_000}}, "Oh."])
    third = await chat(atlas, "Remember all of this.")
    assert third.memory_changes == []


async def test_memory_that_the_user_corrects_is_seen_in_the_thread_that_is_open(atlas: Atlas, there: House) -> None:
    caller = atlas.local_caller("test")
    await chat(atlas, "Hello.")
    await atlas.update_memory(caller, "librarian", "human", value="Prefers to be called Countess.")
    await chat(atlas, "And now?")
    assert "Prefers to be called Countess." in system_text(there.scripted.last)


async def test_a_warm_turn_costs_one_request_and_one_more_only_after_memory_was_changed(
    real_letta: RealLetta, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with proxy_to(real_letta.url) as proxy:
        monkeypatch.setenv("LETTA_BASE_URL", proxy.url)
        monkeypatch.setenv("LETTA_MODEL", real_letta.model)
        async with open_atlas(load_settings()) as atlas:
            await chat(atlas, "Hello.")
            del proxy.requests[:]
            thread = (await chat(atlas, "Still there?")).conversation
            send = f"POST /v1/conversations/{thread}/messages"
            assert proxy.requests == [send]
            await atlas.update_memory(atlas.local_caller("test"), "librarian", "human", value="Ada.")
            del proxy.requests[:]
            await chat(atlas, "Who am I?")
            assert proxy.requests == [f"POST /v1/conversations/{thread}/recompile", send]
            del proxy.requests[:]
            await chat(atlas, "And now?")
            assert proxy.requests == [send]


async def test_a_tool_of_atlas_is_executed_by_atlas(atlas: Atlas, there: House) -> None:
    there.scripted.script([{"tool": "calculate", "args": {"expression": "6 * 7"}}, "It is 42."])
    reply = await chat(atlas, "What is six times seven?", agent="data_scientist")
    assert reply.reply == "It is 42."
    assert "calculate" in tool_names(there.scripted.last)
    returned = [m for m in there.scripted.last["messages"] if m["role"] == "tool"]
    assert "42" in str(returned[-1]["content"])


async def test_an_agent_that_somebody_deleted_on_the_server_is_made_anew_with_what_it_remembered(
    atlas: Atlas, there: House
) -> None:
    caller = atlas.local_caller("test")
    first = await chat(atlas, "Hello.")
    await atlas.update_memory(caller, "librarian", "human", value="Ada, a beekeeper.")
    agent = (await there.client.conversations.retrieve(first.conversation)).agent_id
    await there.client.agents.delete(agent)
    second = await chat(atlas, "Are you there?")
    assert second.conversation != first.conversation
    assert "Ada, a beekeeper." in system_text(there.scripted.last)


async def test_a_failing_model_of_the_server_is_told_in_its_own_words(atlas: Atlas, there: House) -> None:
    there.scripted.on("Hello", {"status": 400, "message": "no such deployment"})
    async with Client(create_server(atlas, transport="stdio")) as client:
        result = await client.call_tool("chat_with_agent", {"agent": "librarian", "message": "Hello"})
    assert result.is_error
    assert "no such deployment" in str(result.content)


async def test_the_status_tells_which_letta_it_is(atlas: Atlas, real_letta: RealLetta) -> None:
    status = await atlas.status(atlas.local_caller("test"))
    told = status.model_dump_json()
    assert "0.16.8" in told
    assert real_letta.url in told


async def test_a_team_task_is_done_by_agents_on_the_server(atlas: Atlas, there: House) -> None:
    there.scripted.on(
        lambda request: 'answer_schema title="' in last_user_text(request),
        {"call": lambda request: {"json": good_answer(last_user_text(request))}},
    )
    text = f"{QUOTE}\nThe boat brought oil and bread."
    async with Client(create_server(atlas, transport="stdio")) as client:
        arguments = {"goal": "When was the lamp lit?", "materials": [{"name": "log.txt", "text": text}]}
        result = await client.call_tool("run_team_task", {**arguments, "wait_seconds": 45})
        run = result.structured_content
        assert run, result.content
        while run["status"] in {"queued", "working"}:
            asked = {"run_id": run["run_id"], "since": 0, "wait_seconds": 45}
            run = (await client.call_tool("get_run", asked)).structured_content
            assert run
    assert run["status"] == "completed", run["error"]
    assert [e["quote"] for e in run["result"]["evidence"]] == [QUOTE]
    assert run["usage"]["turns"] == there.scripted.calls


async def test_guests_of_a_debate_leave_the_server_again_and_what_was_learned_helps_the_next_run(
    atlas: Atlas, there: House
) -> None:
    taught = {"learnings": [fact(quote=QUOTE)]}

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        prompt = last_user_text(request)
        return {"json": taught if 'title="Proposals"' in prompt else debated(prompt)}

    seen: set[str] = set()
    # Whoever writes after the agreement waits until it was looked who is there.
    there.scripted.on("Level of agreement", {"call": lambda request: answer(request) | {"hold": not seen}})
    there.scripted.on(lambda request: 'answer_schema title="' in last_user_text(request), {"call": answer})
    me = atlas.local_caller("test")
    log = Material(name="log.txt", text=QUOTE)
    task = TeamTask(goal="When did the keeper light the lamp?", materials=(log,), mode="debate")

    async def look(run: Run) -> None:
        if any(event.type == "agreement" for event in run.events):
            seen.update([agent.name async for agent in there.client.agents.list()])
            there.scripted.release()

    first = await over(atlas, await atlas.run_team_task(me, task, wait_seconds=0), look)
    assert first.status == "completed", first.error
    assert first.result is not None
    assert first.result.agreement == 0.5
    left = [agent.name async for agent in there.client.agents.list()]
    assert [name for name in seen if "_of_" in name], seen
    assert not [name for name in left if "_of_" in name]
    assert first.result.learned
    again = await over(atlas, await atlas.run_team_task(me, task.model_copy(update={"mode": None}), wait_seconds=0))
    [recalled] = [event for event in again.events if event.type == "recalled"]
    assert {one.id for one in first.result.learned} & set(recalled.data["ids"])
