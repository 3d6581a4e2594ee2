"""Workers are killed at random moments of a run of three teams: no run is lost, no finished turn is taken again, and
the answer is the same. `ATLAS_TEST_KILLS` says how many (half of them on PostgreSQL), `ATLAS_TEST_SEED` when.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import pytest

from atlas_mcp.model.run import ENDED, Run
from tests.runs_crashes.world import DEADLINE, ME, World, looking_on, outcome

if TYPE_CHECKING:
    from tests.runs_crashes.world import Place
    from tests.scripted_model import ScriptedModel

KILLS = int(os.environ.get("ATLAS_TEST_KILLS", "10"))
SEED = int(os.environ.get("ATLAS_TEST_SEED", "4"))
MOST_A_RUN = 2  # the third would be the end of it
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300 + 60 * KILLS)]


class Count:
    """What was found out about all runs together."""

    def __init__(self) -> None:
        self.kills = self.runs = self.turns = self.repeated = 0
        self.seconds: list[float] = []

    def __str__(self) -> str:
        return (
            f"{self.kills} kills in {self.runs} runs, all with the same answer; {self.turns} turns, no finished one"
            f" repeated, {self.repeated} under way asked again; taken over within {max(self.seconds, default=0):.2f} s"
        )


@dataclass
class Kill:
    """How far the run was when its worker was killed."""

    calls: int
    done: Counter[str]
    under_way: Counter[str]


async def kill(world: World, run_id: str, chance: random.Random, calls: int) -> Kill | None:
    """Kill the run's worker at some moment; None if the run was over before."""
    with anyio.move_on_after(DEADLINE):
        wanted = world.model.calls + chance.randint(0, calls)
        async for _ in world.runs.follow(run_id):
            if world.model.calls >= wanted:
                break
    await anyio.sleep(chance.uniform(0, 0.08))
    worker = await world.executor(run_id)
    if worker is None or (await world.runs.get(ME, run_id)).status in ENDED:
        return None
    worker.kill()
    world.workers.remove(worker)
    return Kill(world.model.calls, await world.turns(run_id, "done"), await world.turns(run_id, "started"))


async def one_run(world: World, chance: random.Random, count: Count, calls: int, most: int) -> object:
    """A run whose workers are killed; what it came to. Another worker comes for each that is killed."""
    first = world.model.calls
    run_id = await world.submit()
    kills: list[Kill] = []
    await world.until(run_id, "run_started")
    for _ in range(min(MOST_A_RUN, most - count.kills)):
        since = (await world.runs.get(ME, run_id)).events[-1].seq
        made = await kill(world, run_id, chance, calls)
        if made is None:
            break
        kills.append(made)
        count.kills += 1
        count.seconds += await taken_over(world, run_id, since)
    run = await world.ended(run_id)
    check(world, run, await world.turns(run_id, "done"), kills, first, count)
    return outcome(run)


async def taken_over(world: World, run_id: str, since: int) -> list[float]:
    """The seconds until the run is seen to go on, unless it had just ended."""
    then = anyio.current_time()
    with anyio.fail_after(DEADLINE):
        async for event in world.runs.follow(run_id, since):
            if event.type == "run_resumed":
                return [anyio.current_time() - then]
    return []


def check(world: World, run: Run, taken: Counter[str], kills: list[Kill], first: int, count: Count) -> None:
    """Nothing lost, nothing twice: in the journal, in the sums, and at the model."""
    assert run.status == "completed", [run.error, *(worker.said for worker in world.workers)]
    assert [e.seq for e in run.events] == list(range(1, len(run.events) + 1))
    finished = Counter(e.turn_id for e in run.events if e.type == "turn_finished")
    assert set(finished.values()) == {1}
    assert (len(finished), run.usage.turns) == (taken.total(), taken.total())
    for number, made in enumerate(kills):
        later = sum((other.under_way for other in kills[number + 1 :]), Counter[str]())
        assert not world.asked(made.calls) - (taken - made.done) - made.under_way - later, "a finished turn again"
    count.runs += 1
    count.turns += taken.total()
    count.repeated += (world.asked(first) - taken).total()


async def test_killed_at_random_moments_a_run_repeats_no_finished_turn_and_comes_to_the_same(
    place: Place, model: ScriptedModel
) -> None:
    chance, count, most = random.Random(SEED), Count(), KILLS if place.database is None else (KILLS + 1) // 2
    async with looking_on(place, model) as world:
        await world.staff(place)
        undisturbed = outcome(await world.ended(await world.submit()))
        calls = model.calls
        while count.kills < most:
            assert await one_run(world, chance, count, calls // MOST_A_RUN, most) == undisturbed
            await world.staff(place)
    sys.stdout.write(f"\n{count}\n")


@pytest.mark.parametrize("moment", ["submitted", "run_started"])
async def test_killed_before_its_first_turn_is_done_a_run_goes_on(
    place: Place, model: ScriptedModel, moment: str
) -> None:
    chance, count = random.Random(SEED), Count()
    async with looking_on(place, model) as world:
        await world.staff(place)
        for _ in range(3):
            first = world.model.calls
            run_id = await world.submit()
            worker = None
            while worker is None:
                worker = await world.executor(run_id)
            if moment == "run_started":
                await world.until(run_id, moment)
                await anyio.sleep(chance.uniform(0, 0.3))
            worker.kill()
            world.workers.remove(worker)
            under_way, done = await world.turns(run_id, "started"), await world.turns(run_id, "done")
            run = await world.ended(run_id)
            check(
                world, run, await world.turns(run_id, "done"), [Kill(world.model.calls, done, under_way)], first, count
            )
            await world.staff(place)
