"""The librarian's quality check of a result: 4.0 passes, what is measured and what the librarian says."""

from __future__ import annotations

from typing import Any

import pytest

from atlas_mcp.model.result import Check, Cited, Missing, Result, Round
from atlas_mcp.teamwork.quality import measured
from tests.guard.watched import answers, by_one, does_well, findings, team_task, told, watched
from tests.scripted_model import ScriptedModel

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
LOW = {"quality": "answers", "score": 2.0, "reason": "It says when the lamp was lit, not how it was kept."}


def judging(*marks: dict[str, Any]) -> dict[str, Any]:
    return {"json": {"learnings": [], "quality": [*marks]}}


async def test_a_result_that_is_good_passes_with_its_scores(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_one(scripted_model)
    scripted_model.on(answers("Proposals"), judging({"quality": "answers", "score": 5, "reason": "It does."}))
    does_well(scripted_model)
    async with watched(monkeypatch, scripted_model) as (_, client):
        run = await team_task(client)
    quality = run["result"]["quality"]
    assert run["result"]["passed"]
    assert quality["librarian: answers"] == 5
    assert (quality["complete"], quality["evidenced"], quality["rated"]) == (5, 5, 4.5)
    assert quality["mean"] >= 4
    assert not told(run, "guard_failed")


async def test_a_result_below_the_mark_does_not_pass_and_says_why(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_one(scripted_model)
    scripted_model.on(answers("Proposals"), judging({**LOW, "score": 1.5}))
    does_well(scripted_model)
    async with watched(monkeypatch, scripted_model) as (_, client):
        run = await team_task(client)
    assert not run["result"]["passed"]
    [unmet] = run["result"]["unmet"]
    assert unmet == (
        "librarian's quality check: judged too low: librarian: answers 1.5; "
        "answers: It says when the lamp was lit, not how it was kept."
    )
    [failed] = told(run, "guard_failed")
    assert (failed["actor"], failed["data"]["layer"]) == ("librarian", "quality")
    assert run["result"]["guard"][0]["finding"]["rule"] == "quality"
    assert "it does not pass" in told(run, "run_finished")[0]["text"]


async def test_invented_evidence_brings_a_result_down_though_its_raters_like_it(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_one(scripted_model)
    invented = findings("The lamp was lit at dusk.", quote="The keeper never lit the lamp before midnight.")
    scripted_model.on(answers("Findings"), invented)
    does_well(scripted_model)
    async with watched(monkeypatch, scripted_model) as (_, client):
        run = await team_task(client)
    assert run["result"]["quality"]["evidenced"] == 1
    assert not run["result"]["passed"]
    assert any("evidenced 1" in text for text in run["result"]["unmet"])


async def test_the_check_that_is_off_judges_nothing(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_one(scripted_model)
    scripted_model.on(answers("Proposals"), judging({**LOW, "score": 1}))
    does_well(scripted_model)
    async with watched(monkeypatch, scripted_model, ATLAS_GUARD_QUALITY="false") as (_, client):
        run = await team_task(client)
    assert run["result"]["passed"]
    assert run["result"]["quality"] == {}


def test_what_is_measured_of_a_result() -> None:
    fault = Check(name="numbers", passed=False, text="12,345 is nowhere")
    lost = [Missing(agent="a", what=f"evidence for: {n}", why="no") for n in "xy"]
    gone = Missing(agent="b", what="find the log", why="it failed")
    unrated = Missing(agent="c", what="its rating in round 1", why="it failed")
    result = Result(
        output="text",
        evidence=[Cited(claim="a", source="b", quote="c")] * 2,
        missing=[*lost, gone, unrated],
        checks=[fault, fault, Check(name="length", passed=False, text="short")],
        compared=[Round(round=1, mean=4.0, criteria={"clear": 3.5, "full": 4.5})],
    )
    assert measured(result, materials=True) == {"complete": 4.25, "supported": 2.0, "evidenced": 3.0, "rated": 4.0}
    assert measured(result, materials=True, absent={"b"})["complete"] == 5.0
    assert measured(Result(output="text"), materials=True) == {"complete": 5.0, "evidenced": 2.0}
    assert measured(Result(output="text"), materials=False) == {"complete": 5.0}
