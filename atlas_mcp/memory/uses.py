"""When each passage was last given to somebody: what ranks it lower the longer nobody needed it.

Promise: noting costs a search nothing; it is written in the background, together, and on the way out. It is no more
than a hint: where it cannot be written, it is let go. Nothing is deleted for being of no use.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import anyio
from sqlalchemy import and_, or_, update

from atlas_mcp.errors import AtlasError
from atlas_mcp.store.tables import passage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.knowledge import Hit
    from atlas_mcp.store.record import Record

log = logging.getLogger(__name__)

FINE = timedelta(hours=1)
"""A use is not written again that soon: what it is for is counted in weeks."""
_TOGETHER_SECONDS = 5.0
LAST_SECONDS = 1.0
"""What is left at the end is written down in that time, or let go."""
_MOST = 2_000
_AT_ONCE = 100
_ELSEWHERE = frozenset({"archive", "block"})


class Uses:
    """What was given lately and is not written down yet, of all callers."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._noted: dict[tuple[str, str, int], None] = {}
        self._some = anyio.Event()

    def note(self, caller: Caller, hits: Iterable[Hit]) -> None:
        """These were given to somebody now."""
        for hit in hits:
            source, _, ordinal = hit.id.rpartition("/")
            if hit.kind not in _ELSEWHERE and source and ordinal.isdecimal() and len(self._noted) < _MOST:
                self._noted[caller.id, source, int(ordinal)] = None
        if self._noted:
            self._some.set()

    async def work(self) -> None:
        """Write down what was noted, until cancelled; then what is left."""
        try:
            while True:
                await self._some.wait()
                await anyio.sleep(_TOGETHER_SECONDS)
                await self.write_down()
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(LAST_SECONDS):
                await self.write_down()

    async def write_down(self) -> None:
        """Write down what was noted so far."""
        noted, self._noted, self._some = list(self._noted), {}, anyio.Event()
        now = datetime.now(UTC)
        try:
            for caller in {one[0] for one in noted}:
                mine = [one for one in noted if one[0] == caller]
                for start in range(0, len(mine), _AT_ONCE):
                    some = mine[start : start + _AT_ONCE]
                    these = or_(*(and_(passage.c.source == s, passage.c.ordinal == n) for _, s, n in some))
                    long_ago = or_(passage.c.used_at.is_(None), passage.c.used_at < now - FINE)
                    async with self._record.write(caller) as db:
                        used = update(passage).where(passage.c.caller == caller, these, long_ago)
                        await db.execute(used.values(used_at=now))
        except AtlasError as error:
            log.info("what was given lately was not noted: %s", error)
