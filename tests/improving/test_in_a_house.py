"""A house that works by what was applied, and as before when that is undone."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from sqlalchemy import delete, insert

from atlas_mcp.atlas import open_atlas
from atlas_mcp.errors import ModelFailed
from atlas_mcp.model.proposal import Change
from atlas_mcp.model.run import ENDED
from atlas_mcp.model.task import Material, TeamTask
from atlas_mcp.settings import load_settings
from atlas_mcp.store.home import open_home
from atlas_mcp.store.quality_tables import proposal
from atlas_mcp.store.record import open_record
from tests.improving.conftest import tasks

if TYPE_CHECKING:
    from pathlib import Path

    from atlas_mcp.model.run import Run
    from tests.scripted_model import ScriptedModel

pytestmark = pytest.mark.timeout(240)


def improve(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "atlas_mcp", "improve", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def worked() -> Run:
    async def work() -> Run:
        async with open_atlas(load_settings()) as atlas:
            task = TeamTask(
                goal="Where is tea grown, and what follows from it?",
                materials=(Material(name="tea.txt", text="Tea grows in Assam. It was brought there in 1823."),),
                teams=("analysis",),
            )
            me = atlas.local_caller()
            run = await atlas.run_team_task(me, task)
            while run.status not in ENDED:  # however slow the machine is
                run = await atlas.get_run(me, run.run_id)
            return run

    run = anyio.run(work)
    assert run.status == "completed", run.error
    return run


def workers(run: Run) -> set[str]:
    return {event.actor for event in run.events if event.type == "turn_started"}


def test_a_worker_is_left_out_of_plans_from_the_command_line_and_back_when_it_is_undone() -> None:
    assert "Nothing" in improve("list").stdout
    before = worked()
    assert "strategist" in workers(before)

    async def seed() -> None:
        async with open_record(load_settings().home) as record:
            await tasks(record, 20)

    anyio.run(seed)
    listed = improve("list")
    assert listed.returncode == 0, listed.stderr
    identity = next(word for word in listed.stdout.split() if word.startswith("improve-"))
    shown = improve("show", identity).stdout
    assert 'agents = ["strategist"]' in shown
    assert "\x1b" not in shown

    # one contribution among 21 assignments: a person may still apply it
    assert improve("apply", identity).returncode == 0
    assert "strategist" not in workers(worked())
    assert improve("undo", identity).returncode == 0
    assert workers(worked()) == workers(before)
    refused = improve("undo", identity)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1


def test_an_agent_answers_with_the_model_that_was_applied_and_with_its_own_where_that_cannot_be_used(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    monkeypatch.setenv("OPENAI_BASE_URL", scripted_model.url)

    async def asked(*applied: str) -> str:
        """The model that answers for the strategist, with these models applied to it one after the other."""
        async with open_record(load_settings().home) as record, record.write() as db:
            for model in applied:
                change = Change(agent="strategist", setting="model", to=model)
                await db.execute(insert(proposal).values(_row(model, change, datetime.now(UTC))))
        async with open_atlas(load_settings(model="openai:scripted-1")) as atlas:
            await atlas.chat(atlas.local_caller(), "strategist", "hello")
            await atlas.chat(atlas.local_caller(), "librarian", "hello")
        *_, of_strategist, of_librarian = (request["model"] for request in scripted_model.requests)
        assert of_librarian == "scripted-1"
        return of_strategist

    async def run() -> None:
        open_home(load_settings().home).prepare_databases()
        assert await asked() == "scripted-1"
        assert await asked("openai:scripted-2") == "scripted-2"
        async with open_record(load_settings().home) as record, record.write() as db:
            await db.execute(delete(proposal))
        assert await asked("anthropic:no-key-here") == "scripted-1"

    anyio.run(run)


def _row(identity: str, change: Change, at: datetime) -> dict[str, Any]:
    return {
        "id": identity,
        "kind": "model",
        "subject": change.agent,
        "text": "t",
        "change": change.model_dump(mode="json"),
        "evidence": {},
        "gain": {"amount": 1, "unit": "dollars"},
        "risk": "medium",
        "confidence": 0.9,
        "safe": False,
        "status": "applied",
        "made_at": at,
        "decided_at": at,
    }


def test_a_turn_that_takes_longer_than_its_agent_may_is_given_up(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    monkeypatch.setenv("OPENAI_BASE_URL", scripted_model.url)
    roster = tmp_path / "roster.toml"
    roster.write_text('extends = "default"\n[agents.librarian]\nturn_seconds = 0.5\n', encoding="utf-8")
    scripted_model.hold()

    async def chat() -> None:
        async with open_atlas(load_settings(model="openai:scripted-1", roster=roster)) as atlas:
            me = atlas.local_caller()
            with pytest.raises(ModelFailed, match=r"longer than its 0\.5 seconds"):
                await atlas.chat(me, "librarian", "hello")
            scripted_model.release()
            assert (await atlas.chat(me, "global_supervisor", "hello")).status == "completed"

    anyio.run(chat)
