"""Slots that are given out in turns."""

from __future__ import annotations

import anyio
import pytest

from atlas_mcp.store.fair import FairSlots, on_behalf

pytestmark = pytest.mark.anyio
DEADLINE = 30


class Room:
    """Whoever comes in waits inside until let out."""

    def __init__(self, slots: int, of_one: int) -> None:
        self.slots = FairSlots(slots, of_one)
        self.came: list[str] = []
        self.inside: list[tuple[str, anyio.Event]] = []

    async def visit(self, name: str) -> None:
        on_behalf.set(name[:1])
        async with self.slots.slot(None if name.endswith("?") else name[:1]):
            self.came.append(name)
            out = anyio.Event()
            self.inside.append((name, out))
            await out.wait()

    async def let_out(self, name: str | None = None) -> None:
        """Let the first out, or the one of that name, and wait until whoever follows is in."""
        here = next(one for one in self.inside if name in (None, one[0]))
        self.inside.remove(here)
        here[1].set()
        await anyio.wait_all_tasks_blocked()


async def test_who_comes_last_waits_behind_one_of_each_other_name_at_most() -> None:
    room = Room(1, 1)
    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            for n in range(5):
                tasks.start_soon(room.visit, f"a{n}")
            await anyio.wait_all_tasks_blocked()
            for name in ("b0", "b1", "c0"):
                tasks.start_soon(room.visit, name)
            await anyio.wait_all_tasks_blocked()
            for _ in range(8):
                await room.let_out()
    assert room.came == ["a0", "a1", "b0", "c0", "a2", "b1", "a3", "a4"]


async def test_who_gives_no_name_waits_under_that_of_whoever_it_works_for() -> None:
    room = Room(1, 1)
    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            for name in ("a0?", "a1?", "a2", "b0?"):
                tasks.start_soon(room.visit, name)
                await anyio.wait_all_tasks_blocked()
            for _ in range(4):
                await room.let_out()
    assert room.came == ["a0?", "a1?", "b0?", "a2"]


async def test_one_name_does_not_take_all_slots() -> None:
    room = Room(3, 2)
    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            for n in range(4):
                tasks.start_soon(room.visit, f"a{n}")
            await anyio.wait_all_tasks_blocked()
            assert room.came == ["a0", "a1"]
            tasks.start_soon(room.visit, "b0")
            await anyio.wait_all_tasks_blocked()
            assert room.came == ["a0", "a1", "b0"]
            await room.let_out("b0")
            assert len(room.inside) == 2
            for _ in range(4):
                await room.let_out()
    assert room.came == ["a0", "a1", "b0", "a2", "a3"]


async def test_one_who_is_cancelled_while_waiting_takes_no_slot() -> None:
    room = Room(1, 1)
    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(room.visit, "a0")
            await anyio.wait_all_tasks_blocked()
            async with anyio.create_task_group() as others:
                others.start_soon(room.visit, "b0")
                await anyio.wait_all_tasks_blocked()
                others.cancel_scope.cancel()
            async with anyio.create_task_group() as others:
                others.start_soon(room.visit, "c0")
                await anyio.wait_all_tasks_blocked()
                room.inside.pop()[1].set()
                while "c0" not in room.came and room.slots._taken["c"] == 0:  # pyright: ignore[reportPrivateUsage]
                    await anyio.lowlevel.checkpoint()
                others.cancel_scope.cancel()  # the slot was given to it, and it is not there any more to take it
            tasks.start_soon(room.visit, "d0")
            await anyio.wait_all_tasks_blocked()
            assert room.came[-1] == "d0"
            await room.let_out("d0")
    assert "b0" not in room.came
