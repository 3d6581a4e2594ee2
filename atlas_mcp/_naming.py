"""What a caller can name, by how it begins: `Atlas.names`. For clients that complete what a person types."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atlas_mcp._groups import Groups
    from atlas_mcp._keeper import RoomsKeeper
    from atlas_mcp.model.caller import Caller

MOST = 100
"""So many names are given at most."""

Named = tuple[list[str], int]
"""The first of the names that fit, and how many do."""


class Names:
    """The names in one home's constellations. Every method takes the caller first, and gives nobody another's.

    Names that begin with what was typed come first, then those that hold it; capitals make no difference.
    """

    def __init__(self, keeper: RoomsKeeper, groups: Groups) -> None:
        self._keeper = keeper
        self._groups = groups

    async def agents(self, caller: Caller, typed: str) -> Named:
        """Agents, in the roster's order."""
        return fitting((agent.name for agent in (await self._groups.roster(caller)).agents), typed)

    async def teams(self, caller: Caller, typed: str) -> Named:
        """Teams, in the roster's order."""
        return fitting((team.name for team in (await self._groups.roster(caller)).teams), typed)

    async def groups(self, caller: Caller, typed: str) -> Named:
        """Groups, in the roster's order and then in that of their making."""
        return fitting((group.name for group in (await self._groups.roster(caller)).groups), typed)

    async def everybody(self, caller: Caller, typed: str) -> Named:
        """Teams, then groups, then agents."""
        roster = await self._groups.roster(caller)
        names = [one.name for some in (roster.teams, roster.groups, roster.agents) for one in some]
        return fitting(dict.fromkeys(names), typed)

    async def labels(self, caller: Caller, typed: str, agent: str | None = None) -> Named:
        """Labels of memory blocks: of that agent, or those that any has. None for an agent that does not exist."""
        roster = await self._groups.roster(caller)
        whose = [one.name for one in roster.agents if agent is None or one.name == agent]
        return fitting(dict.fromkeys(block.label for name in whose for block in roster.blocks_of(name)), typed)

    async def runs(self, caller: Caller, typed: str) -> Named:
        """Ids of runs whose id begins so or whose goal holds the text, newest first."""
        from atlas_mcp.runs import rows

        rooms = await self._keeper.rooms()
        async with rooms.record.read() as db:
            return await rows.named(db, caller.id, typed, MOST)


def fitting(names: Iterable[str], typed: str) -> Named:
    """Those of the names that fit what was typed."""
    sought = typed.strip().lower()
    found = [name for name in names if sought in name.lower()]
    found.sort(key=lambda name: not name.lower().startswith(sought))
    return found[:MOST], len(found)
