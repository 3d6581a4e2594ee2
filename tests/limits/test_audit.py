"""The audit log: what was done is in it, once, and nobody can change it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from atlas_mcp.atlas import Atlas
from atlas_mcp.home_care import open_audit
from atlas_mcp.model.audited import Audited, AuditQuery
from atlas_mcp.settings import load_settings
from tests.server.doors import call, refused
from tests.server.test_resources import followers

if TYPE_CHECKING:
    from mcp.client import Client

pytestmark = pytest.mark.anyio
DEADLINE = 60
SECRET = "sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789"


async def entries(**query: Any) -> list[Audited]:
    async with open_audit(load_settings()) as trail:
        return await trail.list(AuditQuery(**query))


async def until(action: str, count: int = 1) -> list[Audited]:
    """The entries of that action, once there are so many."""
    with anyio.fail_after(DEADLINE):
        async with open_audit(load_settings()) as trail:
            found: list[Audited] = []
            async for entry in trail.follow(AuditQuery(action=action)):
                found.append(entry)
                if len(found) == count:
                    return found
    raise AssertionError


async def test_what_changes_is_in_the_record_before_its_answer_is_sent(atlas: Atlas, client: Client) -> None:
    before = datetime.now(UTC)
    await call(client, "update_agent_memory", agent="librarian", label="human", value="Ada likes tea.")
    (entry,) = await entries(action="update_agent_memory")
    assert (entry.caller, entry.via, entry.outcome) == (atlas.local_caller().id, "stdio", "done")
    assert entry.target == "agent=librarian label=human"
    assert before <= entry.at <= datetime.now(UTC)
    assert entry.client == "mcp"
    assert "Ada" not in entry.model_dump_json()
    await call(client, "chat_with_agent", agent="librarian", message="A message about tea.")
    (chat,) = await entries(action="chat_with_agent")
    assert chat.target == "agent=librarian"
    assert "tea" not in chat.model_dump_json()
    assert chat.trace_id is not None
    assert chat.trace_id.startswith("tr-")


async def test_what_only_reads_follows_and_opens_no_room(atlas: Atlas, client: Client) -> None:
    await call(client, "list_agents")
    (entry,) = await until("list_agents")
    assert entry.outcome == "done"
    status = await call(client, "get_status")
    rooms = {room["name"]: room["health"] for room in status["rooms"]}
    assert rooms["record"] == "idle"
    assert "audit" not in rooms


async def test_how_a_call_ended_is_told_by_the_kind_of_its_error(client: Client) -> None:
    await refused(client, "chat_with_agent", agent="nobody", message="Hello.")
    await refused(client, "update_agent_memory", agent="librarian", label="human", no_such_argument=SECRET)
    await refused(client, "delete_everything", agent=SECRET)
    (chat,) = await entries(action="chat_with_agent")
    assert (chat.outcome, chat.detail, chat.target) == ("failed", "UnknownAgent", "agent=nobody")
    (update,) = await entries(action="update_agent_memory")
    assert (update.outcome, update.detail) == ("failed", "InvalidInput")
    (unknown,) = await entries(action="delete_everything")
    assert (unknown.outcome, unknown.detail) == ("failed", "UnknownTool")
    assert SECRET not in json.dumps([entry.model_dump(mode="json") for entry in await entries()])


async def test_resources_and_subscriptions_are_recorded_by_their_address(atlas: Atlas, client: Client) -> None:
    run = await call(client, "run_team_task", goal="Say where tea grows.", wait_seconds=0)
    (task,) = await entries(action="run_team_task")
    assert task.target == f"run_id={run['run_id']}"
    await client.read_resource(f"atlas://runs/{run['run_id']}")
    (read,) = await until("resources/read")
    assert read.target == f"atlas://runs/{run['run_id']}"
    await call(client, "cancel_run", run_id=run["run_id"])


async def test_a_cancelled_call_is_recorded_as_cancelled(atlas: Atlas, client: Client) -> None:
    run = await call(client, "run_team_task", goal="Say where tea grows.", approve_plan=True, wait_seconds=45)
    assert run["status"] == "awaiting_answer"
    seq = run["events"][-1]["seq"]
    waiting = {"run_id": run["run_id"], "since": seq, "wait_seconds": 45}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.call_tool, "get_run", waiting)
        with anyio.fail_after(DEADLINE):
            while not followers(atlas):  # noqa: ASYNC110  # nothing tells when somebody has begun to wait
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    found = await until("get_run")
    assert found[-1].outcome == "cancelled"
    await call(client, "cancel_run", run_id=run["run_id"])


async def test_no_line_of_the_log_can_be_forged(client: Client) -> None:
    forged = "librarian\n2026-01-01 caller=root\x1b[2K\u202eevil\u2028"
    await refused(client, "chat_with_agent", agent=forged, message="Hello.")
    (entry,) = await entries(action="chat_with_agent")
    assert entry.target.isprintable()
    assert "\\n2026" in entry.target
