"""Continuous optimisation: what could be better, by what the record shows; applied, measured, taken back.

Promise: a look reads, and writes proposals; nothing anybody waits for is held up by it. One process of a record looks
at a time, once in EVERY_SECONDS at most. Only with ATLAS_IMPROVE is anything applied by itself: what is safe and of a
confidence over SURE, one at a time, and no other until that one was measured and kept or taken back. What is applied
lies over the roster of the file, in every process within seconds (see `_leading`), and is gone whole when it is undone.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from atlas_mcp._config import database
from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.errors import AtlasError, IllegalChange, InvalidInput
from atlas_mcp.model.proposal import IN_FORCE, SURE
from atlas_mcp.models.chat import Models
from atlas_mcp.store.home import open_home

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp._keeper import RoomsKeeper
    from atlas_mcp._rooms import Rooms
    from atlas_mcp.model.agent import Roster
    from atlas_mcp.model.proposal import Change, Draft, Proposal, Status
    from atlas_mcp.settings import Settings
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record
    from atlas_mcp.watch.improving.facts import Facts

    Pause = Callable[[float], Awaitable[None]]

EVERY_SECONDS = 3_600.0
FIRST_SECONDS = 120.0
LOOK_SECONDS = 120.0
"""A look that takes longer is given up; the next one tries again."""
NAME = "improving"
"""The lock of whoever looks, the writer of proposals, and where the record says when that was last."""
log = logging.getLogger(__name__)


@asynccontextmanager
async def open_improving(settings: Settings) -> AsyncGenerator[Improving]:
    """The proposals of a home, for whoever may start ATLAS on it; no agent is asked and no run executed."""
    from atlas_mcp.store.record import open_record

    home, elsewhere = open_home(settings.home), database(settings)
    if elsewhere is None:
        home.prepare_databases()
    roster = load_roster(settings.roster or home.own_roster)
    async with open_record(home.path, elsewhere) as record:
        yield Improving(record, home.path, roster)


class Improving:
    """Proposals: looked for, shown, applied, dismissed, undone."""

    def __init__(self, record: Record, home: Path, roster: Roster) -> None:
        self._record = record
        self._home = home
        self._roster = roster

    async def look(self, now: datetime | None = None, *, by_itself: bool = False) -> list[str]:
        """Look what the record shows: refresh the proposals, measure what is applied, and `by_itself` apply the surest
        that is safe. What was decided, in words."""
        from atlas_mcp.store.memory_tables import derived
        from atlas_mcp.watch.improving import rows
        from atlas_mcp.watch.improving.facts import gather

        now = now or datetime.now(UTC)
        facts = await gather(self._record, now)
        drafts = await anyio.to_thread.run_sync(self._drafts, facts)
        async with self._record.write(NAME) as db:
            await rows.keep(db, drafts, now)
            told = await self._measured(db, facts, now)
            told += await self._applied_by_itself(db, facts, now) if by_itself else []
            await db.execute(derived.delete().where(derived.c.name == NAME))
            await db.execute(derived.insert().values(name=NAME, state={"found": len(drafts)}, at=now))
        return told

    async def list(self) -> list[Proposal]:
        """All that is kept, the surest first."""
        from atlas_mcp.watch.improving import rows

        async with self._record.read() as db:
            return await rows.every(db)

    async def show(self, proposal_id: str) -> Proposal:
        """One of them. InvalidInput for an id that is none."""
        from atlas_mcp.watch.improving import rows

        async with self._record.read() as db:
            found = await rows.one(db, proposal_id)
        if found is None:
            step = "`atlas-mcp improve list` shows those there are."
            raise InvalidInput(f"there is no proposal {proposal_id!r}.", argument="id", next_step=step)
        return found

    async def apply(self, proposal_id: str, now: datetime | None = None) -> Proposal:
        """Let it count from now on, and measure it. IllegalChange for one that ATLAS cannot apply, or that counts."""
        from atlas_mcp.watch.improving import rows
        from atlas_mcp.watch.improving.facts import gather
        from atlas_mcp.watch.improving.measuring import first

        now, found = now or datetime.now(UTC), await self.show(proposal_id)
        if not found.applicable:
            lines = " ".join(found.change.lines)
            raise IllegalChange("ATLAS cannot do this by itself.", argument="id", next_step=f"By hand: {lines}")
        if found.status in IN_FORCE:
            raise IllegalChange(f"it is {found.status} already.", argument="id")
        before = first(await gather(self._record, now), now)
        async with self._record.write(NAME) as db:
            await rows.decide(db, found.id, "applied", now, before)
        return await self.show(proposal_id)

    async def dismiss(self, proposal_id: str) -> Proposal:
        """Propose it no more. IllegalChange for one that is in force: that is undone first."""
        found = await self.show(proposal_id)
        if found.status in IN_FORCE:
            step = f"Call `atlas-mcp improve undo {proposal_id}` first."
            raise IllegalChange(f"it is {found.status}.", argument="id", next_step=step)
        return await self._decided(found.id, "dismissed")

    async def undo(self, proposal_id: str) -> Proposal:
        """Take a change back, whole. IllegalChange for one that is not in force."""
        found = await self.show(proposal_id)
        if found.status not in IN_FORCE:
            raise IllegalChange(f"it is {found.status}: there is nothing to undo.", argument="id")
        return await self._decided(found.id, "taken_back")

    async def _decided(self, proposal_id: str, status: Status) -> Proposal:
        from atlas_mcp.watch.improving import rows

        async with self._record.write(NAME) as db:
            await rows.decide(db, proposal_id, status, datetime.now(UTC))
        return await self.show(proposal_id)

    async def _measured(self, db: AsyncConnection, facts: Facts, now: datetime) -> list[str]:
        """Measure what is applied, and decide on it where that is possible."""
        from atlas_mcp.watch.improving import rows
        from atlas_mcp.watch.improving.measuring import measure, read_before

        told: list[str] = []
        for one in await rows.every(db):
            if one.status != "applied" or one.decided_at is None:
                continue
            verdict, measured = measure(facts, one.decided_at, now, read_before(one.measured))
            if verdict == "goes_on":
                await rows.note(db, one.id, measured)
                continue
            await rows.decide(db, one.id, verdict, now, measured)
            told.append(f"{one.id} is {verdict.replace('_', ' ')}: {measured['why']}")
        return told

    async def _applied_by_itself(self, db: AsyncConnection, facts: Facts, now: datetime) -> list[str]:
        """Apply the surest that may be, unless one is being measured."""
        from atlas_mcp.watch.improving import rows
        from atlas_mcp.watch.improving.measuring import first

        known = await rows.every(db)
        if any(one.status == "applied" for one in known):
            return []
        for one in known:  # the surest first
            if one.status == "proposed" and one.safe and one.applicable and one.confidence > SURE:
                await rows.decide(db, one.id, "applied", now, first(facts, now))
                return [f"{one.id} is applied: {one.text}"]
        return []

    def _drafts(self, facts: Facts) -> list[Draft]:
        from atlas_mcp.watch.improving.finding import proposals
        from atlas_mcp.watch.improving.repeated import caches

        found = proposals(facts, self._roster)
        try:
            return found + caches(self._home, facts.since)
        except sqlite3.Error as error:
            log.warning("repeated calls of tools were not looked for: %s", error)
            return found


async def keep_improving(rooms: Rooms, *, pause: Pause = anyio.sleep) -> None:
    """Look once an hour, as long as no other process of the record does, until cancelled."""
    keeper = rooms.keeper
    improving = Improving(rooms.record, keeper.home.path, keeper.file_roster)
    await pause(FIRST_SECONDS)
    while True:
        try:
            await _look_if_due(improving, rooms.record, keeper.locks, by_itself=keeper.settings.improve)
        except (AtlasError, ValueError) as error:
            log.warning("no improvements were looked for: %s", error)
        except Exception:  # raised from here it would end the server
            log.exception("no improvements were looked for")
        await pause(EVERY_SECONDS / 10)


async def _look_if_due(improving: Improving, record: Record, locks: Locks, *, by_itself: bool) -> None:
    from sqlalchemy import select

    from atlas_mcp.store.memory_tables import derived

    if (held := locks.try_hold(NAME)) is None:
        return
    with held:
        async with record.look() as db:
            last = (await db.execute(select(derived.c.at).where(derived.c.name == NAME))).scalar_one_or_none()
        if last is not None and (datetime.now(UTC) - last).total_seconds() < EVERY_SECONDS:
            return
        with anyio.move_on_after(LOOK_SECONDS) as scope:
            for told in await improving.look(by_itself=by_itself):
                log.warning("%s", told)
        if scope.cancelled_caught:
            log.warning("looking for improvements took over %g s and was given up", LOOK_SECONDS)


def fitting(keeper: RoomsKeeper, changes: Sequence[Change]) -> list[Change]:
    """Those of the changes that can count in this process: a model needs its key and its package here."""
    fit: list[Change] = []
    for change in changes:
        if change.setting == "model" and (problem := _unusable(keeper, change.to)):
            log.warning("%s goes on with its own model: %s", change.agent, problem)
        else:
            fit.append(change)
    return fit


def _unusable(keeper: RoomsKeeper, model: str) -> str:
    if keeper.models is not keeper.local_models:
        known = keeper.models.handles()
        return "" if model.replace(":", "/", 1) in known else f"the Letta server has no model {model}"
    config = keeper.model_config
    try:
        Models(config.model_copy(update={"own": (*config.own, model)})).check()
    except AtlasError as error:
        return str(error)
    return ""
