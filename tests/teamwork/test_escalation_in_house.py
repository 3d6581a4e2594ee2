"""Work that failed, on the real rooms: the caller is asked last, also over the death of the process that asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from atlas_mcp.model.sections import sections
from tests.scripted_model import ScriptedModel, last_user_text
from tests.teamwork.house import ME, QUOTE, good_answer, open_house, scripted
from tests.teamwork.test_approval import ended, waiting

if TYPE_CHECKING:
    from pathlib import Path

    from atlas_mcp.model.run import Event

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]
pytest_plugins = ["tests.scripted"]

FAILS = "document_researcher"


def script(model: ScriptedModel) -> None:
    """The document researcher's work fails for good, unless the caller had it done; every supervisor asks the next."""

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        prompt = last_user_text(request)
        tasks = sections(prompt, "task")
        if 'title="Decision"' in prompt:
            return {"json": {"action": "ask", "reason": "the goal needs it"}}
        if 'title="Findings"' in prompt and tasks and tasks[0].body == f"what {FAILS} can find" and not answered:
            return {"status": 400, "message": "the model refuses this"}
        return {"json": good_answer(prompt)}

    answered = model.__dict__.setdefault("answered", [])
    model.on(lambda request: 'answer_schema title="' in last_user_text(request), {"call": answer})


def about(events: list[Event]) -> list[Event]:
    return [e for e in events if e.type in ("worker_failed", "escalated", "decided", "reassigned")]


async def test_the_caller_decides_last_and_nothing_that_was_done_is_done_again(
    home: Path, scripted_model: ScriptedModel
) -> None:
    script(scripted_model)
    async with open_house(home, scripted(scripted_model.url)) as house:
        run_id = await house.submit()
        asked = await waiting(house, run_id)
    # The process that asked is gone; another one is answered.
    assert asked.question is not None
    assert asked.question.asked_by == "atlas"
    assert f"{FAILS} delivered nothing" in asked.question.text
    assert asked.question.options[0] == asked.question.safe == "go on without it"
    assert "source_verifier" in asked.question.options
    before = scripted_model.calls
    scripted_model.__dict__["answered"].append(True)
    async with open_house(home, scripted(scripted_model.url)) as house:
        await house.runs.answer(ME, run_id, "source_verifier")
        run = await ended(house, run_id)
    assert run.status == "completed", run.error
    assert run.result is not None
    assert run.result.passed
    assert [e.quote for e in run.result.evidence] == [QUOTE]
    assert FAILS not in {m.agent for m in run.result.missing}
    story = about(run.events)
    assert [(e.type, e.actor) for e in story] == [
        ("worker_failed", FAILS),
        ("escalated", FAILS),
        ("decided", "research_supervisor"),
        ("escalated", FAILS),
        ("decided", "global_supervisor"),
        ("decided", "caller"),
        ("reassigned", "caller"),
    ]
    causes = {e.seq: e.cause for e in story}
    assert causes[story[1].seq] == story[0].seq
    assert causes[story[2].seq] == story[1].seq
    assert causes[story[6].seq] == story[5].seq
    turns = [e.turn_id for e in run.events if e.type == "turn_finished"]
    assert len(turns) == len(set(turns)) == run.usage.turns
    after = [last_user_text(r) for r in scripted_model.requests[before:]]
    assert not any('title="Decision"' in prompt or 'title="Plan"' in prompt for prompt in after)


async def test_going_on_without_it_ends_with_the_reason(home: Path, scripted_model: ScriptedModel) -> None:
    script(scripted_model)
    async with open_house(home, scripted(scripted_model.url)) as house:
        run_id = await house.submit()
        await waiting(house, run_id)
        await house.runs.answer(ME, run_id, "go on without it")
        run = await ended(house, run_id)
    assert run.result is not None
    assert run.result.passed
    [lost] = [m for m in run.result.missing if m.agent == FAILS]
    assert "the model refuses this" in lost.why
    assert "the caller decided to go on without it" in lost.why


async def test_the_others_work_while_nobody_has_decided(home: Path, scripted_model: ScriptedModel) -> None:
    script(scripted_model)
    async with open_house(home, scripted(scripted_model.url)) as house:
        with anyio.fail_after(100):
            run = await waiting(house, await house.submit())
    finished = {e.actor for e in run.events if e.type == "turn_finished"}
    assert "source_verifier" in finished
