"""A run that asks is answered at the command line, while no server runs."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import anyio
import pytest

from atlas_mcp.atlas import open_atlas
from atlas_mcp.model.run import Run
from atlas_mcp.model.task import Material, TeamTask
from atlas_mcp.settings import load_settings

pytestmark = pytest.mark.timeout(300)


def runs(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "atlas_mcp", "runs", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def asking() -> Run:
    """A run that waits for the approval of its plan; its process has ended."""

    async def work() -> Run:
        async with open_atlas(load_settings()) as atlas:
            text = Material(name="tea", text="Tea grows in Assam.")
            task = TeamTask(goal="Where is tea grown?", materials=(text,), approve_plan=True)
            return await atlas.run_team_task(atlas.local_caller(), task)

    run = anyio.run(work)
    assert run.status == "awaiting_answer"
    return run


def followed(run_id: str) -> Run:
    async def follow() -> Run:
        async with open_atlas(load_settings()) as atlas:
            return await atlas.follow_run(atlas.local_caller(), run_id)

    return anyio.run(follow)


def test_a_run_is_answered_once_and_goes_on_in_the_next_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLAS_ANSWER_HOURS", "2")
    run = asking()
    assert run.question is not None
    assert timedelta(hours=1.9) < run.question.deadline - run.updated_at < timedelta(hours=2.1)
    assert "by the research team" in runs("show", run.run_id).stdout
    unfit = runs("answer", run.run_id, "aprove")
    assert unfit.returncode == 2
    assert "Did you mean 'approve'?" in unfit.stderr
    answered = runs("answer", run.run_id, "reject")
    assert answered.stdout.startswith("Answered: it goes on"), answered.stderr
    again = runs("answer", run.run_id, "approve")
    assert "It was answered before, by a caller, with 'reject': nothing was changed." in again.stdout
    done = followed(run.run_id)
    assert (done.status, done.usage.turns) == ("failed", 1)
    assert runs("answer", run.run_id, "approve").stdout.startswith("It had failed before")


def test_what_cannot_be_answered_is_told_in_one_line() -> None:
    run = asking()
    for arguments in (("answer", "run_nothere", "approve"), ("answer", run.run_id, "approve", "--http")):
        refused = runs(*arguments)
        assert refused.returncode == 2
        assert "there is no run" in refused.stderr
        assert refused.stderr.count("\n") == 1
