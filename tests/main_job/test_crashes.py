"""The server is killed in the middle of its work and started again: nothing is lost, nothing is done twice."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from tests.main_job.hosts import DEADLINE, ended, host, until_event
from tests.scripted_model import ScriptedModel, last_user_text

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

TEXT = """The keeper lit the lamp at dusk and trimmed the wick every four hours.

The oil came by boat on Fridays, together with bread and letters. In winter the boat did not come for weeks.

He wrote the weather into his log each morning. The log shows that the light failed twice in eleven years."""


def turns_in_context(request: dict[str, Any], text: str) -> int:
    """How often the user said this in what the model was shown."""
    said = [m["content"] for m in request["messages"] if m["role"] == "user"]
    return sum(text in (c if isinstance(c, str) else str(c)) for c in said)


async def test_a_turn_that_was_killed_is_answered_after_the_restart_and_stands_once_in_the_thread(
    home: Path, scripted_model: ScriptedModel
) -> None:
    model = {"ATLAS_MODEL": "openai:scripted-1", "OPENAI_BASE_URL": scripted_model.url, "OPENAI_API_KEY": "k"}
    scripted_model.hold()
    async with host(home, **model) as server:
        handle = await server.call("chat_with_agent", agent="librarian", message="@@say Noted. (first)", wait_seconds=0)
        assert handle["status"] == "working"
        assert f'get_run(run_id="{handle["run_id"]}")' in handle["note"]
        await anyio.to_thread.run_sync(partial(scripted_model.wait_for_calls, 1))
        server.kill()
    scripted_model.release()
    async with host(home, **model) as server:
        run = await ended(server, handle["run_id"])
        assert (run["status"], run["reply"]) == ("completed", "Noted. (first)")
        again = await server.call("chat_with_agent", agent="librarian", message="@@say Yes. (second)")
        assert again["reply"] == "Yes. (second)"
        assert again["conversation"] == handle["conversation"]
    assert turns_in_context(scripted_model.last, "(first)") == 1
    assert scripted_model.calls == 3, "the killed call, the same turn once more, and the second turn"


async def test_a_team_task_that_was_killed_goes_on_and_repeats_no_finished_turn(home: Path) -> None:
    async with host(home, ATLAS_OFFLINE_DELAY="1") as server:  # much is left to do, however late it is killed
        run = await server.call(
            "run_team_task",
            goal="How was the light kept, and how often did it fail?",
            materials=[{"name": "log.txt", "text": TEXT}],
            wait_seconds=0,
        )
        await until_event(server, run["run_id"], "turn_finished", times=3)
        server.kill()
    async with host(home) as server:
        done = await ended(server, run["run_id"])
    assert done["status"] == "completed", done["error"]
    assert [e["seq"] for e in done["events"]] == list(range(1, len(done["events"]) + 1))
    finished = Counter(e["turn_id"] for e in done["events"] if e["type"] == "turn_finished")
    assert set(finished.values()) == {1}
    assert any(e["type"] == "run_resumed" for e in done["events"])
    assert done["usage"]["turns"] == len(finished)
    assert done["result"]["evidence"]
    assert {r["criterion"] for r in done["result"]["ratings"]} == {
        "answers the goal",
        "every claim is supported by the materials",
        "clear and well organised",
    }


async def test_two_servers_on_one_home_share_agents_and_lose_no_turn(home: Path, scripted_model: ScriptedModel) -> None:
    model = {"ATLAS_MODEL": "openai:scripted-1", "OPENAI_BASE_URL": scripted_model.url, "OPENAI_API_KEY": "k"}
    replies: list[str] = []

    async def chat(server: Any, word: str) -> None:
        reply = await server.call("chat_with_agent", agent="strategist", message=f"@@say heard {word}")
        replies.append(reply["reply"])

    with anyio.fail_after(DEADLINE):
        async with host(home, **model) as one, host(home, **model) as two, anyio.create_task_group() as group:
            for number in range(6):
                group.start_soon(chat, one, f"a{number}")
                group.start_soon(chat, two, f"b{number}")
    words = {f"{server}{number}" for server in "ab" for number in range(6)}
    assert sorted(replies) == sorted(f"heard {word}" for word in words)
    # One thread, one turn at a time: each turn saw all turns before it.
    lengths = sorted(sum(m["role"] == "user" for m in request["messages"]) for request in scripted_model.requests)
    assert lengths == list(range(1, 13))
    assert {last_user_text(r).removeprefix("@@say heard ") for r in scripted_model.requests} == words


async def test_a_run_of_a_killed_server_is_taken_over_by_the_other_one(home: Path) -> None:
    async with host(home, "survivor") as survivor:
        await survivor.call("list_runs")
        async with host(home, "victim", ATLAS_OFFLINE_DELAY="1") as victim:
            run = await victim.call(
                "run_team_task", goal="How was the light kept?", materials=[{"name": "l", "text": TEXT}], wait_seconds=0
            )
            await until_event(victim, run["run_id"], "turn_finished")
            victim.kill()
        done = await ended(survivor, run["run_id"])
    assert done["status"] == "completed", done["error"]


async def test_what_a_tool_of_a_killed_server_left_behind_is_swept_at_the_next_start(home: Path) -> None:
    left = home / "tmp" / "tool-0123"
    left.mkdir(parents=True)
    (left / "file").write_text("half")
    async with host(home):
        pass
    assert list((home / "tmp").iterdir()) == []
