"""A client that declares the tasks extension gets tasks from long calls, and the runs behind them are the only ones."""

from __future__ import annotations

import os
from typing import Any

import anyio
import httpx2
import pytest
from mcp import MCPError, StdioServerParameters, stdio_client
from mcp.client import Client
from mcp.client.extension import advertise
from mcp.client.streamable_http import streamable_http_client

from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.server import create_server
from atlas_mcp.server import tasks as server_tasks
from atlas_mcp.settings import load_settings
from tests.scripted_model import ScriptedModel
from tests.server.doors import COMMAND, LEGACY, call, http_server, text_of, until_ended
from tests.tasks import client as tasks
from tests.tasks.conftest import taking_tasks

pytestmark = pytest.mark.anyio

TEXT = "Tea is grown in Assam. It came to Europe in 1610. It was dear at first."
TASK: dict[str, Any] = {"goal": "Where is tea grown?", "materials": [{"name": "tea.txt", "text": TEXT}]}
UNKNOWN, UNDECLARED = -32602, -32021


async def test_a_team_task_is_a_task_at_once_and_its_result_is_the_runs(client: Client, plain: Client) -> None:
    task = await tasks.begun(client, "run_team_task", **TASK)
    assert task.status == "working"
    assert task.ttl_ms is None
    assert [run["run_id"] for run in (await call(plain, "list_runs"))["runs"]] == [task.task_id]
    ended = await tasks.until_ended(client.session, task.task_id)
    assert ended.status == "completed"
    assert ended.result is not None
    run = await call(plain, "get_run", run_id=task.task_id)
    assert ended.result["structuredContent"] == run
    assert "Assam" in run["result"]["output"]


async def test_a_host_that_waits_for_the_task_gets_what_others_get(client: Client, plain: Client) -> None:
    waited = await client.call_tool("run_team_task", TASK)
    other = await until_ended(plain, await call(plain, "run_team_task", **TASK))
    assert waited.structured_content is not None
    assert waited.structured_content.keys() == other.keys()
    assert waited.structured_content["result"] == other["result"]
    assert text_of(waited)[:1] == "{"


async def test_clients_that_do_not_declare_it_never_hear_of_tasks(atlas: Atlas, plain: Client) -> None:
    run = await call(plain, "run_team_task", **TASK, wait_seconds=0)
    assert run["status"] in {"queued", "working"}
    for method in (tasks.stand, tasks.cancel, tasks.answer):
        with pytest.raises(MCPError) as refused:
            await method(plain.session, run["run_id"])
        assert refused.value.code == UNDECLARED
    await until_ended(plain, run)
    # A handshake of before has no place for tasks, whatever the client says.
    server = create_server(atlas, transport="stdio")
    async with Client(server, mode="legacy", extensions=[advertise(tasks.EXTENSION)]) as older:
        assert older.protocol_version == LEGACY
        assert (await until_ended(older, await call(older, "run_team_task", **TASK)))["status"] == "completed"


async def test_a_quick_chat_is_answered_without_a_task(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_tasks, "PATIENCE_SECONDS", 60.0)  # what is quick is the test's to say, not the machine's
    reply = await client.session.call_tool("chat_with_agent", {"agent": "librarian", "message": "Hello."})
    assert reply.structured_content is not None
    assert reply.structured_content["status"] == "completed"


@pytest.mark.parametrize(
    ("tool", "whom"),
    [("chat_with_agent", {"agent": "librarian"}), ("chat_with_group", {"group": "sounding_board"})],
)
async def test_a_long_chat_becomes_a_task_that_gives_the_reply(
    held_model: ScriptedModel, tool: str, whom: dict[str, str]
) -> None:
    held_model.hold()
    async with open_atlas(load_settings()) as atlas, taking_tasks(atlas) as client:
        task = await tasks.begun(client, tool, **whom, message="Is tea good?", wait_seconds=0.2)
        assert (await tasks.stand(client.session, task.task_id)).status == "working"
        held_model.release()
        ended = await tasks.until_ended(client.session, task.task_id)
    assert ended.status == "completed"
    assert ended.result is not None
    reply = ended.result["structuredContent"]
    assert reply["status"] == "completed"
    assert reply["conversation"]
    assert reply.items() >= whom.items()
    assert (reply["reply"] if "reply" in reply else reply["messages"][0]["text"]).startswith("ok: ")


async def test_a_chat_that_fails_is_a_task_with_a_tools_error(held_model: ScriptedModel) -> None:
    held_model.hold()
    held_model.script([{"status": 400, "message": "no such thing"}])
    async with open_atlas(load_settings()) as atlas, taking_tasks(atlas) as client:
        task = await tasks.begun(client, "chat_with_agent", agent="librarian", message="Hello.", wait_seconds=0.2)
        held_model.release()
        ended = await tasks.until_ended(client.session, task.task_id)
    assert ended.status == "completed"
    assert ended.result is not None
    assert ended.result["isError"]
    assert ended.error is None


async def test_a_cancelled_task_is_a_cancelled_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLAS_OFFLINE_DELAY", "30")
    async with open_atlas(load_settings()) as slow, taking_tasks(slow) as client:
        task = await tasks.begun(client, "run_team_task", **TASK)
        await tasks.cancel(client.session, task.task_id)
        stopped = await tasks.stand(client.session, task.task_id)
        assert stopped.status == "cancelled"
        assert stopped.result is None
        run = await call(client, "get_run", run_id=task.task_id)
        assert run["status"] == "cancelled"
        await tasks.cancel(client.session, task.task_id)  # again, and nothing happens
        rooms = slow._keeper.opened  # pyright: ignore[reportPrivateUsage]
        assert rooms is not None
        with anyio.fail_after(60):
            while rooms.runs._runner.working:  # noqa: ASYNC110  # pyright: ignore[reportPrivateUsage]
                await anyio.sleep(0.01)  # nothing tells when those who were at work have put it down
        assert await call(client, "get_run", run_id=task.task_id) == run


async def test_a_task_of_another_caller_is_not_found(client: Client, atlas: Atlas) -> None:
    task = await tasks.begun(client, "run_team_task", **TASK)
    async with taking_tasks(atlas, "http") as other:  # the key's holder
        for task_id in (task.task_id, "run_of_nobody"):
            for method in (tasks.stand, tasks.cancel, tasks.answer):
                with pytest.raises(MCPError) as refused:
                    await method(other.session, task_id)
                assert refused.value.code == UNKNOWN
                assert refused.value.message == f"there is no task {task_id!r}"
    assert (await tasks.until_ended(client.session, task.task_id)).status == "completed"


async def test_a_task_goes_on_in_the_next_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLAS_OFFLINE_DELAY", "30")
    async with open_atlas(load_settings()) as first, taking_tasks(first) as client:
        task = await tasks.begun(client, "run_team_task", **TASK)
    monkeypatch.delenv("ATLAS_OFFLINE_DELAY")
    async with open_atlas(load_settings()) as second, taking_tasks(second) as client:
        stood = await tasks.stand(client.session, task.task_id)
        assert stood.created_at == task.created_at
        assert (await tasks.until_ended(client.session, task.task_id)).status == "completed"


async def test_a_task_is_had_over_http_and_over_stdio_too() -> None:
    with http_server() as (address, key, _):
        headers = {"Authorization": f"Bearer {key}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as http,
            Client(streamable_http_client(f"{address}/mcp", http_client=http), extensions=[tasks.TakesTasks()]) as web,
        ):
            task = await tasks.begun(web, "run_team_task", **TASK)
            assert (await tasks.until_ended(web.session, task.task_id)).status == "completed"
    parameters = StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], "serve"], env={**os.environ})
    async with Client(stdio_client(parameters), extensions=[tasks.TakesTasks()]) as local:
        with pytest.raises(MCPError):  # the key's holder had that one
            await tasks.stand(local.session, task.task_id)
        with anyio.fail_after(90):
            result = await local.call_tool("run_team_task", TASK)
        assert not result.is_error, text_of(result)
        assert (result.structured_content or {})["status"] == "completed"


async def test_a_long_rating_becomes_a_task_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLAS_OFFLINE_DELAY", "0.5")
    async with open_atlas(load_settings()) as slow, taking_tasks(slow) as client:
        task = await tasks.begun(client, "rate_text", text=TEXT, wait_seconds=0.1)
        ended = await tasks.until_ended(client.session, task.task_id)
    assert ended.result is not None
    assert ended.result["structuredContent"]["status"] == "completed"
    assert ended.result["structuredContent"]["ratings"]
