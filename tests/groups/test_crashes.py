"""A server is killed in the middle of a group's talk: nothing said is lost, and no finished turn is repeated."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from tests.groups.conftest import agent_of, speaks
from tests.main_job.hosts import DEADLINE, Host, ended, host, until_event
from tests.scripted_model import ScriptedModel

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

FOUR = ["strategist", "financial_analyst", "source_verifier", "quality_reviewer"]


def settings(model: ScriptedModel) -> dict[str, str]:
    return {"ATLAS_MODEL": "openai:scripted-1", "OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "k"}


async def test_a_talk_that_was_killed_goes_on_after_the_restart_and_repeats_no_finished_turn(
    home: Path, scripted_model: ScriptedModel
) -> None:
    async with host(home, **settings(scripted_model)) as server:
        held = {"text": "source_verifier has this to say.", "hold": True}
        scripted_model.on(lambda r: agent_of(r) == "source_verifier", held, times=1)
        for agent in FOUR:
            speaks(scripted_model, agent, f"{agent} has this to say.")
        run = await server.call("chat_with_group", group="sounding_board", message="A bakery?", wait_seconds=0)
        assert run["status"] == "working"
        await until_event(server, run["run_id"], "turn_finished", times=2)
        with anyio.fail_after(DEADLINE):
            await anyio.to_thread.run_sync(partial(scripted_model.wait_for_calls, 3))
        asked_before_the_kill = [agent_of(r) for r in scripted_model.requests]
        server.kill()
    assert asked_before_the_kill == FOUR[:3]
    scripted_model.release()
    async with host(home, **settings(scripted_model)) as server:
        done = await ended(server, run["run_id"])
        assert done["status"] == "completed", done["error"]
        again = await server.call("chat_with_group", group="sounding_board", message="And now?", wait_seconds=45)
    assert done["reply"] == "\n\n".join(f"{agent}: {agent} has this to say." for agent in FOUR)
    finished = Counter(e["turn_id"] for e in done["events"] if e["type"] == "turn_finished")
    assert set(finished.values()) == {1}
    assert len(finished) == done["usage"]["turns"] == 4
    assert any(e["type"] == "run_resumed" for e in done["events"])
    asked = Counter(agent_of(r) for r in scripted_model.requests)
    assert asked["strategist"] == asked["financial_analyst"] == 2, "once before the kill, once in the second talk"
    assert asked["source_verifier"] == 3, "its killed call is made once more"
    assert again["conversation"] == run["conversation"]
    assert [m["number"] for m in again["messages"]] == [7, 8, 9, 10], "the first talk stands once in the conversation"


async def test_a_cancelled_talk_keeps_what_was_said_and_frees_the_conversation(
    home: Path, scripted_model: ScriptedModel
) -> None:
    speaks(scripted_model, "strategist", "I would wait.")
    scripted_model.on(lambda r: agent_of(r) == "financial_analyst", {"text": "Too late.", "hold": True})
    async with host(home, **settings(scripted_model)) as server:
        run = await server.call("chat_with_group", group="sounding_board", message="A bakery?", wait_seconds=0)
        await until_event(server, run["run_id"], "turn_finished")
        with anyio.fail_after(DEADLINE):
            await anyio.to_thread.run_sync(partial(scripted_model.wait_for_calls, 2))
        cancelled = await server.call("cancel_run", run_id=run["run_id"])
        assert cancelled["status"] == "cancelled"
        assert cancelled["usage"]["turns"] == 1
        scripted_model.release()
        scripted_model.reset()
        again = await server.call("chat_with_group", group="sounding_board", message="@@say Go on.", wait_seconds=45)
    assert again["status"] == "completed"
    assert again["messages"][0]["number"] == 4, "the caller's two messages and what was said before stand in it"


async def test_messages_to_one_conversation_from_two_servers_queue_and_none_is_mixed_with_another(
    home: Path, scripted_model: ScriptedModel
) -> None:
    ids: list[str] = []

    async def ask(server: Host, word: str) -> None:
        handle = await server.call("chat_with_group", group="sounding_board", message=f"@@say {word}", wait_seconds=0)
        done = await ended(server, handle["run_id"], seconds=3 * DEADLINE)
        assert done["status"] == "completed", done["error"]
        ids.append(handle["run_id"])

    # One name: the client's own conversation with the group is the same for both.
    async with (
        host(home, **settings(scripted_model)) as one,
        host(home, **settings(scripted_model)) as two,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(ask, one, "first")
        tasks.start_soon(ask, two, "second")
    with closing(sqlite3.connect(home / "atlas.db")) as record:
        said = record.execute("SELECT conversation, run_id FROM group_message ORDER BY number").fetchall()
    assert len({conversation for conversation, _ in said}) == 1
    runs = [run for _, run in said]
    assert len(runs) == 10
    assert len(set(runs[:5])) == len(set(runs[5:])) == 1, "the second talk begins when the first is over"
    assert set(runs) == set(ids)
