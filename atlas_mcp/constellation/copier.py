"""Copies of shared knowledge, kept up to date in the background: nobody's call waits for a Letta that reads documents.

What failed is tried again, at growing pauses of at most LONGEST_PAUSE seconds; what is left at the end is found in the
record at the next start.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio

from atlas_mcp.errors import AtlasError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atlas_mcp.constellation.constellation import Constellation
    from atlas_mcp.model.caller import Caller

log = logging.getLogger(__name__)
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 300.0


class Copier:
    """One process's copying, for every caller; `of` gives a caller's constellation."""

    def __init__(self, of: Callable[[Caller], Awaitable[Constellation]]) -> None:
        self._of = of
        self._waiting: dict[str, Caller] = {}
        self._bell = anyio.Event()

    def wanted(self, caller: Caller) -> None:
        """Let what this caller shared be copied soon."""
        self._waiting[caller.id] = caller
        self._bell.set()

    async def work(self) -> None:
        """Copy what is wanted, until cancelled."""
        pause = FIRST_PAUSE
        while True:
            await self._bell.wait()
            self._bell = anyio.Event()
            todo, self._waiting = self._waiting, {}
            left = {i: caller for i, caller in todo.items() if not await self._caught_up(caller)}
            if left:
                with anyio.move_on_after(pause):
                    await self._bell.wait()
                pause = min(2 * pause, LONGEST_PAUSE)
                self._waiting = left | self._waiting
                self._bell.set()
            else:
                pause = FIRST_PAUSE

    async def _caught_up(self, caller: Caller) -> bool:
        try:
            return await (await self._of(caller)).copy_knowledge()
        except AtlasError as error:
            log.warning("shared knowledge is not copied to Letta yet: %s", error)
        except Exception:  # a fault of ours in what is only a copy must end nothing else
            log.exception("shared knowledge is not copied to Letta yet")
        return False
