"""A process is killed with a call in its hands: the call is made once at most, and what is not known is said."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest

from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.settings import load_settings
from tests.permissions.conftest import ASKED, SECONDS
from tests.permissions.victim import ME
from tests.scripted_model import last_user_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atlas_mcp.model.run import Run
    from tests.permissions.board import Board
    from tests.scripted_model import ScriptedModel

pytestmark = pytest.mark.anyio


class Victims:
    """Processes that chat; those that live are killed at the end."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[str]] = []

    def start(self, point: str) -> tuple[str, subprocess.Popen[str]]:
        """A process that dies at that point, and the id of its run."""
        command = [sys.executable, "-m", "tests.permissions.victim", point, ASKED]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._started.append(process)
        assert process.stdout
        return process.stdout.readline().strip(), process

    def kill(self) -> None:
        for process in self._started:
            process.kill()
            process.wait(60)


@pytest.fixture
def victims() -> Iterator[Victims]:
    made = Victims()
    yield made
    made.kill()


async def stands(atlas: Atlas, run_id: str, *wanted: str) -> Run:
    """The run, once it has one of these statuses."""
    seen = 0
    with anyio.fail_after(SECONDS):
        while True:
            run = await atlas.get_run(ME, run_id, since=seen, wait_seconds=5)
            seen = run.events[-1].seq if run.events else seen
            if run.status in wanted:
                return await atlas.get_run(ME, run_id)


def types(run: Run) -> list[str]:
    return [event.type for event in run.events]


async def test_killed_before_the_question_was_put_it_is_put_by_the_next_and_the_call_made_once(
    given: Board, victims: Victims
) -> None:
    run_id, process = await anyio.to_thread.run_sync(victims.start, "asking")
    await anyio.to_thread.run_sync(process.wait)
    async with open_atlas(load_settings()) as atlas:
        run = await stands(atlas, run_id, "awaiting_answer")
        assert given.notes == []
        await atlas.answer_run(ME, run_id, "approve")
        run = await stands(atlas, run_id, "completed")
    assert given.notes == ["lunch at noon"]
    assert types(run).count("question_asked") == 1


async def test_killed_between_the_yes_and_the_call_the_next_makes_it_once(
    given: Board, victims: Victims, scripted_model: ScriptedModel
) -> None:
    run_id, process = await anyio.to_thread.run_sync(victims.start, "approved")
    await anyio.to_thread.run_sync(process.wait)
    assert given.notes == []
    async with open_atlas(load_settings()) as atlas:
        await stands(atlas, run_id, "completed")
    assert given.notes == ["lunch at noon"]
    assert "was approved and made" in last_user_text(scripted_model.last)


@pytest.mark.parametrize("when", ["while it is made", "before its end is stored"])
async def test_killed_with_the_call_begun_it_is_not_made_again_and_that_is_said(
    given: Board, victims: Victims, scripted_model: ScriptedModel, when: str
) -> None:
    if when == "while it is made":
        given.hold()
        run_id, process = await anyio.to_thread.run_sync(victims.start, "never")
        await anyio.to_thread.run_sync(given.wait_for, 1)
        process.kill()
        given.release()
    else:
        run_id, process = await anyio.to_thread.run_sync(victims.start, "made")
    await anyio.to_thread.run_sync(process.wait)
    async with open_atlas(load_settings()) as atlas:
        run = await stands(atlas, run_id, "completed")
    assert given.notes == ["lunch at noon"]
    assert "what became of it is not known. It is not repeated" in last_user_text(scripted_model.last)
    assert types(run).count("tool_lost") == 1
