"""A house that works by what was applied, and as before when that is undone."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import anyio
import pytest

from atlas_mcp.atlas import open_atlas
from atlas_mcp.errors import ModelFailed
from atlas_mcp.model.task import Material, TeamTask
from atlas_mcp.settings import load_settings
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
            return await atlas.run_team_task(atlas.local_caller(), task)

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
