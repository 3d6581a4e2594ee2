"""Evaluations carried out by a real ATLAS: what is better is found to be better, and the home stays as it was."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from atlas_mcp._attempts import HOPELESS
from atlas_mcp.errors import (
    BudgetSpent,
    InvalidInput,
    MissingKey,
    Unavailable,
    UnknownAgent,
    UnknownModel,
    UnpricedModel,
)
from atlas_mcp.evaluating import compare, open_evaluating
from atlas_mcp.model.evaluated import Variant
from atlas_mcp.model.example import Baseline, Expected, Work
from atlas_mcp.model.price import Price
from atlas_mcp.settings import load_settings
from tests.evaluation.world import (
    BETTER,
    GOOD,
    POOR,
    WORSE,
    answer_by_persona,
    chat,
    evaluating_on,
    settings_on,
)
from tests.scripted_model import last_user_text
from tests.teamwork.house import TASK, good_answer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.scripted_model import ScriptedModel

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]
pytest_plugins = ["tests.scripted"]

PRICES = {"openai:scripted-1": Price(input_per_million=1.0, output_per_million=1.0)}
GOOD_ONE = Variant(name="better", prompts={"persona.librarian": BETTER})
POOR_ONE = Variant(name="worse", prompts={"persona.librarian": WORSE})


def count(home: Path, table: str) -> int:
    with closing(sqlite3.connect(home / "atlas.db")) as record:
        return record.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def charged(home: Path) -> float:
    """Dollars that stand in the home's ledger."""
    with closing(sqlite3.connect(home / "atlas.db")) as record:
        return record.execute("SELECT coalesce(sum(usd), 0) FROM ledger").fetchone()[0]


def lines(home: Path) -> list[dict[str, Any]]:
    """All that was told of the work and waits in the home's spool."""
    found = [line for path in (home / "spool").rglob("*.spans") for line in path.read_text().splitlines()]
    return [json.loads(line) for line in found if line.startswith("{")]


@pytest.mark.usefixtures("_uncarried")
async def test_a_better_persona_is_found_better_and_the_home_stays_as_it_was(
    home: Path, tmp_path: Path, scripted_model: ScriptedModel
) -> None:
    answer_by_persona(scripted_model)
    examples = [chat(n) for n in range(6)]
    async with evaluating_on(settings_on(home, scripted_model), examples, tmp_path / "set.toml") as evaluating:
        job = await evaluating.prepare([POOR_ONE, GOOD_ONE])
        assert job.estimate.attempts == 12
        worse, better = await evaluating.run(job)
        assert {one.name for one in evaluating.kept()} == {worse.name, better.name}
    found = compare(worse, better)
    assert (worse.means["rating"], better.means["rating"]) == (1.75, 4.25)
    assert found.quality == "better"
    assert "does better work" in found.text
    rating = found.of("rating")
    assert rating is not None
    assert rating.p == pytest.approx(2 / 64)
    assert {a.output for a in better.attempts} == {GOOD}
    assert {a.output for a in worse.attempts} == {POOR}
    assert all(a.trace_id for a in better.attempts)
    assert compare(better, worse).quality == "worse"
    assert (count(home, "run"), count(home, "agent")) == (0, 0)
    assert not any((home / "evaluations" / ".work").iterdir())
    notes = [line["note"] for line in lines(home) if line.get("kind") == "run" and "evaluation" in line["note"]["name"]]
    assert {note["metrics"]["rating"] for note in notes} == {1.75, 4.25}


async def test_no_attempt_sees_what_another_left_in_an_agents_memory(
    home: Path, tmp_path: Path, scripted_model: ScriptedModel
) -> None:
    answer_by_persona(scripted_model)
    async with evaluating_on(settings_on(home, scripted_model), [chat(1), chat(2)], tmp_path / "s.toml") as evaluating:
        await evaluating.run(await evaluating.prepare([GOOD_ONE], repeat=2))
    asked = [r for r in scripted_model.requests if "When was lamp" in last_user_text(r)]
    asked = [r for r in asked if 'title="' not in last_user_text(r)]
    assert len(asked) == 4
    assert all(len([m for m in r["messages"] if m["role"] == "user"]) == 1 for r in asked), "each begins anew"


async def test_an_evaluation_that_was_stopped_goes_on_with_what_is_missing(
    home: Path, tmp_path: Path, scripted_model: ScriptedModel
) -> None:
    answer_by_persona(scripted_model)
    examples = [chat(n) for n in range(6)]
    stopped = anyio.Event()
    async with evaluating_on(settings_on(home, scripted_model), examples, tmp_path / "set.toml") as evaluating:
        job = await evaluating.prepare([GOOD_ONE], names=["mine"])
        async with anyio.create_task_group() as tasks:

            def stop(text: str, done: int, total: int) -> None:
                stopped.set()
                tasks.cancel_scope.cancel()

            tasks.start_soon(evaluating.run, job, stop)
        assert stopped.is_set()
        made = evaluating.kept("mine")[0]
        assert 1 <= len(made.attempts) < 6
        assert made.ended_at is None
        told: list[str] = []
        again = await evaluating.prepare([GOOD_ONE], names=["mine"])
        assert again.estimate.attempts == 6 - len(made.attempts)
        [done] = await evaluating.run(again, lambda text, n, total: told.append(text))
        assert sum("completed" in text for text in told) == 6 - len(made.attempts)
        assert done.ended_at is not None
        assert len(done.attempts) == 6
        with pytest.raises(InvalidInput, match="is finished"):
            await evaluating.prepare([GOOD_ONE], names=["mine"])


async def test_a_model_that_always_fails_ends_the_evaluation_early_with_the_reason(
    home: Path, tmp_path: Path, scripted_model: ScriptedModel
) -> None:
    scripted_model.on(lambda request: True, {"status": 401, "message": "no such model for you"})
    examples = [chat(n) for n in range(12)]
    async with evaluating_on(settings_on(home, scripted_model), examples, tmp_path / "set.toml") as evaluating:
        job = await evaluating.prepare([Variant(name="now")], names=["mine"])
        with pytest.raises(Unavailable, match=r"attempts failed, and none succeeded"):
            await evaluating.run(job)
        made = evaluating.kept("mine")[0].attempts
    assert HOPELESS <= len(made) < 12
    assert {attempt.status for attempt in made} == {"failed"}


async def test_the_budget_leaves_out_what_it_has_no_room_for_and_rates_what_was_done(
    home: Path, tmp_path: Path, scripted_model: ScriptedModel
) -> None:
    answer_by_persona(scripted_model)
    settings = settings_on(home, scripted_model).model_copy(update={"prices": PRICES})
    examples = [chat(n, baseline=Baseline(input_tokens=6_000, output_tokens=500)) for n in range(6)]
    async with evaluating_on(settings, examples, tmp_path / "set.toml") as evaluating:
        whole = await evaluating.prepare([GOOD_ONE])
        assert whole.estimate.cost_usd is not None
        budget = whole.estimate.cost_usd / 2
        [done] = await evaluating.run(await evaluating.prepare([GOOD_ONE], names=["small"], budget_usd=budget))
        completed = [attempt for attempt in done.attempts if attempt.status == "completed"]
        assert 2 <= len(completed) < 6
        assert {attempt.status for attempt in done.attempts} == {"completed", "cut"}
        assert all(attempt.ratings for attempt in completed)
        assert done.usage.cost_usd is not None
        assert 0 < done.usage.cost_usd <= budget
        assert done.ended_at is None
        [rest] = await evaluating.run(await evaluating.prepare([GOOD_ONE], names=["small"]))
    assert rest.ended_at is not None
    assert {attempt.status for attempt in rest.attempts} == {"completed"}


async def test_an_evaluation_counts_against_its_callers_day_and_does_no_more_than_that_has_room_for(
    home: Path, tmp_path: Path, scripted_model: ScriptedModel
) -> None:
    answer_by_persona(scripted_model)
    settings = settings_on(home, scripted_model).model_copy(update={"prices": PRICES})
    examples = [chat(n, baseline=Baseline(input_tokens=6_000, output_tokens=500)) for n in range(4)]
    async with evaluating_on(settings, examples, tmp_path / "set.toml") as evaluating:
        whole = (await evaluating.prepare([GOOD_ONE])).estimate.cost_usd or 0.0
        evaluating.settings = settings.model_copy(update={"daily_usd": whole / 2})
        [some] = await evaluating.run(await evaluating.prepare([GOOD_ONE], names=["mine"]))
        assert {attempt.status for attempt in some.attempts} == {"completed", "cut"}
        assert all("ATLAS_DAILY_USD" in (one.error or "") for one in some.attempts if one.status == "cut")
        assert charged(home) == pytest.approx(some.usage.cost_usd)
        assert 0 < charged(home) <= whole / 2
        evaluating.settings = settings.model_copy(update={"daily_usd": charged(home)})
        again = await evaluating.prepare([GOOD_ONE], names=["mine"])
        with pytest.raises(BudgetSpent, match="ATLAS_DAILY_USD has no room"):
            await evaluating.run(again)
        evaluating.settings = settings.model_copy(update={"daily_usd": 100.0})
        [rest] = await evaluating.run(await evaluating.prepare([GOOD_ONE], names=["mine"]))
        assert rest.ended_at is not None
        assert charged(home) == pytest.approx(rest.usage.cost_usd)


async def test_a_team_task_is_given_its_share_as_a_budget_and_what_that_stops_counts_for_nothing(
    home: Path, tmp_path: Path, scripted_model: ScriptedModel
) -> None:
    scripted_model.on(lambda request: True, {"call": lambda request: {"json": good_answer(last_user_text(request))}})
    settings = settings_on(home, scripted_model).model_copy(update={"prices": PRICES})
    one = chat(1, expected=Expected(sources=("log.txt",)))
    work = Work(goal=TASK.goal, materials=TASK.materials, max_rounds=1)
    task = one.model_copy(update={"work": work, "baseline": Baseline(input_tokens=10, output_tokens=1)})
    async with evaluating_on(settings, [task], tmp_path / "set.toml") as evaluating:
        rating = (await evaluating.prepare([Variant(name="now")])).estimate.cost_usd or 0
        budget = rating + 0.006  # a turn or two
        job = await evaluating.prepare([Variant(name="now")], names=["small"], budget_usd=budget)
        [small] = await evaluating.run(job)
        assert [attempt.status for attempt in small.attempts] == ["cut"]
        assert 0 < (small.usage.cost_usd or 0) <= budget
        [whole] = await evaluating.run(await evaluating.prepare([Variant(name="now")], names=["small"]))
    [attempt] = whole.attempts
    assert attempt.status == "completed"
    assert attempt.checks
    assert attempt.scores["sources"] == 1.0
    assert attempt.scores["rating"] == pytest.approx(4.5)


async def test_what_cannot_be_used_is_refused_before_any_model_is_asked(
    home: Path, tmp_path: Path, scripted_model: ScriptedModel
) -> None:
    settings = settings_on(home, scripted_model)
    async with evaluating_on(settings, [chat(1)], tmp_path / "set.toml") as evaluating:
        with pytest.raises(UnknownModel):
            await evaluating.prepare([Variant(name="x", model="nobody:nothing")])
        with pytest.raises(MissingKey):
            await evaluating.prepare([Variant(name="x", model="anthropic:claude")])
        with pytest.raises(UnknownAgent):
            await evaluating.prepare([Variant(name="x", prompts={"persona.nobody": "I am."})])
        with pytest.raises(InvalidInput, match="2,000 at most"):
            await evaluating.prepare([Variant(name="x", prompts={"persona.librarian": "I" * 2_001})])
        with pytest.raises(UnpricedModel):
            await evaluating.prepare([Variant(name="x")], budget_usd=1.0)
        with pytest.raises(InvalidInput, match="'none' has no examples"):
            await evaluating.prepare([Variant(name="x")], suite="none")
        with pytest.raises(InvalidInput, match="no example 'ex-9'"):
            await evaluating.prepare([Variant(name="x")], only=["ex-9"])
        with pytest.raises(InvalidInput, match="--repeat"):
            await evaluating.prepare([Variant(name="x")], repeat=0)
        with pytest.raises(InvalidInput, match="no name of an evaluation"):
            await evaluating.prepare([Variant(name="x")], names=["../x"])
        roster = tmp_path / "roster.toml"
        roster.write_text('extends = "default"\n[rename.agents]\nlibrarian = "keeper"\n', encoding="utf-8")
        with pytest.raises(UnknownAgent, match="librarian"):
            await evaluating.prepare([Variant(name="x", roster=str(roster))])
        assert evaluating.kept() == []
    assert scripted_model.calls == 0


async def test_one_process_at_a_time_is_at_an_evaluation_and_what_a_killed_one_left_is_taken_away(
    home: Path, tmp_path: Path, scripted_model: ScriptedModel
) -> None:
    answer_by_persona(scripted_model)
    async with evaluating_on(settings_on(home, scripted_model), [chat(1)], tmp_path / "set.toml") as evaluating:
        job = await evaluating.prepare([GOOD_ONE], names=["mine"])
        refused: list[str] = []

        async def second() -> None:
            with pytest.raises(InvalidInput, match="another process is at the evaluation"):
                await evaluating.run(job)
            refused.append("mine")

        async with anyio.create_task_group() as tasks:
            scripted_model.hold()
            tasks.start_soon(evaluating.run, job)
            await anyio.to_thread.run_sync(scripted_model.wait_for_calls, 1)
            await second()
            scripted_model.release()
    assert refused == ["mine"]
    left = home / "evaluations" / ".work" / "mine@0"
    left.mkdir(parents=True)
    (left / "atlas.db").write_text("left")
    async with open_evaluating(load_settings()):
        assert not left.exists()
