"""Modes and the librarian on the real rooms, with the offline model and with a scripted one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from atlas_mcp.model.sections import sections
from atlas_mcp.model.task import Material, TeamTask
from atlas_mcp.models.config import ModelConfig
from tests.scripted_model import ScriptedModel, last_user_text
from tests.teamwork.house import ME, QUOTE, TASK, good_answer, open_house, scripted

pytestmark = pytest.mark.anyio
pytest_plugins = ["tests.scripted"]
VOICES = [
    {"name": "The Saver", "persona": "I count every drop of oil."},
    {"name": "The Guard", "persona": "I think of the ships."},
]


def answer(prompt: str) -> dict[str, Any]:
    match sections(prompt, "answer_schema")[-1].attributes["title"]:
        case "Plan":
            return {"mode": "debate", "debaters": VOICES, "rounds": 2}
        case "Points":
            return {"points": ["The lamp is to be lit at dusk.", "One keeper is enough."]}
        case "Statement":
            stands = ["agree", "agree" if "You are The Saver" in prompt else "disagree"]
            votes = [{"point": n, "stand": s} for n, s in enumerate(stands, 1)] if "<points " in prompt else []
            evidence = [{"claim": "lit at dusk", "source": "log.txt", "quote": QUOTE}]
            return {"text": "Light it at dusk.", "evidence": evidence, "votes": votes}
        case _:
            return good_answer(prompt)


def guests_in_letta(home: Path) -> list[str]:
    with closing(sqlite3.connect(home / "letta.db")) as letta:
        return [row[0] for row in letta.execute("SELECT name FROM agent WHERE name LIKE '%\\_of\\_%' ESCAPE '\\'")]


def guests_recorded(home: Path) -> int:
    with closing(sqlite3.connect(home / "atlas.db")) as record:
        queries = (
            "SELECT count(*) FROM agent WHERE name LIKE '%\\_of\\_%' ESCAPE '\\'",
            "SELECT count(*) FROM block WHERE owner LIKE '%\\_of\\_%' ESCAPE '\\'",
            "SELECT count(*) FROM artifact WHERE name = 'guests'",
        )
        return sum(record.execute(query).fetchone()[0] for query in queries)


@pytest.fixture
def _debating(scripted_model: ScriptedModel) -> None:
    scripted_model.on(
        lambda request: 'answer_schema title="' in last_user_text(request),
        {"call": lambda request: {"json": answer(last_user_text(request))}},
    )


@pytest.mark.usefixtures("_debating")
async def test_agents_of_a_run_alone_live_while_it_runs_and_are_not_listed(
    home: Path, scripted_model: ScriptedModel
) -> None:
    seen: set[str] = set()
    scripted_model.reset()  # whoever writes after the agreement waits until it was looked who is there
    scripted_model.on("Level of agreement", {"call": lambda r: {"json": answer(last_user_text(r)), "hold": not seen}})
    scripted_model.on(
        lambda request: 'answer_schema title="' in last_user_text(request),
        {"call": lambda request: {"json": answer(last_user_text(request))}},
    )
    with anyio.fail_after(120):
        async with open_house(home, scripted(scripted_model.url)) as house:
            run_id = await house.submit(TASK.model_copy(update={"mode": "debate"}))
            listed: set[str] = set()
            async for event in house.runs.follow(run_id):
                if event.type == "agreement":
                    seen.update(guests_in_letta(home))
                    listed = {agent.name for agent in await house.constellation.list_agents()}
                    scripted_model.release()
            run = await house.runs.get(ME, run_id)
    assert run.status == "completed", run.error
    assert run.result is not None
    assert run.result.agreement == 0.5
    assert len(run.result.disagreements) == 1
    assert {name.split("_of_")[0] for name in seen} == {"the_saver", "the_guard"}
    assert not seen & listed
    assert guests_in_letta(home) == []
    assert guests_recorded(home) == 0


@pytest.mark.usefixtures("_debating")
async def test_a_cancelled_debate_sends_its_own_agents_away(home: Path, scripted_model: ScriptedModel) -> None:
    scripted_model.reset()
    scripted_model.on('title="Points"', {"call": lambda r: {"json": answer(last_user_text(r)), "hold": True}})
    scripted_model.on(
        lambda request: 'answer_schema title="' in last_user_text(request),
        {"call": lambda request: {"json": answer(last_user_text(request))}},
    )
    with anyio.fail_after(120):
        async with open_house(home, scripted(scripted_model.url)) as house:
            run_id = await house.submit(TASK.model_copy(update={"mode": "debate"}))
            async for event in house.runs.follow(run_id):
                if event.type == "turn_started" and "at issue" in event.text:
                    break
            assert len(guests_in_letta(home)) == 2
            await house.runs.cancel(ME, run_id)
            left = guests_recorded(home)
            while left:  # they go when the turns have stopped
                await anyio.sleep(0.02)
                left = guests_recorded(home)
    assert guests_in_letta(home) == []


@pytest.mark.usefixtures("_debating")
async def test_agents_that_a_dead_process_left_behind_are_found_and_deleted_once_the_run_has_ended(
    home: Path, scripted_model: ScriptedModel
) -> None:
    scripted_model.reset()
    scripted_model.on('title="Points"', {"call": lambda r: {"json": answer(last_user_text(r)), "hold": True}})
    scripted_model.on(
        lambda request: 'answer_schema title="' in last_user_text(request),
        {"call": lambda request: {"json": answer(last_user_text(request))}},
    )
    with anyio.fail_after(120):
        async with open_house(home, scripted(scripted_model.url)) as house:
            run_id = await house.submit(TASK.model_copy(update={"mode": "debate"}))
            async for event in house.runs.follow(run_id):
                if event.type == "turn_started" and "at issue" in event.text:
                    break
            assert not await house.constellation.dismiss(run_id, ended=False)  # it goes on
    assert len(guests_in_letta(home)) == 2  # the process ended, the run did not
    with closing(sqlite3.connect(home / "atlas.db")) as record:
        record.execute("UPDATE run SET status = 'cancelled' WHERE id = ?", (run_id,))
        record.execute("DELETE FROM agent WHERE name LIKE 'the_saver%'")  # as if it had died before noting it
        record.execute("DELETE FROM block WHERE owner LIKE 'the_saver%'")
        record.commit()
    scripted_model.release()
    with anyio.fail_after(120):
        async with open_house(home, scripted(scripted_model.url)) as house:
            assert await house.constellation.dismiss(run_id, ended=False)
    assert guests_in_letta(home) == []
    assert guests_recorded(home) == 0


async def test_the_offline_model_debates_works_in_one_team_and_learns(home: Path) -> None:
    text = (Path(__file__).parents[2] / "LICENSE").read_text()
    goal = "Which rights does the License grant, and which conditions apply to redistribution?"
    task = TeamTask(goal=goal, materials=(Material(name="LICENSE", text=text),))
    with anyio.fail_after(200):
        async with open_house(home, ModelConfig()) as house:
            alone = await house.ended(await house.submit(task.model_copy(update={"mode": "team"})))
            debate = await house.ended(await house.submit(task.model_copy(update={"mode": "debate"})))
    for run in (alone, debate):
        assert run.status == "completed", run.error
        assert run.result is not None
        assert run.result.evidence
        assert all(e.quote in text for e in run.result.evidence)
        assert run.result.ratings
    assert alone.result is not None
    assert alone.result.learned
    assert all(one.score >= 4.0 for one in alone.result.learned)
    assert debate.result is not None
    assert debate.result.agreement is not None
    [recalled] = [e for e in debate.events if e.type == "recalled"]
    assert set(recalled.data["ids"]) <= {one.id for one in alone.result.learned}
    assert not {one.text for one in debate.result.learned} & {one.text for one in alone.result.learned}
