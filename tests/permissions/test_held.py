"""A call that needs a yes is held, asked about, and made once with exactly what was asked; or it is not made."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from mcp.client import Client
from mcp.types import ElicitResult

from atlas_mcp.atlas import open_atlas
from atlas_mcp.constellation import tool_session
from atlas_mcp.server import create_server
from atlas_mcp.settings import load_settings
from tests.permissions.conftest import NOTE, answered, chat, events, held, until
from tests.scripted_model import last_user_text
from tests.server.doors import call

if TYPE_CHECKING:
    from tests.permissions.board import Board
    from tests.permissions.conftest import Opened
    from tests.scripted_model import ScriptedModel

pytestmark = pytest.mark.anyio


async def test_a_call_that_writes_waits_for_the_caller_and_is_made_once_it_is_approved(
    client: Client, given: Board, scripted_model: ScriptedModel
) -> None:
    scripted_model.on("was approved and made", "It hangs there.")
    run = await held(client)
    question = run["question"]
    assert question["options"] == ["approve", "approve for this run", "always approve", "reject"]
    assert question["safe"] == "reject"
    assert "strategist wants to call post_note, which writes" in question["text"]
    assert '"text": "lunch at noon"' in question["text"]
    assert "was not made: it waits" in json.dumps(scripted_model.requests)
    assert given.notes == []
    done = await answered(client, run, "approve")
    assert given.notes == ["lunch at noon"]
    assert done["reply"] == "It hangs there."
    assert "the note is on the board" in last_user_text(scripted_model.last)
    [called] = events(done, "tool_called")
    assert (called["data"]["tool"], called["data"]["origin"], called["data"]["marks"]) == (
        "post_note",
        "own",
        ["write"],
    )
    [waits], [approved] = events(done, "tool_held"), events(done, "tool_approved")
    assert waits["data"]["call"] == approved["data"]["call"]
    assert done["usage"]["turns"] == 2


async def test_what_is_rejected_is_not_made_and_not_asked_again_in_that_run(
    client: Client, given: Board, scripted_model: ScriptedModel
) -> None:
    run = await held(client)
    scripted_model.on("was not approved", [NOTE, "Then not."])
    done = await answered(client, run, "reject")
    assert given.notes == []
    assert len(events(done, "question_asked")) == 1
    assert len(events(done, "tool_refused")) == 1
    assert "exactly this call was rejected in this task" in json.dumps(scripted_model.last)


async def test_approved_for_the_run_it_is_asked_once_in_it_and_again_in_the_next(
    client: Client, given: Board, scripted_model: ScriptedModel
) -> None:
    run = await held(client)
    scripted_model.on("was approved and made", [{"tool": "post_note", "args": {"text": "and tea"}}, "Both hang."])
    done = await answered(client, run, "approve for this run")
    assert given.notes == ["lunch at noon", "and tea"]
    assert len(events(done, "question_asked")) == 1
    assert (await held(client))["question"]
    assert len(given.notes) == 2


async def test_approved_for_ever_it_is_asked_no_more(client: Client, given: Board) -> None:
    await answered(client, await held(client), "always approve")
    told = await chat(client)
    assert (told["status"], told["reply"]) == ("completed", "I asked for leave.")
    assert given.notes == ["lunch at noon"] * 2


async def test_the_same_call_twice_in_a_turn_is_one(
    client: Client, given: Board, scripted_model: ScriptedModel
) -> None:
    scripted_model.on("Twice.", [NOTE, NOTE, "I asked for leave."])
    done = await answered(client, await held(client, "Twice."), "approve")
    assert given.notes == ["lunch at noon"]
    assert len(events(done, "question_asked")) == 1


async def test_two_calls_of_a_turn_are_two_questions(
    client: Client, given: Board, scripted_model: ScriptedModel
) -> None:
    other = {"tool": "post_note", "args": {"text": "and tea"}}
    scripted_model.on("Both.", [NOTE, other, "I asked for leave."])
    run = await held(client, "Both.")
    again = await call(client, "answer_run", run_id=run["run_id"], answer="reject")
    assert again["status"] == "awaiting_answer"
    assert "and tea" in again["question"]["text"]
    await answered(client, run, "approve")
    assert given.notes == ["and tea"]
    told = last_user_text(scripted_model.last)
    assert "was not approved" in told
    assert "was approved and made" in told


async def test_arguments_that_do_not_fit_are_told_at_once_and_nobody_is_asked(
    client: Client, given: Board, scripted_model: ScriptedModel
) -> None:
    scripted_model.on("Wrongly.", [{"tool": "post_note", "args": {"words": "lunch"}}, "I cannot."])
    assert (await chat(client, "Wrongly."))["reply"] == "I cannot."
    assert "there is no argument 'words'" in json.dumps(scripted_model.last)


@pytest.mark.parametrize(
    ("approval", "options"),
    [
        ("run", ["approve for this run", "always approve", "reject"]),
        ("always", ["always approve", "reject"]),
    ],
)
async def test_the_settings_say_for_how_long_a_yes_is_asked_for(
    opened: Opened, approval: str, options: list[str]
) -> None:
    async with opened({"write": approval}) as client:
        assert (await held(client))["question"]["options"] == options


async def test_what_the_settings_allow_is_made_unasked_and_what_they_refuse_is_not_offered(
    opened: Opened, given: Board, scripted_model: ScriptedModel
) -> None:
    async with opened({"tools": {"post_*": {"approval": "allow"}}}) as client:
        assert (await chat(client))["status"] == "completed"
    assert given.notes == ["lunch at noon"]
    async with opened({"write": "refuse"}) as client:
        assert (await chat(client, "Good morning."))["status"] == "completed"
    offered = {tool["function"]["name"] for tool in scripted_model.last["tools"]}
    assert "calculate" in offered
    assert "post_note" not in offered


async def test_a_tool_that_does_more_than_was_consented_to_is_asked_about_again(opened: Opened, given: Board) -> None:
    async with opened() as client:
        await answered(client, await held(client), "always approve")
    async with opened({"tools": {"post_note": {"marks": ["write", "destroy"]}}}) as client:
        assert "which writes and destroys" in (await held(client))["question"]["text"]
    assert len(given.notes) == 1


async def test_a_turn_with_nothing_to_hold_never_looks_for_what_is_held(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(tool_session.ToolSession, "_held", lambda *_: asked.append("held"))
    from atlas_mcp.reach import held as rows

    monkeypatch.setattr(rows, "of_turn", lambda *_: asked.append("looked"))
    assert (await chat(client, "Good morning."))["status"] == "completed"
    assert asked == []


async def test_the_person_behind_the_client_is_asked_while_it_looks_at_the_run(
    given: Board, scripted_model: ScriptedModel
) -> None:
    asked: list[str] = []

    async def person(context: Any, params: Any) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content={"answer": "approve"})

    scripted_model.on("was approved and made", "It hangs there.")
    async with (
        open_atlas(load_settings()) as atlas,
        Client(create_server(atlas, transport="stdio"), elicitation_callback=person) as client,
    ):
        told = await chat(client)
        done = await until(client, told["run_id"], "completed")
    assert done["reply"] == "It hangs there."
    assert given.notes == ["lunch at noon"]
    assert len(asked) == 1
    assert "strategist wants to call post_note" in asked[0]
