"""A worker that stands still, with its locks and connections, is seen to; when it comes back it can change nothing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from sqlalchemy import select

from atlas_mcp.store import tables
from tests.runs_crashes.world import DEADLINE, World, answer, looking_on, outcome
from tests.scripted_model import ScriptedModel, last_user_text

if TYPE_CHECKING:
    from tests.runs_crashes.world import Place

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]


class Held:
    """Questions of supervisors, which are answered at the model's next release while `on`."""

    def __init__(self) -> None:
        self.on = True

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        given = answer(request)
        return {**given, "hold": True} if self.on and 'title="Delegation"' in last_user_text(request) else given


async def stand(world: World, run_id: str) -> tuple[Any, ...]:
    """All that the record has of the run."""
    found: list[Any] = []
    async with world.record.read() as db:
        for table, column in ((tables.run, "id"), (tables.event, "run_id"), (tables.turn, "run_id")):
            rows = await db.execute(select(table).where(table.c[column] == run_id).order_by(*table.primary_key))
            found.append([tuple(row) for row in rows])
    return tuple(found)


async def test_a_frozen_workers_run_is_taken_over_and_it_can_write_nothing_when_it_comes_back(
    place: Place, model: ScriptedModel
) -> None:
    held = Held()
    model.reset()
    model.on(lambda _: True, {"call": held})
    async with looking_on(place, model) as world:
        frozen = await world.start(place.homes[0])
        run_id = await world.submit()
        begun = Counter[str]()
        with anyio.fail_after(DEADLINE):
            async for event in world.runs.follow(run_id):
                begun[event.type] += 1
                if begun["turn_started"] == 3:  # the plan, and how two teams split their parts
                    break
            await model.arrived(3, DEADLINE)
        frozen.freeze()
        held.on = False
        other = await world.start(place.homes[1])
        resumed = await world.until(run_id, "run_resumed")
        assert resumed.data["attempt"] == 2
        run = await world.ended(run_id)
        assert outcome(run)[0] == "completed"
        assert titles(model)["Plan"] == 1, "a finished turn is not taken again"
        before = await stand(world, run_id)
        model.release()
        frozen.thaw()
        other.kill()
        world.workers.remove(other)
        again = await world.ended(await world.submit())
        assert outcome(again) == outcome(run), "the one that was frozen is as good as new"
        assert (await world.executor(again.run_id)) is frozen
        assert await stand(world, run_id) == before


def titles(model: ScriptedModel) -> Counter[str]:
    """How often the model was asked for each kind of answer."""
    return Counter(last_user_text(request).split('title="')[-1].split('"')[0] for request in model.requests)
