"""A worker that is told to stop lets go of its runs, and counts no death."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest

from tests.runs_crashes.world import DEADLINE, World, answer, looking_on, outcome

if TYPE_CHECKING:
    from tests.runs_crashes.world import Place
    from tests.scripted_model import ScriptedModel

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]


async def told_to_stop(world: World, run_id: str) -> int:
    """Stop the run's worker in good order, and let the model answer it; its exit code."""
    worker = await world.executor(run_id)
    assert worker is not None
    worker.process.send_signal(signal.SIGTERM)
    world.model.release()
    return await anyio.to_thread.run_sync(worker.process.wait, DEADLINE)


async def test_its_run_goes_on_in_another_worker_as_if_nothing_had_been(place: Place, model: ScriptedModel) -> None:
    def held(request: dict[str, Any]) -> dict[str, Any]:
        """The second question is answered at the release: until then the run cannot end."""
        return {**answer(request), "hold": len(model.requests) == 2}

    model.reset()
    model.on(lambda _: True, {"call": held})
    async with looking_on(place, model) as world:
        await world.staff(place)
        run_id = await world.submit()
        begun = await world.until(run_id, "turn_finished")
        await model.arrived(2, DEADLINE)
        assert await told_to_stop(world, run_id) == 0
        resumed = await world.until(run_id, "run_resumed", begun.seq)
        assert resumed.data["attempt"] == 1, "an attempt that was given back did not fail"
        run = await world.ended(run_id)
        taken = await world.turns(run_id, "done")
        assert outcome(run)[0] == "completed"
        assert not world.asked() - taken - await world.turns(run_id, "failed"), "no finished turn was taken again"
