"""Debates and learnings as a client sees them; agents of one run are gone after it, however its process ended."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from tests.main_job.hosts import DEADLINE, ended, host, until_event
from tests.main_job.test_crashes import TEXT
from tests.scripted_model import ScriptedModel, last_user_text
from tests.teamwork.test_modes_on_real_rooms import answer, guests_in_letta, guests_recorded

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]
LOG = {"name": "log.txt", "text": TEXT}


@pytest.fixture
def _held(scripted_model: ScriptedModel) -> None:
    """The moderator's first answer is held back, when both sides have spoken for the first time."""

    def reply(request: dict[str, Any]) -> dict[str, Any]:
        return {"json": answer(last_user_text(request))}

    scripted_model.on('title="Points"', {"call": lambda request: {**reply(request), "hold": True}}, times=1)
    scripted_model.on(lambda request: 'answer_schema title="' in last_user_text(request), {"call": reply})


def using(model: ScriptedModel) -> dict[str, str]:
    return {"ATLAS_MODEL": "openai:scripted-1", "OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "k"}


async def killed_in_a_debate(home: Path, model: ScriptedModel) -> str:
    async with host(home, **using(model)) as server:
        run = await server.call("run_team_task", goal="When to light?", materials=[LOG], mode="debate", wait_seconds=0)
        await until_event(server, run["run_id"], "turn_finished", times=3)  # the plan, and both sides
        await anyio.to_thread.run_sync(partial(model.wait_for_calls, 4))
        server.kill()
    assert len(guests_in_letta(home)) == 2
    return run["run_id"]


@pytest.mark.usefixtures("_held")
async def test_a_debate_that_was_killed_goes_on_with_its_own_agents_and_sends_them_away(
    home: Path, scripted_model: ScriptedModel
) -> None:
    run_id = await killed_in_a_debate(home, scripted_model)
    scripted_model.release()
    async with host(home, **using(scripted_model)) as server:
        run = await ended(server, run_id)
    assert run["status"] == "completed", run["error"]
    assert run["result"]["agreement"] == 0.5
    finished = Counter(e["turn_id"] for e in run["events"] if e["type"] == "turn_finished")
    assert set(finished.values()) == {1}
    assert guests_in_letta(home) == []
    assert guests_recorded(home) == 0


@pytest.mark.usefixtures("_held")
async def test_agents_of_a_run_that_ended_while_no_process_was_there_are_swept_at_the_next_start(
    home: Path, scripted_model: ScriptedModel
) -> None:
    run_id = await killed_in_a_debate(home, scripted_model)
    with closing(sqlite3.connect(home / "atlas.db")) as record:
        record.execute("UPDATE run SET status = 'cancelled' WHERE id = ?", (run_id,))
        record.commit()
    scripted_model.release()
    async with host(home, **using(scripted_model)) as server:
        assert (await server.call("get_run", run_id=run_id))["status"] == "cancelled"
        with anyio.fail_after(DEADLINE):
            left = guests_recorded(home)
            while left:
                await anyio.sleep(0.05)
                left = guests_recorded(home)
    assert guests_in_letta(home) == []


async def test_what_a_run_taught_is_found_by_search_and_given_to_the_next_run(home: Path) -> None:
    async with host(home) as server:
        goal = "How was the lamp kept, and how often did the light fail?"
        first = await ended(server, (await server.call("run_team_task", goal=goal, materials=[LOG]))["run_id"])
        learned = first["result"]["learned"]
        assert learned, [e["text"] for e in first["events"] if e["type"] == "learned"]
        found = await server.call("search_memory", query="lamp light fail", kinds=["long_term", "procedural"])
        assert {hit["id"].rsplit("/", 1)[0] for hit in found["hits"]} <= {one["id"] for one in learned}
        assert found["hits"][0]["kind"] in {"long_term", "procedural"}
        assert found["hits"][0]["trust"] < 1
        again = await ended(server, (await server.call("run_team_task", goal=goal, materials=[LOG]))["run_id"])
        [recalled] = [e for e in again["events"] if e["type"] == "recalled"]
        assert set(recalled["data"]["ids"]) <= {one["id"] for one in learned}
        facts = {one["text"] for one in learned if one["kind"] == "fact"}
        assert not facts & {one["text"] for one in again["result"]["learned"]}
