"""A constellation brought to a Letta: from a package file, or from the Letta that has it now.

Promise: all or nothing, at whatever point it is killed. First all of it is planted on the target beside what is there,
and looked at again; then the record changes in one transaction; then what is left behind is removed. Until that
transaction the constellation is where and what it was, and what was planted is taken back; after it the constellation
is the new one, and the rest is made up for: by whoever moved, or at the next start or move of anybody on this home.
Meanwhile nobody else works in the constellation: those at work are waited for, and those who come are told.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import anyio

from atlas_mcp.constellation import portable_rows as rows
from atlas_mcp.constellation.move_marks import bring_files, drop_mark, has_mark, new_mark, read_marks, write_mark
from atlas_mcp.constellation.portable_collect import InLetta, collect_living
from atlas_mcp.constellation.portable_planting import missing, plant, remove, settle
from atlas_mcp.constellation.visits import all_out
from atlas_mcp.errors import AtlasError, ConfigurationError, ConstellationMoving, IllegalChange, LettaUnavailable
from atlas_mcp.letta import placement

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.constellation.move_marks import Mark
    from atlas_mcp.constellation.portable_entries import AgentEntry, Package
    from atlas_mcp.constellation.portable_planting import Planted
    from atlas_mcp.letta.door import Letta
    from atlas_mcp.letta.states import NewAgent
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record

    Named = Callable[[str], Awaitable[Letta]]
    NewAgentOf = Callable[[AgentEntry], NewAgent]

FINISH_SECONDS = 60.0
RUNS_PAUSE = 0.2
log = logging.getLogger(__name__)


class Moves:
    """The moves of one home; `folder` keeps those that are unfinished, `letta` gives a Letta by its name."""

    def __init__(self, folder: Path, record: Record, locks: Locks, letta: Named) -> None:
        self._folder = folder
        self._record = record
        self._locks = locks
        self._letta = letta

    async def bring(
        self,
        caller: Caller,
        package: Package,
        target: Letta,
        new_agent: NewAgentOf,
        *,
        replace: bool,
        files: Mapping[Path, bytes],
        wait_seconds: float,
    ) -> None:
        """Make the package the caller's constellation, on the target. `files` are written with it.

        IllegalChange if the caller has a constellation that is not to be replaced, or runs that go on;
        ConstellationMoving when those at work are not out in time. Then nothing was changed.
        """
        living = InLetta(package.agents, package.blocks, package.archives)

        async def change(db: AsyncConnection, mark: Mark, planted: Planted) -> None:
            refuse(await rows.counted(db, caller), replace=replace)
            await rows.erase(db, caller)
            await rows.put_living(db, caller, target.name, living.agents, living.blocks, planted, mark.at)
            await rows.put_rest(db, caller, package)

        with self._held(caller):
            await self._finish_of(caller)
            async with self._record.read() as db:
                refuse(await rows.counted(db, caller), replace=replace)
                going_on = await rows.unfinished_runs(db, caller)
            if going_on:
                raise IllegalChange(
                    f"{going_on} of its runs have not ended.", next_step="Wait for them, or cancel them, and try again."
                )
            async with self._said(caller, target.name, wait_seconds):
                async with self._record.read() as db:
                    old = await rows.everything_living(db, caller)
                await self._carry_out(
                    new_mark(caller, target.name, old, files), target, living, new_agent, change, files
                )

    async def move(
        self,
        caller: Caller,
        source: Letta,
        target: Letta,
        new_agent: NewAgentOf,
        *,
        replace: bool,
        wait_seconds: float,
    ) -> InLetta:
        """Move what the caller has on one Letta to the other, where the constellation then is; what was moved.

        IllegalChange when the caller has agents there that are not to be replaced; ConstellationMoving when those at
        work are not out in time. Then nothing was moved.
        """
        with self._held(caller):
            await self._finish_of(caller)
            with anyio.move_on_after(wait_seconds):
                await self._runs_ended(caller)
            async with self._said(caller, target.name, wait_seconds):
                async with self._record.read() as db:
                    known = await rows.ids_by_name(db, caller, source.name)
                    old = [await rows.living(db, caller, letta.name) for letta in (source, target)]
                if (agents := old[1].agents) and not replace:
                    raise IllegalChange(
                        f"{len(agents)} agents of this constellation are on {target.name} already. Nothing was moved.",
                        next_step="To put those of " + source.name + " in their place, add --replace.",
                    )
                living = await collect_living(caller, source, self._record)

                async def change(db: AsyncConnection, mark: Mark, planted: Planted) -> None:
                    ids = {known.agents[name]: new for name, new in planted.agents.items()}
                    ids |= {known.blocks[place]: new for place, new in planted.blocks.items()}
                    await rows.lead_over(db, caller, source.name, target.name, ids)

                mark = new_mark(caller, target.name, (old[0].old, old[1].old), {})
                await self._carry_out(mark, target, living, new_agent, change, {})
                return living

    async def finish_all(self) -> None:
        """Finish what processes that were killed left unfinished; what cannot be now is left for the next time."""
        for mark in read_marks(self._folder):
            held = self._locks.try_hold(placement.moving_lock(mark.caller.id))
            if held is None:
                continue  # it is just being done
            with held:
                if has_mark(self._folder, mark):  # nobody finished it before the lock was had
                    await self._finish_if_possible(mark)

    async def _carry_out(
        self,
        mark: Mark,
        target: Letta,
        living: InLetta,
        new_agent: NewAgentOf,
        change: Callable[[AsyncConnection, Mark, Planted], Awaitable[None]],
        files: Mapping[Path, bytes],
    ) -> None:
        write_mark(self._folder, mark, files)
        try:
            planted = await plant(target, mark.tag, living, new_agent)
            if wrong := await missing(target, planted, living):
                raise LettaUnavailable(
                    f"what was copied to the Letta {target.name} is not what it should be: {wrong}.",
                    next_step="The constellation is where it was. Try again.",
                )
            async with self._record.write() as db:
                await change(db, mark, planted)
                await rows.place(db, mark.caller, target.name, mark.at)
        finally:
            with anyio.move_on_after(FINISH_SECONDS, shield=True):
                await self._finish_if_possible(mark)

    async def _finish_of(self, caller: Caller) -> None:
        for mark in read_marks(self._folder):
            if mark.caller.id == caller.id:
                await self._finish(mark)

    async def _finish_if_possible(self, mark: Mark) -> None:
        try:
            await self._finish(mark)
        except (AtlasError, OSError) as error:
            log.warning("what a move of a constellation to %s left is still to be removed: %s", mark.target, error)

    async def _finish(self, mark: Mark) -> None:
        """Make the Lettas what the record says, after the move was done or given up."""
        async with self._record.read() as db:
            done = await rows.placed_at(db, mark.caller) == mark.at
            named = {name: await rows.living(db, mark.caller, name) for name in {mark.target, *mark.servers}}
        here = named[mark.target]
        await settle(await self._letta(mark.target), mark.caller, mark.tag, here.agents, here.blocks)
        if done:
            bring_files(self._folder, mark)
        for old in mark.old:
            try:
                there = await self._letta(old.server)
            except ConfigurationError:
                log.warning("the Letta %s is no longer configured: its old agents stay there", old.server)
                continue
            await remove(there, old, named[old.server].old)
        drop_mark(self._folder, mark)

    @contextmanager
    def _held(self, caller: Caller) -> Generator[None]:
        held = self._locks.try_hold(placement.moving_lock(caller.id))
        if held is None:
            raise ConstellationMoving(
                "the constellation is just being moved or imported.", next_step="Try again when that is done."
            )
        with held:
            yield

    @asynccontextmanager
    async def _said(self, caller: Caller, target: str, wait_seconds: float) -> AsyncGenerator[None]:
        """Have the constellation to oneself: who comes is told that it moves, and who was there is out."""
        async with self._record.write() as db:
            await rows.say_moving(db, caller, target)
        try:
            with anyio.move_on_after(wait_seconds) as waited:
                await all_out(caller, self._locks)
            async with self._record.read() as db:
                going_on = await rows.unfinished_runs(db, caller)
            if waited.cancelled_caught or going_on:
                raise ConstellationMoving(
                    f"turns and runs of the constellation go on after {wait_seconds:g} s: it stays where it is.",
                    next_step="Wait for them (list_runs) or cancel them, and try again; or wait longer.",
                )
            yield
        finally:
            with anyio.CancelScope(shield=True):
                async with self._record.write() as db:
                    await rows.say_moving(db, caller, None)

    async def _runs_ended(self, caller: Caller) -> None:
        while True:
            async with self._record.read() as db:
                if not await rows.unfinished_runs(db, caller):
                    return
            await anyio.sleep(RUNS_PAUSE)


def refuse(there: Mapping[str, int], *, replace: bool) -> None:
    """IllegalChange if a constellation is there and is not to be replaced."""
    if there and not replace:
        found = ", ".join(f"{count} {what}" for what, count in there.items())
        raise IllegalChange(
            f"this home has a constellation already: {found}. Nothing was changed.",
            next_step="Import into another ATLAS_HOME, or add --replace: what is here is exported, then replaced.",
        )
