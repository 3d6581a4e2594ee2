"""What changes of callers' agents and of their memory, told to those who wait for it: `Atlas.news`.

It is read from the record, twice a second and only while somebody waits: so it does not matter by whom, in which
process or on which machine a change was made. Nobody waits for what is another's: it does not exist for them. What some
other program writes into a Letta server is known, and told, when ATLAS next reads that block.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import anyio

from atlas_mcp.errors import LockTimeout, StoreUnavailable, UnknownBlock

if TYPE_CHECKING:
    from collections.abc import Collection

    from atlas_mcp._keeper import RoomsKeeper
    from atlas_mcp._rooms import Rooms
    from atlas_mcp.model.caller import Caller

LOOK_SECONDS = 0.5
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a caller's block stands at a moment, or without one their agents and groups."""

    caller: str
    block: tuple[str, str] | None
    version: Any = None

    def differs(self, before: Standing) -> bool:
        """Whether there is news. That a block is made when it is first read is none: it reads as before."""
        first = self.block is not None and before.version is None and self.version == 1
        return self.version != before.version and not first


class _Waiting:
    def __init__(self, known: Standing) -> None:
        self.known = known
        self.told = anyio.Event()


class News:
    """The news of one home's callers."""

    def __init__(self, keeper: RoomsKeeper) -> None:
        self._keeper = keeper
        self._waiting: set[_Waiting] = set()
        self._wanted = anyio.Event()

    @property
    def waiting(self) -> int:
        """How many wait for news."""
        return len(self._waiting)

    async def agents(self, caller: Caller, agent: str | None = None) -> Standing:
        """How the caller's agents and groups stand now. UnknownAgent, if one is named that is not among them."""
        rooms = await self._keeper.rooms()
        if agent is not None:
            (await rooms.additions(caller).roster()).agent(agent)
        return await self._now(rooms, Standing(caller.id, None))

    async def block(self, caller: Caller, agent: str, label: str) -> Standing:
        """How the agent's block stands now. UnknownAgent, UnknownBlock."""
        rooms = await self._keeper.rooms()
        roster = await rooms.additions(caller).roster()
        labels = [block.label for block in roster.blocks_of(roster.agent(agent).name)]
        if label not in labels:
            raise UnknownBlock(label, agent, labels)
        return await self._now(rooms, Standing(caller.id, (agent, label)))

    async def after(self, known: Standing) -> Standing:
        """How it stands when there is news; waits for that."""
        waiting = _Waiting(known)
        self._waiting.add(waiting)
        self._wanted.set()
        try:
            await waiting.told.wait()
            return waiting.known
        finally:
            self._waiting.discard(waiting)

    async def look_on(self) -> None:
        """Look for news while somebody waits, for as long as the rooms are open."""
        while True:
            if not self._waiting:
                self._wanted = anyio.Event()
                await self._wanted.wait()
            try:
                await self._look()
            except (LockTimeout, StoreUnavailable) as reason:
                _log.warning("who waits for news of agents waits for the record: %s", reason)
            except Exception:  # noqa: BLE001  # without it nobody would hear of anything any more
                _log.exception("news of agents could not be read, and are looked for again")
            await anyio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        asked = [*self._waiting]
        for waiting, now in zip(
            asked, await self._read(await self._keeper.rooms(), [w.known for w in asked]), strict=True
        ):
            news = now.differs(waiting.known)
            waiting.known = now
            if news:
                waiting.told.set()

    async def _now(self, rooms: Rooms, place: Standing) -> Standing:
        return (await self._read(rooms, [place]))[0]

    async def _read(self, rooms: Rooms, places: Collection[Standing]) -> list[Standing]:
        from atlas_mcp.constellation.standing import additions, newest_revisions

        of_agents = {place.caller for place in places if place.block is None}
        of_blocks = {place.caller for place in places if place.block is not None}
        async with rooms.record.look() as db:
            revisions = await newest_revisions(db, of_blocks, {p.block[1] for p in places if p.block is not None})
            added = await additions(db, of_agents)
        roster = self._keeper.roster

        def version(place: Standing) -> Any:
            if place.block is None:
                return roster, added.get(place.caller, ())
            return revisions.of(place.caller, *place.block)

        return [replace(place, version=version(place)) for place in places]
