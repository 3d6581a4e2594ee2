from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from letta_client import APIStatusError, AsyncLetta, NotFoundError

from atlas_mcp.embedded import StreamingASGITransport, create_app, runs
from tests.embedded.conftest import listed, open_letta, say
from tests.embedded.scripted_chat import ScriptedChat, Source

pytestmark = pytest.mark.anyio


async def start(letta: Any, agent_id: str, text: str) -> Any:
    return await letta.agents.messages.create_async(agent_id, messages=[{"role": "user", "content": text}])


async def ended(letta: Any, run_id: str) -> Any:
    with anyio.fail_after(60):
        while (run := await letta.runs.retrieve(run_id)).status in {"created", "running"}:
            await anyio.lowlevel.checkpoint()
    return run


async def test_a_run_in_the_background_is_created_runs_and_completes(
    letta: Any, agent: Any, chat: ScriptedChat
) -> None:
    chat.hold()
    run = await start(letta, agent.id, "hold")
    assert (run.status, run.background, run.agent_id) == ("created", True, agent.id)
    with anyio.fail_after(60):
        await chat.reached.wait()
    assert (await letta.runs.retrieve(run.id)).status in {"created", "running"}
    assert [r.id async for r in letta.runs.list(agent_id=agent.id, active=True)] == [run.id]
    chat.gate.set()
    done = await ended(letta, run.id)
    assert (done.status, done.stop_reason) == ("completed", "end_turn")
    assert done.total_duration_ns > 0
    assert [m.content async for m in letta.runs.messages.list(run.id)] == ["hold", "ok: hold"]


async def test_usage_and_steps_of_a_run_are_kept(letta: Any, agent: Any) -> None:
    reply = await say(letta, agent.id, 'call conversation_search {"query": "x"}')
    run_id = reply.messages[0].run_id
    used = await letta.runs.usage.retrieve(run_id)
    assert (used.prompt_tokens, used.completion_tokens, used.total_tokens) == (10, 6, 16)
    steps = [step async for step in letta.runs.steps.list(run_id)]
    assert [step.total_tokens for step in steps] == [8, 8]
    assert [step.api_model_handle for step in steps] == ["test/scripted", "test/scripted"]
    assert {m.step_id for m in reply.messages} == {step.id for step in steps}


async def test_a_failing_run_in_the_background_says_why(letta: Any, agent: Any) -> None:
    run = await ended(letta, (await start(letta, agent.id, "fail 429")).id)
    assert (run.status, run.stop_reason) == ("failed", "llm_api_error")
    assert run.metadata["error"]["error"]["type"] == "llm_rate_limit"
    assert await listed(letta, agent.id) == []


async def test_a_beat_that_cannot_be_written_ends_neither_its_run_nor_the_server(
    letta: Any, agent: Any, chat: ScriptedChat, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(runs, "_beat", fail)
    chat.hold()
    run = await start(letta, agent.id, "hold")
    with anyio.fail_after(60):
        await chat.reached.wait()
        while "disk is full" not in caplog.text:
            await anyio.lowlevel.checkpoint()
    chat.gate.set()
    assert (await ended(letta, run.id)).status == "completed"
    assert (await ended(letta, (await start(letta, agent.id, "and again")).id)).status == "completed"


async def test_a_run_in_the_background_can_be_cancelled(letta: Any, agent: Any, chat: ScriptedChat) -> None:
    chat.hold()
    run = await start(letta, agent.id, "hold")
    with anyio.fail_after(60):
        await chat.reached.wait()
    assert await letta.agents.messages.cancel(agent.id, run_ids=[run.id]) == {run.id: "cancelled"}
    assert (await ended(letta, run.id)).status == "cancelled"
    assert await listed(letta, agent.id) == []


async def test_leaving_the_app_cancels_its_background_runs_and_notes_it(database: Path, chat: ScriptedChat) -> None:
    chat.hold()
    async with open_letta(database, Source(chat)) as letta:
        agent = await letta.agents.create(name="a")
        run = await start(letta, agent.id, "hold")
        with anyio.fail_after(60):
            await chat.reached.wait()
    async with open_letta(database, Source(chat)) as letta:
        assert (await letta.runs.retrieve(run.id)).status == "cancelled"
        assert await listed(letta, agent.id) == []


async def test_a_run_whose_process_died_is_told_as_failed(letta: Any, agent: Any, database: Path) -> None:
    reply = await say(letta, agent.id, "hi")
    run_id = reply.messages[0].run_id
    with sqlite3.connect(database) as other:  # as if its process had been killed a minute ago
        other.execute("UPDATE run SET status = 'running', alive_until = 1 WHERE id = ?", (run_id,))
    run = await letta.runs.retrieve(run_id)
    assert run.status == "failed"
    assert "ended before it was done" in str(run.metadata)


async def test_outside_of_its_context_the_app_serves_all_but_background_runs(tmp_path: Path) -> None:
    app = create_app(tmp_path / "letta.db", Source())
    async with httpx.AsyncClient(transport=StreamingASGITransport(app)) as http:
        letta = AsyncLetta(base_url="http://embedded", api_key="x", max_retries=0, http_client=http)
        agent = await letta.agents.create(name="a")
        assert (await say(letta, agent.id, "hi")).messages[0].content == "ok: hi"
        with pytest.raises(APIStatusError, match="running"):
            await start(letta, agent.id, "hi")


async def test_runs_are_listed_newest_first_and_by_status(letta: Any, agent: Any) -> None:
    ids = [(await say(letta, agent.id, f"m{i}")).messages[0].run_id for i in range(3)]
    with pytest.raises(APIStatusError):
        await say(letta, agent.id, "fail 400")
    assert [r.id async for r in letta.runs.list(agent_id=agent.id, statuses=["completed"], limit=2)] == ids[::-1]
    assert len([r async for r in letta.runs.list(agent_id=agent.id, statuses=["failed"])]) == 1
    with pytest.raises(NotFoundError):
        await letta.runs.retrieve("run-nope")
