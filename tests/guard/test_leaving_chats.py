"""Replies in chats and groups: what must not leave is cut out and said, and no reply is lost silently."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atlas_mcp.model.caller import Caller
from tests.guard.watched import KEY, SECRET, entries, watched, whole
from tests.scripted_model import ScriptedModel
from tests.server.doors import call

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


async def test_a_secret_is_cut_out_of_a_reply_which_says_so(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted_model.script([f"Yes. The key is {SECRET}.\nTea is at five.", "Tea is at five."])
    async with watched(monkeypatch, scripted_model) as (_, client):
        reply = await call(client, "chat_with_agent", agent="librarian", message="What is the key?")
        plain = await call(client, "chat_with_agent", agent="librarian", message="When is tea?")
        status = await call(client, "get_status")
    assert reply["reply"] == "Yes. The key is [redacted].\nTea is at five."
    assert "secret in line 1: it holds a key of a service; it was cut out of the reply" in reply["note"]
    assert reply["guard"][0]["finding"]["offset"] == 16
    assert SECRET not in whole(reply)
    assert scripted_model.calls == 2  # nobody was asked again for what could be cut
    assert plain["reply"] == "Tea is at five."
    assert plain["guard"] == []
    assert plain["note"] is None
    [room] = [room for room in status["rooms"] if room["name"] == "guard"]
    assert room["health"] == "ok"
    assert room["text"].startswith("On: rules, the librarian's quality check.")


async def test_a_key_and_a_file_of_the_home_do_not_leave(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    scripted_model.script([f"It is {KEY}, and all of it lies in {home}/atlas.db; see {home}/notes.txt."])
    async with watched(monkeypatch, scripted_model) as (_, client):
        reply = await call(client, "chat_with_agent", agent="librarian", message="What is where?")
    assert reply["reply"] == f"It is [redacted], and all of it lies in [redacted]; see {home}/notes.txt."
    assert [held["finding"]["rule"] for held in reply["guard"]] == ["key_of_home", "address_of_home"]
    assert "OPENAI_API_KEY" in reply["guard"][0]["finding"]["text"]


async def test_ids_of_another_caller_do_not_leave_and_ones_own_do(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    scripted_model.script(["hello", "hello"])
    async with watched(monkeypatch, scripted_model) as (atlas, client):
        await atlas.chat(Caller(id="key:somebody-else"), "librarian", "hello")
        await call(client, "chat_with_agent", agent="librarian", message="hello")
        [theirs] = entries(home, "SELECT id FROM conversation WHERE caller = 'key:somebody-else'")[0]
        [mine] = entries(home, "SELECT id FROM conversation WHERE caller <> 'key:somebody-else'")[0]
        [turn] = entries(home, "SELECT id FROM turn WHERE caller = 'key:somebody-else'")[0]
        scripted_model.script([f"Yours is {mine}, theirs is {theirs}, and they asked in {turn}."])
        reply = await call(client, "chat_with_agent", agent="librarian", message="Which ones are there?")
    assert reply["reply"] == f"Yours is {mine}, theirs is [redacted], and they asked in [redacted]."
    assert {held["finding"]["rule"] for held in reply["guard"]} == {"foreign_id"}


async def test_with_rules_off_a_reply_is_as_the_agent_gave_it(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted_model.script([f"The key is {SECRET}."])
    off = {"ATLAS_GUARD_RULES": "false", "ATLAS_GUARD_QUALITY": "false"}
    async with watched(monkeypatch, scripted_model, **off) as (_, client):
        reply = await call(client, "chat_with_agent", agent="librarian", message="What is the key?")
        status = await call(client, "get_status")
    assert reply["reply"] == f"The key is {SECRET}."
    assert "No layer is on" in next(room["text"] for room in status["rooms"] if room["name"] == "guard")


async def test_what_an_agent_says_in_a_group_is_cut_before_the_others_hear_it(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    scripted_model.script([f"I use {SECRET} for it.", "So do I."])
    agents = ["librarian", "strategist"]
    async with watched(monkeypatch, scripted_model) as (atlas, client):
        await atlas.groups.create_group(
            atlas.local_caller(), {"name": "pair", "description": "Two who talk.", "agents": agents}
        )
        reply = await call(client, "chat_with_group", group="pair", message="Which key do you use?")
    assert [said["text"] for said in reply["messages"]] == ["I use [redacted] for it.", "So do I."]
    assert SECRET not in whole(scripted_model.last)  # the second one's turn
    events = [text for (text,) in entries(home, "SELECT text FROM event WHERE type = 'guard_failed'")]
    assert events == [
        "librarian's answer does not pass the guard: secret in line 1: it holds a key of a service; "
        "it was cut out of the reply"
    ]
    assert SECRET not in whole(entries(home, "SELECT text FROM event"))
