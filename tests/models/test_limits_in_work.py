"""A provider that refuses for now, in work that goes on: when a team task asks it again, and what a chat is told."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from mcp.client import Client

from atlas_mcp.atlas import open_atlas
from atlas_mcp.model.budget import Budget
from atlas_mcp.server import create_server
from atlas_mcp.settings import load_settings
from tests.scripted_model import ScriptedModel, last_user_text
from tests.server.doors import refused
from tests.teamwork.house import TASK, good_answer

if TYPE_CHECKING:
    from atlas_mcp.model.run import Run
    from atlas_mcp.model.task import TeamTask

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]
WORKER = "document_researcher"


@pytest.fixture
def model(scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch) -> ScriptedModel:
    """The provider of every agent's model."""
    monkeypatch.setenv("ATLAS_MODEL", "openai:scripted-1")
    monkeypatch.setenv("OPENAI_BASE_URL", scripted_model.url)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    return scripted_model


def refusal(status: int, **headers: str) -> dict[str, Any]:
    """What is left when the provider's own client has tried again; here it is told not to."""
    return {"status": status, "headers": {"x-should-retry": "false", **headers}}


def asks_the_worker(request: dict[str, Any]) -> bool:
    return 'title="Findings"' in last_user_text(request) and f"what {WORKER} can find" in last_user_text(request)


async def worked(model: ScriptedModel, task: TeamTask = TASK) -> Run:
    """The task, done with everything else answered well."""
    model.on(
        lambda request: 'answer_schema title="' in last_user_text(request),
        {"call": lambda request: {"json": good_answer(last_user_text(request))}},
    )
    with anyio.fail_after(200):
        async with open_atlas(load_settings()) as atlas:
            run = await atlas.run_team_task(atlas.local_caller(), task, wait_seconds=0)
            while run.status not in {"completed", "failed"}:
                run = await atlas.get_run(atlas.local_caller(), run.run_id, wait_seconds=30)
            return run


def told(run: Run, kind: str) -> list[str]:
    return [event.text for event in run.events if event.type == kind]


async def test_a_worker_whose_provider_refuses_twice_is_asked_again_when_it_may_be_and_answers(
    model: ScriptedModel,
) -> None:
    asked: list[float] = []

    def refuse(_: object) -> dict[str, Any]:
        asked.append(monotonic())
        return refusal(429, **{"retry-after-ms": "1010" if len(asked) == 1 else "1"})

    model.on(asks_the_worker, {"call": refuse}, times=2)
    run = await worked(model)
    assert run.status == "completed", run.error
    retried = told(run, "turn_retried")
    assert [text.partition(":")[0] for text in retried] == [
        f"{WORKER} is tried again in 2 s (2 of 3)",
        f"{WORKER} is tried again (3 of 3)",
    ]
    assert "(HTTP 429)" in retried[0]
    assert not told(run, "worker_failed") + told(run, "reassigned")
    assert asked[1] - asked[0] >= 1.01


@pytest.mark.parametrize(("seconds", "budget"), [("3600", Budget()), ("200", Budget(seconds=100))])
async def test_who_would_have_to_wait_too_long_is_replaced_at_once(
    model: ScriptedModel, seconds: str, budget: Budget
) -> None:
    model.on(asks_the_worker, refusal(429, **{"retry-after-ms": "", "retry-after": seconds}), times=1)
    run = await worked(model, TASK.model_copy(update={"budget": budget}))
    assert run.status == "completed", run.error
    assert not told(run, "turn_retried")
    [failed] = told(run, "worker_failed")
    assert "HTTP 429" in failed


async def test_a_chat_is_told_when_to_try_again(model: ScriptedModel) -> None:
    model.on("hello", refusal(429, **{"retry-after-ms": "", "retry-after": "90"}))
    async with open_atlas(load_settings()) as atlas, Client(create_server(atlas, transport="stdio")) as client:
        text = await refused(client, "chat_with_agent", agent="librarian", message="hello")
    assert "too many requests" in text
    assert "Try again in 90 seconds" in text
