"""A text rated by itself, through the door that clients use."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.errors import ModelFailed
from atlas_mcp.model.rating import MAX_TEXT, TEXT_CRITERIA
from atlas_mcp.settings import load_settings
from tests.scripted_model import ScriptedModel, last_user_text
from tests.server.doors import call, refused
from tests.teamwork.house import good_answer

if TYPE_CHECKING:
    from mcp.client import Client

pytestmark = pytest.mark.anyio
pytest_plugins = ["tests.scripted"]

GOOD = """# The harbour

The harbour opened in 1901. It handled grain and coal.

# Its end

The river silted up. So the harbour closed in 1955, and the town lost its trade.
"""
BAD = " and ".join(f"nobody knew what had come of the {thing}" for thing in ("mill", "river", "bread", "ice") * 12)


async def test_a_text_is_rated_by_several_with_reasons_and_quotations(client_of_each_era: Client) -> None:
    rated = await call(client_of_each_era, "rate_text", text=GOOD)
    assert (rated["status"], rated["passed"]) == ("completed", True)
    assert {r["criterion"] for r in rated["ratings"]} == set(TEXT_CRITERIA)
    assert len({r["rater"] for r in rated["ratings"]}) >= 2
    assert all(r["quote"] in GOOD and r["reason"] for r in rated["ratings"])
    assert "offline model" in rated["note"]


async def test_a_bad_text_fails_and_each_unmet_criterion_is_named(client: Client) -> None:
    rated = await call(client, "rate_text", text=BAD)
    assert rated["passed"] is False
    assert rated["unmet"]
    assert min(r["score"] for r in rated["ratings"]) < 4


async def test_the_callers_criteria_count_and_lengths_are_checked_without_a_rater(client: Client) -> None:
    rated = await call(client, "rate_text", text=GOOD, criteria=["at most 10 words"])
    assert rated["passed"] is False
    [fault] = [c for c in rated["checks"] if not c["passed"]][:1]
    assert fault["name"] == "length"
    assert "too many" in fault["text"]


async def test_what_cannot_be_rated_is_refused_with_what_can(client: Client) -> None:
    assert "nothing to rate" in await refused(client, "rate_text", text="  ")
    assert "60,000" in await refused(client, "rate_text", text="x" * (MAX_TEXT + 1))
    assert "criteria" in await refused(client, "rate_text", text="x", criteria=["c"] * 13)


async def test_raters_that_pass_everything_rate_nothing_and_the_reason_is_told(
    monkeypatch: pytest.MonkeyPatch, scripted_model: ScriptedModel
) -> None:
    def full_marks(request: dict[str, Any]) -> dict[str, Any]:
        scores = good_answer(last_user_text(request))["scores"]
        return {"json": {"scores": [{**s, "score": 5} for s in scores]}}

    scripted_model.on(lambda request: 'title="Verdict"' in last_user_text(request), {"call": full_marks})
    _use(monkeypatch, scripted_model)
    with anyio.fail_after(90):
        async with open_atlas(load_settings()) as atlas:
            with pytest.raises(ModelFailed, match=r"nobody gave ratings that count: .*damaged on purpose"):
                await atlas.rate_text(atlas.local_caller(), GOOD)
    assert scripted_model.calls == 12  # three raters and three substitutes, each with one test


async def test_a_rating_that_takes_longer_is_a_run_that_goes_on(
    monkeypatch: pytest.MonkeyPatch, scripted_model: ScriptedModel
) -> None:
    scripted_model.hold()
    scripted_model.on(
        lambda request: 'title="Verdict"' in last_user_text(request),
        {"call": lambda request: {"json": good_answer(last_user_text(request))}},
    )
    _use(monkeypatch, scripted_model)
    with anyio.fail_after(60):
        async with open_atlas(load_settings()) as atlas:
            caller = atlas.local_caller()
            rated = await atlas.rate_text(caller, GOOD, wait_seconds=0)
            assert (rated.status, rated.passed) == ("working", None)
            scripted_model.release()
            run = await _ended(atlas, rated.run_id)
            assert run.result is not None
            assert run.result.passed
            assert run.kind == "rating"
            again = await atlas.outcome(caller, rated.run_id)
    assert again.model_dump()["passed"] is True


async def test_a_rating_whose_process_ended_goes_on_in_the_next_without_repeating_a_finished_turn(
    monkeypatch: pytest.MonkeyPatch, scripted_model: ScriptedModel
) -> None:
    def answer(request: dict[str, Any]) -> dict[str, Any]:
        held = {"hold": True} if len(scripted_model.requests) == 3 else {}
        return {"json": good_answer(last_user_text(request)), **held}

    scripted_model.on(lambda request: 'title="Verdict"' in last_user_text(request), {"call": answer})
    _use(monkeypatch, scripted_model)
    with anyio.fail_after(90):
        async with open_atlas(load_settings()) as atlas:
            rated = await atlas.rate_text(atlas.local_caller(), GOOD, wait_seconds=0)
            finished = 0
            since = 0
            while finished < 2:
                run = await atlas.get_run(atlas.local_caller(), rated.run_id, since=since, wait_seconds=20)
                finished += sum(e.type == "turn_finished" for e in run.events)
                since = run.events[-1].seq if run.events else since
            await scripted_model.arrived(3, 60)
        scripted_model.release()
        async with open_atlas(load_settings()) as atlas:
            run = await _ended(atlas, rated.run_id)
    assert run.result is not None
    assert run.result.passed
    assert len({r.rater for r in run.result.ratings}) == 3
    asked = Counter(json.dumps(r["messages"]) for r in scripted_model.requests)
    assert sorted(asked.values()) == [1, 1, 2]  # only the turn that was cut short
    assert run.usage.turns == 3


def _use(monkeypatch: pytest.MonkeyPatch, model: ScriptedModel) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", model.url)
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    monkeypatch.setenv("ATLAS_MODEL", "openai:scripted-1")


async def _ended(atlas: Atlas, run_id: str):
    since = 0
    run = await atlas.get_run(atlas.local_caller(), run_id, wait_seconds=0)
    while run.status not in {"completed", "failed", "cancelled"}:
        since = run.events[-1].seq if run.events else since
        run = await atlas.get_run(atlas.local_caller(), run_id, since=since, wait_seconds=20)
    return run
