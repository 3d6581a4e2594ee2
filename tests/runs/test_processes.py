"""Runs across processes that are killed, leave, and work side by side: on one home, or with homes of their own on one
PostgreSQL.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from anyio.streams.text import TextReceiveStream

from atlas_mcp.model.caller import Caller
from atlas_mcp.runs import open_runs
from tests.runs.means import locks_beside

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from anyio.abc import Process

    from atlas_mcp.model.run import Run
    from atlas_mcp.store.home import Home
    from atlas_mcp.store.record import Record

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)]
DEADLINE = 60
TRIES = 10  # to be quick once, on a machine that may be busy with something else
ME = Caller(id="local:me")


class Other:
    """Another process that executes runs."""

    def __init__(self, process: Process) -> None:
        self.process = process
        assert process.stdout is not None
        self._text = TextReceiveStream(process.stdout)
        self._rest = ""

    async def hears(self, event: str) -> dict[str, Any]:
        """The next thing of that name it tells; what it tells before is passed over."""
        with anyio.fail_after(DEADLINE):
            while True:
                line, found, rest = self._rest.partition("\n")
                if not found:
                    self._rest += await self._text.receive()
                    continue
                self._rest = rest
                if (facts := json.loads(line))["event"] == event:
                    return facts

    async def told(self, do: str, **command: Any) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send((json.dumps({"do": do, **command}) + "\n").encode())

    async def submit(self, needs: tuple[str, ...] = (), **input: Any) -> str:
        await self.told("submit", input=input, needs=needs)
        return (await self.hears("submitted"))["run_id"]

    async def killed(self) -> None:
        self.process.kill()
        with anyio.fail_after(DEADLINE):
            await self.process.wait()

    async def leaves(self) -> int:
        assert self.process.stdin is not None
        await self.process.stdin.aclose()
        with anyio.fail_after(DEADLINE):
            return await self.process.wait()


@asynccontextmanager
async def another(home: Home, *providers: str) -> AsyncGenerator[Other]:
    program = str(Path(__file__).with_name("process.py"))
    process = await anyio.open_process([sys.executable, program, str(home.path), *providers], stderr=subprocess.DEVNULL)
    other = Other(process)
    try:
        await other.hears("ready")
        yield other
    finally:
        if process.returncode is None:
            process.kill()
        with anyio.CancelScope(shield=True):
            await process.aclose()


@asynccontextmanager
async def looking(home: Home, record: Record) -> AsyncGenerator[Any]:
    """Runs of this process, which executes none."""
    async with locks_beside(record, home) as locks, open_runs(home, record, locks, {}) as runs:
        yield runs


async def ended(runs: Any, run_id: str) -> Run:
    with anyio.fail_after(DEADLINE):
        async for _ in runs.follow(run_id):
            pass
        return await runs.get(ME, run_id)


def assert_nothing_lost_or_doubled(run: Run, steps: int) -> None:
    assert [e.seq for e in run.events] == list(range(1, len(run.events) + 1))
    told = Counter((e.type, e.turn_id) for e in run.events if e.turn_id)
    expected = {(kind, f"t{n}"): 1 for kind in ("turn_started", "turn_finished") for n in range(1, steps + 1)}
    assert told == Counter(expected)
    assert run.usage.turns == steps


async def test_a_run_whose_process_is_killed_goes_on_in_the_next(opened_home: Home, record: Record) -> None:
    async with looking(opened_home, record) as runs:
        async with another(opened_home) as first:
            run_id = await first.submit(steps=5, pause_in=3)
            while (await first.hears("step"))["step"] != 3:
                pass
            await first.killed()
        assert (await runs.get(ME, run_id)).status == "working"
        async with another(opened_home) as second:
            begun = await second.hears("begun")
            run = await ended(runs, run_id)
            assert await second.leaves() == 0
    assert (begun["resumed"], begun["attempt"], begun["caller"]) == (True, 2, "desk")
    assert (run.status, run.reply) == ("completed", "5 steps")
    assert_nothing_lost_or_doubled(run, 5)


async def test_a_living_process_takes_over_the_run_of_a_killed_one(opened_home: Home, record: Record) -> None:
    async with looking(opened_home, record) as runs, another(opened_home) as survivor, another(opened_home) as victim:
        run_id = await victim.submit(steps=3, pause_in=2)
        while (await victim.hears("step"))["step"] != 2:
            pass
        await victim.killed()
        assert (await survivor.hears("begun"))["run_id"] == run_id
        run = await ended(runs, run_id)
    assert run.reply == "3 steps"
    assert_nothing_lost_or_doubled(run, 3)


async def test_a_run_that_kills_its_process_is_given_up_after_three_attempts(opened_home: Home, record: Record) -> None:
    attempts: list[int] = []
    async with looking(opened_home, record) as runs:
        run_id = ""
        for _ in range(3):
            async with another(opened_home) as process:
                run_id = run_id or await process.submit(steps=3, die_in=2)
                attempts.append((await process.hears("begun"))["attempt"])
                with anyio.fail_after(DEADLINE):
                    assert await process.process.wait() == 9
        async with another(opened_home):
            run = await ended(runs, run_id)
    assert attempts == [1, 2, 3]
    assert run.status == "failed"
    assert run.error == "given up: the process that executed it ended or hung in each of 3 attempts."
    assert [e.type for e in run.events if e.type.startswith("run_")] == [
        "run_queued",
        "run_started",
        "run_resumed",
        "run_resumed",
        "run_failed",
    ]


async def test_a_run_is_cancelled_from_another_process_within_a_second(opened_home: Home, record: Record) -> None:
    seconds: list[float] = []
    async with another(opened_home) as doing, another(opened_home) as asking:
        while min(seconds, default=1.0) >= 1 and len(seconds) < TRIES:
            run_id = await doing.submit(steps=3, pause_in=2)
            while (await doing.hears("step"))["step"] != 2:
                pass
            await asking.told("cancel", run_id=run_id)
            assert (await asking.hears("cancelled"))["status"] == "cancelled"
            since = time.monotonic()
            assert (await doing.hears("stopped"))["by"] == "CancelledError"
            seconds.append(time.monotonic() - since)
            async with looking(opened_home, record) as runs:
                run = await runs.get(ME, run_id)
            assert (run.status, run.usage.turns) == ("cancelled", 1)
            assert [e.type for e in run.events][-1] == "run_cancelled"
    assert min(seconds) < 1


async def test_the_end_of_a_run_is_heard_in_another_process(opened_home: Home, record: Record) -> None:
    async with looking(opened_home, record) as runs, another(opened_home) as doing:
        run_id = await doing.submit(steps=2)
        with anyio.fail_after(DEADLINE):
            run = await runs.get(ME, run_id, since=99, wait_seconds=DEADLINE)
    assert (run.status, run.events) == ("completed", [])


async def test_only_a_process_with_the_key_takes_over(opened_home: Home, record: Record) -> None:
    async with looking(opened_home, record) as runs, another(opened_home) as keyless:
        async with another(opened_home, "anthropic") as first:
            run_id = await first.submit(needs=("anthropic",), steps=2, pause_in=2)
            while (await first.hears("step"))["step"] != 2:
                pass
            assert "key" not in ((await runs.get(ME, run_id)).note or "")
            await first.killed()
        with anyio.fail_after(DEADLINE):  # PostgreSQL frees a dead process's locks when it sees that it is gone
            while "it needs a key for 'anthropic'" not in ((await runs.get(ME, run_id)).note or ""):
                await anyio.lowlevel.checkpoint()
        own = await keyless.submit(steps=1)
        assert (await keyless.hears("begun"))["run_id"] == own
        async with another(opened_home, "anthropic") as second:
            assert (await second.hears("begun"))["run_id"] == run_id
            assert (await ended(runs, run_id)).status == "completed"


async def test_a_process_that_leaves_hands_its_run_on_at_once(opened_home: Home, record: Record) -> None:
    async with looking(opened_home, record) as runs, another(opened_home) as stays, another(opened_home) as leaves:
        run_id = await leaves.submit(steps=2, pause_in=1)
        await leaves.hears("step")
        assert await leaves.leaves() == 0
        begun = await stays.hears("begun")
        assert (begun["run_id"], begun["attempt"], begun["resumed"]) == (run_id, 1, True)
        assert_nothing_lost_or_doubled(await ended(runs, run_id), 2)


async def test_processes_that_start_together_share_a_home(opened_home: Home, record: Record) -> None:
    async with looking(opened_home, record) as runs:
        made: list[str] = []

        async def one() -> None:
            async with another(opened_home) as process:
                mine = [await process.submit(steps=3) for _ in range(3)]
                for run_id in mine:
                    assert (await ended(runs, run_id)).reply == "3 steps"
                made.extend(mine)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(one)
        assert len(set(made)) == 9
        for run_id in made:
            assert_nothing_lost_or_doubled(await ended(runs, run_id), 3)
