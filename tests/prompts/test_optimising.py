"""A better prompt from what went wrong: proposed by MLflow's optimiser, judged on examples it never saw, taken back."""

from __future__ import annotations

import json
import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from atlas_mcp.atlas import open_atlas, open_prompts
from atlas_mcp.errors import BudgetSpent, ConfigurationError, InvalidInput, Unavailable, UnpricedModel
from atlas_mcp.evaluating import open_evaluating
from atlas_mcp.model.example import ExampleSet
from atlas_mcp.model.feedback import Subject
from atlas_mcp.model.price import Price
from atlas_mcp.model.run import ENDED
from atlas_mcp.model.task import TeamTask
from atlas_mcp.settings import load_settings
from atlas_mcp.watch.evaluation import files
from tests.evaluation.world import BETTER, WORSE, answer_by_persona, chat, settings_on
from tests.scripted_model import last_user_text

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from atlas_mcp.atlas import Prompts
    from atlas_mcp.settings import Settings
    from tests.scripted_model import ScriptedModel

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]
NAME, AGENT = "persona.librarian", "librarian"
PRICES = {"openai:scripted-1": Price(input_per_million=1.0, output_per_million=1.0)}


def proposing(model: ScriptedModel, *texts: str) -> None:
    """The optimiser's model proposes these, one after the other, and the last again and again."""
    left = list(texts)

    def reply(_: Any) -> dict[str, Any]:
        return {"json": {NAME: left.pop(0) if len(left) > 1 else left[0]}}

    model.on("You are an expert prompt engineer", {"call": reply})


def asked(model: ScriptedModel) -> list[dict[str, Any]]:
    """What the optimiser asked of its model."""
    return [r for r in model.requests if "You are an expert prompt engineer" in last_user_text(r)]


async def talk(settings: Settings, message: str, said: str | None, *, key: bool = False) -> None:
    """A chat with the librarian, and what its caller found bad of it."""
    async with open_atlas(settings) as atlas:
        caller = atlas.access.key_caller("test") if key else atlas.local_caller("test")
        reply = await atlas.chat(caller, AGENT, message)
        assert reply.trace_id
        if said is not None:
            await atlas.feedback.give(caller, Subject(trace_id=reply.trace_id), good=False, comment=said)


async def a_task(settings: Settings, said: str) -> str:
    """A team task of which its caller found that bad; its run."""
    async with open_atlas(settings) as atlas:
        caller = atlas.local_caller("test")
        run = await atlas.run_team_task(caller, TeamTask(goal="Say what tea is.", max_rounds=1))
        while run.status not in ENDED:
            run = await atlas.get_run(caller, run.run_id, since=run.events[-1].seq if run.events else 0)
        await atlas.feedback.give(caller, Subject(run_id=run.run_id), good=False, comment=said)
    return run.run_id


@asynccontextmanager
async def with_examples(settings: Settings, tmp_path: Path, count: int = 6) -> AsyncGenerator[Prompts]:
    """The home's prompts, with a set of so many examples, called by that number."""
    examples = [chat(n, suite=f"of-{count}") for n in range(count)]
    files.write(tmp_path / "set.toml", ExampleSet(name=f"of-{count}", examples=tuple(examples)), force=True)
    async with open_evaluating(settings) as evaluating:
        await evaluating.import_(tmp_path / "set.toml")
    async with open_prompts(settings) as prompts:
        yield prompts


def charged(home: Path, what: str) -> float:
    """Dollars that stand in the home's ledger for that."""
    with closing(sqlite3.connect(home / "atlas.db")) as record:
        return record.execute("SELECT coalesce(sum(usd), 0) FROM ledger WHERE run_id LIKE ?", (what,)).fetchone()[0]


async def leads(prompts: Prompts) -> tuple[str, int | None]:
    found = {one.name: one for one in await prompts.list()}[NAME]
    return found.leads, found.version


async def test_a_version_that_does_better_on_examples_it_never_saw_leads_until_it_is_taken_back(
    home: Path, tmp_path: Path, scripted_model: ScriptedModel
) -> None:
    answer_by_persona(scripted_model)
    proposing(scripted_model, BETTER)
    settings, secret = settings_on(home, scripted_model, prices=PRICES), "sk-ant-api03-" + "x" * 40
    await talk(settings, "Where is the oil kept?", f"It does not answer at all. My key is {secret}")
    await talk(settings, "Another caller's question", "Another caller's words", key=True)
    said: list[str] = []
    async with with_examples(settings, tmp_path) as prompts:
        done = await prompts.optimize(AGENT, usd=5.0, suite="of-6", tell=said.append)
        assert (done.promoted, done.present, done.version, done.pieces) == (True, 1, 2, 1)
        assert "leads from now on" in done.text
        assert "prompts rollback persona.librarian" in done.text
        found = await prompts.show(NAME)
    assert (found.text, found.version, found.parent, found.origin) == (BETTER, 2, 1, "optimised")
    assert found.evidence
    assert found.evidence["compared"]["quality"] == "better"
    assert found.evidence["compared"]["examples"] == 6
    assert found.evidence["usage"]["input_tokens"] == done.usage.input_tokens > 0
    assert done.usage.cost_usd == pytest.approx((done.usage.input_tokens + done.usage.output_tokens) / 1e6)
    assert charged(home, f"optimize {NAME}") == pytest.approx(done.usage.cost_usd)
    assert charged(home, "evaluation %") > 0
    (request,) = asked(scripted_model)
    prompt = last_user_text(request)
    assert "Where is the oil kept?" in prompt
    assert "a person found it bad: It does not answer at all." in prompt
    assert secret not in prompt
    assert "Another caller" not in prompt
    assert "oil" not in json.dumps(found.evidence), "no words of a caller's are kept"
    assert any("reads 1 of 1 turns" in text for text in said)
    async with open_atlas(settings) as atlas:
        caller = atlas.local_caller("test")
        await atlas.chat(caller, AGENT, "hello")
        assert (await atlas.get_memory(caller, AGENT, "persona"))[0].value == BETTER
    async with open_prompts(settings) as prompts:
        await prompts.rollback(AGENT)
        assert await leads(prompts) == ("file", 1)


async def test_a_version_that_does_no_better_stays_one_with_its_evidence_and_does_not_lead(
    home: Path, tmp_path: Path, scripted_model: ScriptedModel
) -> None:
    answer_by_persona(scripted_model)
    proposing(scripted_model, WORSE)
    settings = settings_on(home, scripted_model)
    await talk(settings, "Where is the oil kept?", "It does not answer at all.")
    async with with_examples(settings, tmp_path) as prompts:
        done = await prompts.optimize(AGENT, suite="of-6")
        assert (done.promoted, done.version) == (False, 2)
        assert "is not promoted" in done.text
        assert "prompts diff persona.librarian 1 2" in done.text
        assert await leads(prompts) == ("file", 1)
        kept = (await prompts.show(NAME, 2)).evidence
    assert kept
    assert kept["compared"]["quality"] != "better"


async def test_without_examples_a_proposal_is_a_version_that_somebody_may_promote(
    home: Path, scripted_model: ScriptedModel
) -> None:
    answer_by_persona(scripted_model)
    proposing(scripted_model, "y" * 2_001, BETTER)
    settings = settings_on(home, scripted_model)
    await talk(settings, "Where is the oil kept?", "")
    async with open_prompts(settings) as prompts:
        done = await prompts.optimize(NAME)
        assert (done.promoted, done.version) == (False, 2)
        assert "was proposed, and not compared" in done.text
        assert (await prompts.promote(AGENT, 2)).leads == "version"
    first, second = asked(scripted_model)
    assert "it has 2,001 characters, and may have 2,000" not in last_user_text(first)
    assert "it has 2,001 characters, and may have 2,000" in last_user_text(second)
    assert done.usage.turns == 2


async def test_what_the_model_proposes_in_vain_is_no_version_and_is_paid_for_in_the_open(
    home: Path, scripted_model: ScriptedModel
) -> None:
    answer_by_persona(scripted_model)
    scripted_model.on("You are an expert prompt engineer", {"text": "I would rather write a poem."})
    settings = settings_on(home, scripted_model)
    await talk(settings, "Where is the oil kept?", "It does not answer at all.")
    async with open_prompts(settings) as prompts:
        done = await prompts.optimize(AGENT)
        assert done.version is None
        assert "Nothing usable was proposed" in done.text
        assert (done.usage.turns, done.usage.input_tokens > 0) == (2, True)
        assert await leads(prompts) == ("file", 1)


async def test_what_cannot_come_to_anything_is_refused_before_any_model_is_asked(
    home: Path, tmp_path: Path, scripted_model: ScriptedModel
) -> None:
    answer_by_persona(scripted_model)
    proposing(scripted_model, BETTER)
    settings = settings_on(home, scripted_model)
    async with open_prompts(settings) as prompts:
        with pytest.raises(InvalidInput, match=r"nothing speaks against persona.librarian: its 0 turns.*give_feedback"):
            await prompts.optimize(AGENT)
    await talk(settings, "Where is the oil kept?", "It does not answer at all.")
    async with open_prompts(load_settings()) as prompts:
        with pytest.raises(ConfigurationError, match=r"the offline model is none.*Set ATLAS_MODEL"):
            await prompts.optimize(AGENT)
    async with open_prompts(settings.model_copy(update={"prices": PRICES, "daily_usd": 0.001})) as prompts:
        with pytest.raises(BudgetSpent, match=r"the day's limit of \$0.001 has no room.*ATLAS_DAILY_USD"):
            await prompts.optimize(AGENT)
    async with with_examples(settings, tmp_path, count=3) as prompts:
        with pytest.raises(InvalidInput, match=r"has 3 examples; under 6 nothing can be told from chance"):
            await prompts.optimize(AGENT, suite="of-3")
        with pytest.raises(InvalidInput, match=r"'others' has no examples"):
            await prompts.optimize(AGENT, suite="others")
        with pytest.raises(InvalidInput, match=r"one proposal takes about [\d,]+ tokens: the budget does not hold"):
            await prompts.optimize(AGENT, tokens=500)
        with pytest.raises(UnpricedModel, match=r"--budget-usd.*openai:scripted-1.*--budget-tokens"):
            await prompts.optimize(AGENT, usd=1.0)
        with pytest.raises(InvalidInput, match="there is no prompt 'nobody'"):
            await prompts.optimize("nobody")
    async with with_examples(settings, tmp_path) as prompts:
        with pytest.raises(InvalidInput, match=r"comparing takes about [\d,]+ tokens, and 10,000 are left for it"):
            await prompts.optimize(AGENT, tokens=10_000, suite="of-6")
    assert asked(scripted_model) == []


async def test_the_runs_of_the_deciding_examples_are_no_evidence(
    home: Path, tmp_path: Path, scripted_model: ScriptedModel
) -> None:
    settings = load_settings()
    run_id = await a_task(settings, "It says nothing of tea.")
    async with open_evaluating(settings) as evaluating:
        await evaluating.add(run_id)
    scripted_model.on("You are an expert prompt engineer", {"json": {"persona.global_supervisor": "I lead well."}})
    async with open_prompts(settings_on(home, scripted_model)) as prompts:
        with pytest.raises(InvalidInput, match="beside those kept for the set default"):
            await prompts.optimize("global_supervisor", suite="default")
        done = await prompts.optimize("global_supervisor")
        assert done.version == 2
    assert "It says nothing of tea." in last_user_text(asked(scripted_model)[0])


async def test_what_opens_a_question_can_be_bettered_and_keeps_the_names_that_stand_for_something(
    home: Path, scripted_model: ScriptedModel
) -> None:
    await a_task(load_settings(), "It planned nothing.")
    texts = ["Plan it in a few parts.", "Plan it, in {{max_parts}} parts at most."]
    model = scripted_model
    model.on(
        "You are an expert prompt engineer", {"call": lambda _: {"json": {"task.plan": texts[len(asked(model)) - 1]}}}
    )
    async with open_prompts(settings_on(home, scripted_model)) as prompts:
        done = await prompts.optimize("task.plan")
        assert (await prompts.show("task.plan", done.version)).text == texts[1]
    first, second = map(last_user_text, asked(scripted_model))
    assert "It planned nothing." in first
    assert "Missing: {'max_parts'}" in second


async def test_an_optimiser_that_is_cancelled_is_gone_and_leaves_nothing_behind(
    home: Path, scripted_model: ScriptedModel
) -> None:
    answer_by_persona(scripted_model)
    settings = settings_on(home, scripted_model)
    await talk(settings, "Where is the oil kept?", "It does not answer at all.")
    scripted_model.on("You are an expert prompt engineer", {"text": "late", "hold": True})
    before = scripted_model.calls
    async with open_prompts(settings) as prompts:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(prompts.optimize, AGENT)
            await scripted_model.arrived(before + 1, 60)
            tasks.cancel_scope.cancel()
        await anyio.to_thread.run_sync(scripted_model.wait_for_dropped, 1)
        assert await leads(prompts) == ("file", 1)


async def test_an_optimiser_that_takes_too_long_is_ended(
    home: Path, scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_by_persona(scripted_model)
    settings = settings_on(home, scripted_model)
    await talk(settings, "Where is the oil kept?", "It does not answer at all.")
    monkeypatch.setattr("atlas_mcp.watch.prompts.optimising.SECONDS", 0.01)
    async with open_prompts(settings) as prompts:
        with pytest.raises(Unavailable, match="the optimiser did not end within"):
            await prompts.optimize(AGENT)


async def test_a_model_that_refuses_is_told_with_its_reason_and_costs_nothing(
    home: Path, scripted_model: ScriptedModel
) -> None:
    answer_by_persona(scripted_model)
    scripted_model.on("You are an expert prompt engineer", {"status": 401, "message": "no such key"})
    settings = settings_on(home, scripted_model)
    await talk(settings, "Where is the oil kept?", "It does not answer at all.")
    async with open_prompts(settings) as prompts:
        done = await prompts.optimize(AGENT)
    assert done.version is None
    assert "no such key" in done.text
    assert (done.usage.input_tokens, done.usage.output_tokens) == (0, 0)
