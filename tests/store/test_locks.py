"""Locks: exclusion among tasks and processes, fairness, cancellation, and freedom after kill -9."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

from atlas_mcp.errors import LockTimeout
from atlas_mcp.store.locks import Locks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

GATE = b"a\0gate"

HOLDER = """
import sys
from pathlib import Path
from atlas_mcp.store.locks import Locks
held = Locks(Path(sys.argv[1])).try_hold(sys.argv[2])
print("held" if held else "refused", flush=True)
sys.stdin.readline()
if held: held.release()
"""

COUNTER = """
import sys, anyio
from pathlib import Path
from atlas_mcp.store.locks import Locks

async def main(folder):
    locks, file = Locks(folder), folder / "count"
    async def add():
        for _ in range(25):
            async with locks.hold("counter"):
                value = int(file.read_text())
                await anyio.lowlevel.checkpoint()
                file.write_text(str(value + 1))
    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(add)

anyio.run(main, Path(sys.argv[1]))
"""


@contextmanager
def another_process_holding(folder: Path, name: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)
        process.communicate()


async def test_tasks_get_the_lock_one_at_a_time_in_the_order_they_asked(tmp_path: Path):
    locks, inside, order = Locks(tmp_path), 0, list[int]()

    async def use(n: int) -> None:
        nonlocal inside
        async with locks.hold("a"):
            inside += 1
            assert inside == 1
            await anyio.lowlevel.checkpoint()
            order.append(n)
            inside -= 1

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            for n in range(20):
                group.start_soon(use, n)
    assert order == list(range(20))


async def test_two_instances_on_one_folder_exclude_each_other(tmp_path: Path):
    async with Locks(tmp_path).hold("a"):
        assert Locks(tmp_path).try_hold("a") is None
        with pytest.raises(LockTimeout):
            async with Locks(tmp_path).hold("a", wait_seconds=0.05):
                pass
    held = Locks(tmp_path).try_hold("a")
    assert held
    held.release()
    held.release()


def test_different_names_do_not_wait_for_each_other_whatever_they_are(tmp_path: Path):
    locks = Locks(tmp_path)
    names = ["a", "A", "../a", "a/b", "a\\b", "", "..", "x" * 5000, "ü\0ß", "con", "*"]
    held = [locks.try_hold(name) for name in names]
    assert all(held)
    assert not (tmp_path.parent / "a").exists()
    assert all(locks.is_held(name) for name in names)
    assert locks.held_among([*names, "free"]) == set(names)
    for one in held:
        assert one
        one.release()
    assert not any(locks.is_held(name) for name in names)
    assert locks.held_among(names) == set()
    assert list(tmp_path.iterdir()) == [], "no lock files are left behind"


async def test_a_lock_of_another_process_is_seen_and_waited_for(tmp_path: Path):
    locks, entered = Locks(tmp_path), anyio.Event()

    async def enter() -> None:
        async with locks.hold("a"):
            entered.set()

    with another_process_holding(tmp_path, "a") as process, anyio.fail_after(10):
        assert locks.is_held("a")
        assert locks.try_hold("a") is None
        async with anyio.create_task_group() as group:
            group.start_soon(enter)
            with anyio.move_on_after(0.1):
                await entered.wait()
            assert not entered.is_set()
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()
            await entered.wait()


async def test_the_system_frees_the_lock_of_a_killed_process(tmp_path: Path):
    locks = Locks(tmp_path)
    with another_process_holding(tmp_path, "a") as process:
        process.kill()
        process.wait(10)
        with anyio.fail_after(5):
            async with locks.hold("a"):
                assert locks.is_held("a")


def test_a_subprocess_does_not_inherit_the_lock(tmp_path: Path):
    locks = Locks(tmp_path)
    held = locks.try_hold("a")
    assert held
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    held.release()
    assert not locks.is_held("a")
    child.communicate(b"\n", timeout=10)


def test_three_processes_of_four_tasks_never_lose_a_count(tmp_path: Path):
    (tmp_path / "count").write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", COUNTER, str(tmp_path)]) for _ in range(3)]
    for process in processes:
        assert process.wait(60) == 0
    assert (tmp_path / "count").read_text() == "300"


async def test_another_process_gets_its_turn_although_our_own_queue_never_ends(tmp_path: Path):
    locks, stop = Locks(tmp_path), anyio.Event()

    async def keep_asking() -> None:
        while not stop.is_set():
            async with locks.hold("a"):
                await anyio.lowlevel.checkpoint()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(keep_asking)
            code = (
                "import sys, anyio; from pathlib import Path; from atlas_mcp.store.locks import Locks\n"
                "async def main():\n"
                "    for _ in range(5):\n"
                "        async with Locks(Path(sys.argv[1])).hold('a', wait_seconds=5): pass\n"
                "anyio.run(main)"
            )
            await anyio.run_process([sys.executable, "-c", code, str(tmp_path)])
            stop.set()


async def test_waiting_can_be_cancelled_and_leaves_the_queue_whole(tmp_path: Path):
    locks, got = Locks(tmp_path), list[str]()

    async def wait(name: str, scope: anyio.CancelScope) -> None:
        with scope:
            async with locks.hold("a"):
                got.append(name)

    first, second = anyio.CancelScope(), anyio.CancelScope()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group, locks.hold("a"):
            group.start_soon(wait, "first", first)
            group.start_soon(wait, "second", second)
            await anyio.wait_all_tasks_blocked()
            first.cancel()
            await anyio.wait_all_tasks_blocked()
    assert got == ["second"]
    assert not locks.is_held("a")
    assert locks._queues == {}


async def test_the_deadline_says_what_was_waited_for(tmp_path: Path):
    locks = Locks(tmp_path)
    async with locks.hold("turn-7"):
        with pytest.raises(LockTimeout, match="turn-7"):
            async with locks.hold("turn-7", wait_seconds=0.02):
                pass
    async with locks.hold("turn-7", wait_seconds=1):
        pass


async def test_an_error_in_the_body_frees_the_lock(tmp_path: Path):
    locks = Locks(tmp_path)
    with pytest.raises(ZeroDivisionError):
        async with locks.hold("a"):
            _ = 1 / 0
    assert not locks.is_held("a")


async def test_a_gate_left_by_a_killed_waiter_holds_nobody_up(tmp_path: Path):
    locks = Locks(tmp_path)
    gate = tmp_path / f"l-{hashlib.sha256(GATE).hexdigest()}.lock"
    gate.touch()
    with anyio.fail_after(5):
        async with locks.hold("a"):
            pass
    assert not gate.exists()
