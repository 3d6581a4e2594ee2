"""Locks: exclusion among tasks and processes, fairness, cancellation, and freedom after kill -9; by both means."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest

from atlas_mcp.errors import LockTimeout
from atlas_mcp.store.locks import Locks
from tests.postgres import session_postgres
from tests.store.lock_means import locks_at

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio
ROOT = str(Path(__file__).parents[2])
GATE = b"a\0gate"
PATIENCE = 60

HOLDER = """
import sys, anyio
from tests.store.lock_means import locks_at

async def main(where, name):
    async with locks_at(where) as (locks,):
        held = locks.try_hold(name)
        print("held" if held else "refused", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)
        if held: held.release()
        await anyio.to_thread.run_sync(sys.stdin.readline)

anyio.run(main, *sys.argv[1:])
"""

COUNTER = """
import sys, anyio
from pathlib import Path
from tests.store.lock_means import locks_at

async def main(where, count):
    file = Path(count)
    async with locks_at(where) as (locks,):
        async def add():
            for _ in range(25):
                async with locks.hold("counter"):
                    value = int(file.read_text())
                    await anyio.lowlevel.checkpoint()
                    file.write_text(str(value + 1))
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(add)

anyio.run(main, *sys.argv[1:])
"""

FIVE_TIMES = """
import sys, anyio
from tests.store.lock_means import locks_at

async def main(where):
    async with locks_at(where) as (locks,):
        for _ in range(5):
            async with locks.hold('a', wait_seconds=50): pass

anyio.run(main, *sys.argv[1:])
"""


@pytest.fixture(params=["files", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder, or the address of a database of its own."""
    return str(tmp_path) if request.param == "files" else session_postgres().new_database()


@asynccontextmanager
async def another_process_holding(where: str, name: str) -> AsyncGenerator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, where, name]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)  # noqa: ASYNC220
    assert process.stdout
    assert await anyio.to_thread.run_sync(process.stdout.readline) == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait(60)
        process.communicate()


async def test_tasks_get_the_lock_one_at_a_time_in_the_order_they_asked(where: str):
    inside, order = 0, list[int]()

    async def use(locks: Locks, n: int) -> None:
        nonlocal inside
        async with locks.hold("a"):
            inside += 1
            assert inside == 1
            await anyio.lowlevel.checkpoint()
            order.append(n)
            inside -= 1

    async with locks_at(where) as (locks,):
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                for n in range(20):
                    group.start_soon(use, locks, n)
    assert order == list(range(20))


async def test_two_instances_exclude_each_other(where: str):
    async with locks_at(where, many=2) as (one, two):
        async with one.hold("a"):
            assert two.try_hold("a") is None
            assert one.try_hold("a") is None
            with pytest.raises(LockTimeout):
                async with two.hold("a", wait_seconds=0.05):
                    pass
        held = two.try_hold("a")
        assert held
        assert one.is_held("a")
        held.release()
        held.release()
        assert not one.is_held("a")


async def test_different_names_do_not_wait_for_each_other_whatever_they_are(where: str):
    names = ["a", "A", "../a", "a/b", "a\\b", "", "..", "x" * 5000, "ü\0ß", "con", "*", "a-b", "a-c", "'; --"]
    async with locks_at(where) as (locks,):
        held = [locks.try_hold(name) for name in names]
        assert all(held)
        assert all(locks.is_held(name) for name in names)
        assert locks.held_among([*names, "free"]) == set(names)
        for one in held:
            assert one
            one.release()
        assert not any(locks.is_held(name) for name in names)
        assert locks.held_among(names) == set()


async def test_what_begins_so_is_seen_by_the_others(where: str):
    async with locks_at(where, many=2) as (one, two):
        held = one.try_hold("visit-ab12-77")
        assert held
        assert two.any_beginning("visit-ab12-")
        assert one.any_beginning("visit-ab12-")
        assert not two.any_beginning("visit-ab1-")
        assert not two.any_beginning("visit-ab12-77-")
        held.release()
        assert not two.any_beginning("visit-ab12-")


def test_no_lock_files_are_left_behind_and_none_lies_elsewhere(tmp_path: Path):
    folder = tmp_path / "locks"
    held = [Locks(folder).try_hold(name) for name in ("../a", "a/b", "A", "b")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["locks"]
    for one in held:
        assert one
        one.release()
    assert list(folder.iterdir()) == []


async def test_a_lock_of_another_process_is_seen_and_waited_for(where: str):
    entered = anyio.Event()

    async def enter(locks: Locks) -> None:
        async with locks.hold("a"):
            entered.set()

    async with locks_at(where) as (locks,), another_process_holding(where, "a") as process:
        with anyio.fail_after(PATIENCE):
            assert locks.is_held("a")
            assert locks.try_hold("a") is None
            async with anyio.create_task_group() as group:
                group.start_soon(enter, locks)
                with anyio.move_on_after(0.1):
                    await entered.wait()
                assert not entered.is_set()
                assert process.stdin
                process.stdin.write("\n")
                process.stdin.flush()
                await entered.wait()


async def test_the_lock_of_a_killed_process_is_free(where: str):
    async with locks_at(where) as (locks,), another_process_holding(where, "a") as process:
        process.kill()
        process.wait(60)
        with anyio.fail_after(PATIENCE):
            async with locks.hold("a"):
                assert locks.is_held("a")


async def test_a_frozen_process_keeps_its_lock(where: str):
    async with locks_at(where) as (locks,), another_process_holding(where, "a") as process:
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(LockTimeout):
            async with locks.hold("a", wait_seconds=2.5):
                pass
        assert locks.is_held("a")


async def test_a_subprocess_does_not_inherit_the_lock(where: str):
    async with locks_at(where) as (locks,):
        held = locks.try_hold("a")
        assert held
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)  # noqa: ASYNC220
        held.release()
        assert not locks.is_held("a")
        child.communicate(b"\n", timeout=60)


async def test_three_processes_of_four_tasks_never_lose_a_count(where: str, tmp_path: Path):
    count = tmp_path / "count"
    count.write_text("0")
    with anyio.fail_after(100):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                command = [sys.executable, "-c", COUNTER, where, str(count)]
                group.start_soon(lambda command: anyio.run_process(command, cwd=ROOT), command)
    assert count.read_text() == "300"


async def test_another_process_gets_its_turn_although_our_own_queue_never_ends(where: str):
    stop = anyio.Event()

    async def keep_asking(locks: Locks) -> None:
        while not stop.is_set():
            async with locks.hold("a"):
                await anyio.lowlevel.checkpoint()

    async with locks_at(where) as (locks,):
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(keep_asking, locks)
                await anyio.run_process([sys.executable, "-c", FIVE_TIMES, where], cwd=ROOT)
                stop.set()


async def test_waiting_can_be_cancelled_and_leaves_the_queue_whole(where: str):
    got = list[str]()

    async def wait(locks: Locks, name: str, scope: anyio.CancelScope) -> None:
        with scope:
            async with locks.hold("a"):
                got.append(name)

    first, second = anyio.CancelScope(), anyio.CancelScope()
    async with locks_at(where) as (locks,):
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group, locks.hold("a"):
                group.start_soon(wait, locks, "first", first)
                group.start_soon(wait, locks, "second", second)
                await _both_wait(locks)
                first.cancel()
                await anyio.lowlevel.checkpoint()
        assert got == ["second"]
        assert not locks.is_held("a")
        assert locks._queues == {}


async def _both_wait(locks: Locks) -> None:
    while locks._queues["a"].wanted < 3:
        await anyio.lowlevel.checkpoint()


async def test_the_deadline_says_what_was_waited_for(where: str):
    async with locks_at(where) as (locks,):
        async with locks.hold("turn-7"):
            with pytest.raises(LockTimeout, match="turn-7"):
                async with locks.hold("turn-7", wait_seconds=0.02):
                    pass
        async with locks.hold("turn-7", wait_seconds=PATIENCE):
            pass


async def test_an_error_in_the_body_frees_the_lock(where: str):
    async with locks_at(where) as (locks,):
        with pytest.raises(ZeroDivisionError):
            async with locks.hold("a"):
                _ = 1 / 0
        assert not locks.is_held("a")


async def test_a_gate_left_by_a_killed_waiter_holds_nobody_up(tmp_path: Path):
    locks = Locks(tmp_path)
    gate = tmp_path / f"l-{hashlib.sha256(GATE).hexdigest()}.lock"
    gate.touch()
    with anyio.fail_after(60):
        async with locks.hold("a"):
            pass
    assert not gate.exists()
