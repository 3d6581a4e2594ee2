"""What agents hand in during a team task: looked at before anybody else has it, asked for once more, then escalated."""

from __future__ import annotations

from typing import Any

import pytest

from tests.guard.watched import (
    SECRET,
    answers,
    by_one,
    does_well,
    findings,
    team_task,
    told,
    watched,
    whole,
)
from tests.scripted_model import ScriptedModel, last_user_text

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
LEAK = f"The lamp was lit at dusk. The log has {SECRET} in it."
AGAIN = "Your answer could not be used"


def asked_again(model: ScriptedModel, title: str = "Findings") -> list[dict[str, Any]]:
    return [r for r in model.requests if answers(title, AGAIN)(r)]


async def test_findings_with_a_secret_are_asked_for_once_more_in_the_same_conversation(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_one(scripted_model)
    scripted_model.on(answers("Findings", "find out how the light was kept", "<materials"), findings(LEAK), times=1)
    does_well(scripted_model)
    async with watched(monkeypatch, scripted_model) as (_, client):
        run = await team_task(client)
    [again] = asked_again(scripted_model)
    assert "it holds a key of a service, in text" in last_user_text(again)
    assert LEAK in whole([m for m in again["messages"] if m["role"] == "assistant"])  # its own conversation
    [failed] = told(run, "guard_failed")
    assert failed["data"]["rule"] == "secret"
    assert failed["data"]["layer"] == "rules"
    assert "document_researcher's answer does not pass the guard" in failed["text"]
    assert failed["text"].endswith("it is asked for once more, in the same conversation")
    assert [event["text"] for event in told(run, "guard_passed")] == [
        "document_researcher's answer passes the guard now"
    ]
    [held] = run["result"]["guard"]
    assert (held["agent"], held["what"], held["finding"]["rule"]) == ("document_researcher", "findings", "secret")
    assert run["result"]["passed"]
    assert SECRET not in whole(run)


async def test_findings_that_do_not_pass_twice_are_escalated_and_the_result_names_the_rule(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_one(scripted_model)
    scripted_model.on(answers("Findings", of="document_researcher"), findings(LEAK))
    decision = {"action": "another", "worker": "source_verifier", "reason": "the first gave a key away"}
    scripted_model.on(answers("Decision"), {"json": decision}, times=1)
    does_well(scripted_model)
    async with watched(monkeypatch, scripted_model) as (_, client):
        run = await team_task(client)
    first, second = told(run, "guard_failed")
    assert first["text"].endswith("it is asked for once more, in the same conversation")
    assert second["text"].endswith("it is not used, and what becomes of the work is decided above")
    [failed] = [e for e in told(run, "worker_failed") if e["actor"] == "document_researcher"]
    assert "secret in line 1: it holds a key of a service, in text" in failed["text"]
    assert [e["actor"] for e in told(run, "escalated", "decided", "reassigned")][:3] == [
        "document_researcher",
        "research_supervisor",
        "research_supervisor",
    ]
    assert run["result"]["evidence"]  # of the one who had it next
    assert [(h["agent"], h["finding"]["rule"]) for h in run["result"]["guard"]] == [
        ("document_researcher", "secret")
    ] * 2
    assert SECRET not in whole(run)


async def test_a_draft_that_does_not_pass_twice_is_missing_and_the_reports_are_the_text(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    leak = {"sections": [{"id": "s1", "heading": "Lamp", "text": LEAK}]}
    scripted_model.on(answers("Draft"), {"json": leak})
    does_well(scripted_model)
    async with watched(monkeypatch, scripted_model) as (_, client):
        run = await team_task(client)
    assert [e["data"]["part"] for e in told(run, "guard_failed")] == ["write", "write"]
    assert told(run, "guard_failed")[1]["text"].endswith("it is not used, and what was to be done is missing")
    assert any("in sections[1].text" in m["why"] for m in run["result"]["missing"])
    assert "The lamp was lit at dusk." in run["result"]["output"]
    assert SECRET not in whole(run)


async def test_evidence_that_is_nowhere_is_asked_for_once_more_and_then_left_out(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_one(scripted_model)
    invented = findings("The lamp was lit at dusk.", quote="The keeper never lit the lamp before midnight.")
    scripted_model.on(answers("Findings", "find out how the light was kept", "<materials"), invented)
    scripted_model.on(answers("Findings", AGAIN), invented)
    does_well(scripted_model)
    async with watched(monkeypatch, scripted_model) as (_, client):
        run = await team_task(client)
    [again] = asked_again(scripted_model)
    assert "the quote is not in 'log.txt'" in last_user_text(again)
    first, second = told(run, "guard_failed")
    assert (first["data"]["rule"], second["data"]["rule"]) == ("unsupported", "unsupported")
    assert second["text"].endswith("what is not supported is left out")
    assert not told(run, "escalated")
    assert any("the quote is not in 'log.txt'" in m["why"] for m in run["result"]["missing"])


async def test_findings_without_any_evidence_are_asked_for_it(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_one(scripted_model)
    bare = {"json": {"text": "The lamp was lit at dusk."}}
    scripted_model.on(answers("Findings", "find out how the light was kept", "<materials"), bare, times=1)
    does_well(scripted_model)
    async with watched(monkeypatch, scripted_model) as (_, client):
        run = await team_task(client)
    [again] = asked_again(scripted_model)
    assert "no evidence is given for any claim" in last_user_text(again)
    assert told(run, "guard_passed")
    assert run["result"]["evidence"]


async def test_rules_that_are_off_look_at_nothing(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_one(scripted_model)
    scripted_model.on(answers("Findings", "find out how the light was kept", "<materials"), findings(LEAK))
    does_well(scripted_model)
    async with watched(monkeypatch, scripted_model, ATLAS_GUARD_RULES="false") as (_, client):
        run = await team_task(client)
    assert not told(run, "guard_failed")
    assert not asked_again(scripted_model)
    assert not run["result"]["guard"]
