"""An ATLAS with the test's model and a guard, a client on it, and team tasks that do well unless told otherwise."""

from __future__ import annotations

import json
import sqlite3
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from mcp.client import Client

from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.model.run import Event
from atlas_mcp.model.turn import ChatReply
from atlas_mcp.server import create_server
from atlas_mcp.settings import load_settings
from tests.scripted_model import ScriptedModel, last_user_text
from tests.server.doors import call, until_ended
from tests.teamwork.house import QUOTE, TEXT, good_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

SECRET = "sk-proj-4Jq8ZtR2mVx7Lp0Wn5Yb3"
"""A key as a service would make it. It must be nowhere."""
KEY = "test-key-of-this-home-4711"
"""The provider's key in the settings."""
RESEARCH = "Tell how the light was kept"
JUDGING = "You guard a team"


@asynccontextmanager
async def watched(
    monkeypatch: pytest.MonkeyPatch, model: ScriptedModel, **settings: str
) -> AsyncIterator[tuple[Atlas, Client]]:
    """An open ATLAS and a client without a process between."""
    environment = {
        "ATLAS_MODEL": "openai:scripted-1",
        "OPENAI_BASE_URL": model.url,
        "OPENAI_API_KEY": KEY,
        **settings,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    async with (
        open_atlas(load_settings()) as atlas,
        Client(create_server(atlas, transport="stdio")) as client,
    ):
        yield atlas, client


async def chat(atlas: Atlas, message: str, agent: str = "librarian") -> dict[str, Any]:
    """The reply with its `events`, also on a machine on which it takes longer than any call may wait."""
    caller, events = atlas.local_caller(), list[Event]()

    async def hear(event: Event) -> None:
        events.append(event)

    reply = await atlas.chat(caller, agent, message, on_event=hear)
    if reply.status == "working":
        assert reply.run_id is not None
        while (run := await atlas.get_run(caller, reply.run_id, wait_seconds=45)).status in {"queued", "working"}:
            pass
        done = await atlas.outcome(caller, reply.run_id)
        assert isinstance(done, ChatReply)
        reply, events = done, run.events
    return {**reply.model_dump(mode="json"), "events": [one.model_dump(mode="json") for one in events]}


def does_well(model: ScriptedModel) -> None:
    """Every agent of a team task gives a decent answer, unless a rule that was made before says otherwise."""
    model.on(
        lambda request: 'answer_schema title="' in last_user_text(request),
        {"call": lambda request: {"json": good_answer(last_user_text(request))}},
    )


def answers(title: str, *texts: str, of: str = "") -> Any:
    """A matcher for prompts that ask for such an answer and hold all of these texts; of that agent alone, if named."""

    def matches(request: dict[str, Any]) -> bool:
        prompt = last_user_text(request)
        asked = not of or f"You are {of}:" in json.dumps(request["messages"][0])
        return asked and f'answer_schema title="{title}"' in prompt and all(text in prompt for text in texts)

    return matches


def findings(text: str, quote: str = QUOTE) -> dict[str, Any]:
    """What a worker hands in."""
    evidence = [{"claim": "the lamp was lit", "source": "log.txt", "quote": quote}]
    return {"json": {"text": text, "evidence": evidence}}


def by_one(model: ScriptedModel, worker: str = "document_researcher") -> None:
    """The research is that worker's alone."""
    given = {"assignments": [{"worker": worker, "task": "find out how the light was kept"}]}
    model.on(answers("Delegation", "<task>", "find out how"), {"json": given})


async def team_task(client: Client, **changes: Any) -> dict[str, Any]:
    """A team task from its goal to its end, with all events."""
    asked = {
        "goal": RESEARCH,
        "materials": [{"name": "log.txt", "text": TEXT}],
        "teams": ["research"],
        "max_rounds": 1,
        **changes,
    }
    run = await until_ended(client, await call(client, "run_team_task", **asked))
    assert run["status"] == "completed", run["error"]
    return run


def told(run: dict[str, Any], *types: str) -> list[dict[str, Any]]:
    """The events of these types."""
    return [event for event in run["events"] if event["type"] in types]


def whole(value: Any) -> str:
    """All of it as text, to look for what must not be there."""
    return json.dumps(value, ensure_ascii=False)


def entries(home: Path, query: str) -> list[Any]:
    """What the record has by that query."""
    with sqlite3.connect(home / "atlas.db") as db:
        return db.execute(query).fetchall()
