"""All of a constellation's agents made ahead, so that nobody's first turn has to wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from atlas_mcp.errors import AtlasError

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlas_mcp.constellation.constellation import Constellation
    from atlas_mcp.model.agent import Warmth

    Tell = Callable[[str, Warmth | AtlasError], None]

AT_ONCE = 4
"""Agents that are made at the same time; a Letta server makes no more of them in a second for more."""


async def warm_all(agents: Constellation, tell: Tell) -> None:
    """See to it that every agent is in Letta as the roster has it; `tell` hears of each what it took, or what failed.

    One that fails keeps none of the others.
    """
    limit = anyio.CapacityLimiter(AT_ONCE)

    async def warm(name: str) -> None:
        async with limit:
            try:
                tell(name, await agents.warm(name))
            except AtlasError as error:
                tell(name, error)

    async with anyio.create_task_group() as tasks:
        for agent in agents.roster.agents:
            tasks.start_soon(warm, agent.name)
