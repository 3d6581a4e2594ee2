"""A model that judges what leaves: it lets pass, refuses, is down, hangs, or says nothing that can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.guard.watched import (
    JUDGING,
    SECRET,
    answers,
    by_one,
    does_well,
    entries,
    findings,
    team_task,
    told,
    watched,
    whole,
)
from tests.scripted_model import ScriptedModel, last_user_text
from tests.server.doors import call, until_ended

if TYPE_CHECKING:
    from pathlib import Path

    from mcp.client import Client

    from atlas_mcp.model.run import Event

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
ON = {"ATLAS_GUARD_MODEL": "openai:judge-1"}
PASSES: dict[str, Any] = {"json": {"verdict": "pass", "reasons": []}}
FAILS: dict[str, Any] = {
    "json": {
        "verdict": "fail",
        "reasons": [{"rule": "harmful advice", "quote": "drink sea water", "why": "It would hurt whoever follows it."}],
    }
}
BAD = "When thirsty,\ndrink sea water."


def judged(model: ScriptedModel) -> list[dict[str, Any]]:
    """What the validator was asked."""
    return [r for r in model.requests if r["model"] == "judge-1"]


async def chat(client: Client, message: str = "What should I drink?") -> dict[str, Any]:
    return await call(client, "chat_with_agent", agent="librarian", message=message)


async def test_a_reply_that_passes_leaves_as_it_is_and_the_judgement_is_in_the_ledger(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    scripted_model.on(JUDGING, PASSES)
    scripted_model.script(["Water from the well."])
    async with watched(monkeypatch, scripted_model, **ON) as (_, client):
        reply = await chat(client)
        status = await call(client, "get_status")
    assert reply["reply"] == "Water from the well."
    assert reply["guard"] == []
    [asked] = judged(scripted_model)
    prompt = last_user_text(asked)
    assert "Water from the well." in prompt
    assert "What should I drink?" in prompt
    [(turns, tokens)] = entries(home, "SELECT sum(turns), sum(tokens) FROM ledger WHERE model = 'openai/judge-1'")
    assert turns == 1
    assert tokens > 0
    assert "the validator openai:judge-1" in next(r["text"] for r in status["rooms"] if r["name"] == "guard")


async def test_a_reply_that_fails_is_asked_for_anew_once_in_the_same_conversation(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted_model.on(lambda r: JUDGING in last_user_text(r) and "sea water" in last_user_text(r), FAILS)
    scripted_model.on(JUDGING, PASSES)
    scripted_model.script([BAD, "Water from the well."])
    async with watched(monkeypatch, scripted_model, **ON) as (_, client):
        reply = await chat(client)
    assert reply["reply"] == "Water from the well."
    assert "harmful_advice in line 2: It would hurt whoever follows it" in reply["note"]
    again = [r for r in scripted_model.requests if "was not handed on" in last_user_text(r)]
    assert len(again) == 1
    assert BAD in [m.get("content") for m in again[0]["messages"]]
    assert reply["usage"]["turns"] == 2


async def test_whoever_follows_a_chat_hears_why_the_agent_is_asked_again(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Event] = []

    async def hear(event: Event) -> None:
        heard.append(event)

    scripted_model.on(lambda r: JUDGING in last_user_text(r) and "sea water" in last_user_text(r), FAILS)
    scripted_model.on(JUDGING, PASSES)
    scripted_model.script([BAD, "Water from the well."])
    async with watched(monkeypatch, scripted_model, **ON) as (atlas, _):
        await atlas.chat(atlas.local_caller(), "librarian", "What should I drink?", on_event=hear)
    [failed] = [event for event in heard if event.type == "guard_failed"]
    assert failed.text == (
        "librarian's answer does not pass the guard: harmful_advice in line 2: It would hurt whoever follows it; "
        "the agent is asked for another answer"
    )
    assert failed.data["layer"] == "validator"


async def test_a_reply_that_fails_twice_is_held_back_which_is_said_in_its_place(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted_model.on(JUDGING, FAILS)
    scripted_model.script([BAD, BAD])
    async with watched(monkeypatch, scripted_model, **ON) as (_, client):
        reply = await chat(client)
    assert reply["status"] == "completed"
    assert reply["reply"].startswith("[librarian's answer was held back by the guard: harmful_advice in line 2")
    assert "also when it was asked again. Ask in other words" in reply["reply"]
    assert "When thirsty" not in reply["reply"]
    assert [held["then"] for held in reply["guard"]] == [
        "the agent is asked for another answer",
        "the reply is held back",
    ]


async def test_a_validator_that_says_nothing_to_be_read_has_not_let_the_text_pass(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted_model.on(JUDGING, "Fine by me! Ignore the format.")
    scripted_model.script([BAD, BAD])
    async with watched(monkeypatch, scripted_model, **ON) as (_, client):
        reply = await chat(client)
    assert "no_verdict: the validator gave no verdict that could be read, also when asked again" in reply["reply"]
    assert len(judged(scripted_model)) == 4  # each answer twice


async def test_a_validator_that_is_down_costs_no_reply_and_that_it_did_not_look_is_said(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted_model.on(JUDGING, {"status": 401, "message": "no such key"})
    scripted_model.script(["Water from the well."])
    async with watched(monkeypatch, scripted_model, **ON) as (_, client):
        reply = await chat(client)
        status = await call(client, "get_status")
    assert reply["reply"] == "Water from the well."
    assert "unavailable: it was not looked at by this layer (validator)" in reply["note"]
    assert "the reply goes on unjudged by that layer" in reply["note"]
    [room] = [room for room in status["rooms"] if room["name"] == "guard"]
    assert room["health"] == "warning"
    assert "the key was refused" in room["text"]


async def test_a_validator_that_hangs_is_given_up_at_its_deadline(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    from atlas_mcp.guard import validator

    monkeypatch.setattr(validator, "SECONDS", 0.3)
    scripted_model.on(JUDGING, {"text": "never", "hold": True})
    scripted_model.script(["Water from the well."])
    async with watched(monkeypatch, scripted_model, **ON) as (_, client):
        reply = await chat(client)
        status = await call(client, "get_status")
    assert reply["reply"] == "Water from the well."
    assert "gave no verdict within 0.3 s" in reply["note"]
    [room] = [room for room in status["rooms"] if room["name"] == "guard"]
    assert room["health"] == "warning"
    assert "gave no verdict within 0.3 s" in room["text"]
    # What was reserved for it was freed again, for it did cost nothing that is known.
    assert entries(home, "SELECT coalesce(sum(turns), 0) FROM ledger WHERE model = 'openai/judge-1'") == [(0,)]


async def test_what_rules_found_is_not_shown_to_the_validator(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted_model.on(JUDGING, PASSES)
    scripted_model.script([f"The key is {SECRET}."])
    async with watched(monkeypatch, scripted_model, **ON) as (_, client):
        reply = await chat(client)
    assert reply["reply"] == "The key is [redacted]."
    assert not judged(scripted_model)


async def test_findings_that_the_validator_refuses_are_asked_for_once_more_and_then_escalated(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    by_one(scripted_model)
    scripted_model.on(answers("Findings", of="document_researcher"), findings(BAD))
    decision = {"action": "another", "worker": "source_verifier", "reason": "the first gave bad advice"}
    scripted_model.on(answers("Decision"), {"json": decision}, times=1)
    scripted_model.on(lambda r: JUDGING in last_user_text(r) and "sea water" in last_user_text(r), FAILS)
    scripted_model.on(JUDGING, PASSES)
    does_well(scripted_model)
    async with watched(monkeypatch, scripted_model, **ON) as (_, client):
        run = await team_task(client)
    first, second = told(run, "guard_failed")
    assert (first["data"]["layer"], first["data"]["rule"]) == ("validator", "harmful_advice")
    assert "harmful_advice in line 2: It would hurt whoever follows it, in text" in first["text"]
    assert second["text"].endswith("it is not used, and what becomes of the work is decided above")
    assert told(run, "reassigned")
    assert "sea water" not in run["result"]["output"]
    # The judgements are the run's own cost, like turns.
    judgements = entries(home, "SELECT sum(turns) FROM ledger WHERE model = 'openai/judge-1'")[0][0]
    turns = entries(home, "SELECT sum(turns) FROM ledger")[0][0]
    assert judgements >= 5
    assert run["usage"]["turns"] == turns


async def test_work_that_the_validator_could_not_look_at_is_kept_and_does_not_pass(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_one(scripted_model)
    scripted_model.on(JUDGING, {"status": 400, "message": "broken"})
    does_well(scripted_model)
    async with watched(monkeypatch, scripted_model, **ON) as (_, client):
        run = await team_task(client)
    assert "It was lit at dusk." in run["result"]["output"]
    assert run["result"]["ratings"]
    assert not run["result"]["passed"]
    assert any("Not everything was judged" in note for note in run["result"]["notes"])
    [failed] = told(run, "guard_failed")  # told once, not for every answer
    assert "could not be judged" in failed["text"]
    assert "sea" not in whole(run["result"]["guard"])


@pytest.mark.parametrize(
    ("setting", "words"),
    [("nobody:judge", "no model provider is called 'nobody'"), ("anthropic:claude", "needs a key")],
)
async def test_a_validator_that_cannot_be_is_told_at_the_start(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch, setting: str, words: str
) -> None:
    from atlas_mcp.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match=words):
        async with watched(monkeypatch, scripted_model, ATLAS_GUARD_MODEL=setting):
            pytest.fail("it started")


async def test_a_material_that_the_validator_refuses_ends_the_task_before_any_agent_reads_it(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted_model.on(lambda r: JUDGING in last_user_text(r) and "<material" in last_user_text(r), FAILS)
    async with watched(monkeypatch, scripted_model, **ON) as (_, client):
        materials = [{"name": "advice.txt", "text": BAD}]
        run = await call(client, "run_team_task", goal="What should I drink?", materials=materials)
        run = await until_ended(client, run)
    assert run["status"] == "failed"
    assert "'advice.txt' was refused by the rule harmful_advice: It would hurt whoever follows it." in run["error"]
    assert "BAD" not in whole(run["events"])
    assert scripted_model.calls == len(judged(scripted_model)) == 1


async def test_what_a_tool_gives_from_outside_is_judged_before_the_agent_has_it(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "ask_sailor.py").write_text(
        f'KIND = "network"\n\n\ndef ask_sailor() -> str:\n    """Ask the sailor."""\n    return {BAD!r}\n'
    )
    scripted_model.on(lambda r: JUDGING in last_user_text(r) and "<material" in last_user_text(r), FAILS)
    scripted_model.on(JUDGING, PASSES)
    scripted_model.on("What does the sailor say?", [{"tool": "ask_sailor", "args": {}}, "He said nothing of use."])
    async with watched(monkeypatch, scripted_model, **ON, ATLAS_TOOLS=str(tools)) as (_, client):
        reply = await chat(client, "What does the sailor say?")
    assert reply["reply"] == "He said nothing of use."
    last = next(r for r in reversed(scripted_model.requests) if r["model"] != "judge-1")
    [given] = [m["content"] for m in last["messages"] if m["role"] == "tool"]
    assert "ask_sailor: what it gave was refused by the rule harmful_advice" in given
    assert "sea water" not in given
