"""Copying in the background: what fails is tried again, and nothing that happens there ends anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest

from atlas_mcp.constellation import copier as copier_room
from atlas_mcp.constellation.copier import Copier
from atlas_mcp.errors import LettaUnavailable
from atlas_mcp.model.caller import Caller

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atlas_mcp.constellation.constellation import Constellation

pytestmark = pytest.mark.anyio

ME, OTHER = Caller(id="local:me"), Caller(id="key:other", kind="key")


class Copies:
    """A constellation whose copying comes to what it is told, one outcome after the other."""

    def __init__(self, *outcomes: bool | Exception) -> None:
        self._outcomes: Iterator[bool | Exception] = iter(outcomes)
        self.done = anyio.Event()
        self.attempts = 0

    async def copy_knowledge(self) -> bool:
        self.attempts += 1
        outcome = next(self._outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        if outcome:
            self.done.set()
        return outcome


async def worked(monkeypatch: pytest.MonkeyPatch, **copies: Copies) -> None:
    """A copier at work until all of them are done."""
    monkeypatch.setattr(copier_room, "FIRST_PAUSE", 0.01)

    async def of(caller: Caller) -> Constellation:
        return cast("Any", copies[caller.kind])

    copier = Copier(of)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(copier.work)
            for caller in (ME, OTHER):
                if caller.kind in copies:
                    copier.wanted(caller)
            for one in copies.values():
                await one.done.wait()
            tasks.cancel_scope.cancel()


async def test_what_fails_is_tried_again_until_it_is_done(monkeypatch: pytest.MonkeyPatch):
    mine = Copies(LettaUnavailable("away."), False, LettaUnavailable("away."), True)
    await worked(monkeypatch, local=mine)
    assert mine.attempts == 4


async def test_a_fault_ends_neither_the_copying_nor_what_is_beside_it(monkeypatch: pytest.MonkeyPatch):
    mine, other = Copies(ZeroDivisionError("a fault of ours"), True), Copies(True)
    await worked(monkeypatch, local=mine, key=other)
    assert (mine.attempts, other.attempts) == (2, 1)
