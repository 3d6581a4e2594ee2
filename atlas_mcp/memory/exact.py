"""The nearest vectors by comparing all of a caller's, as the record has them: exact, and slower the more there are.

Promise: the answer is that of the record at the time of asking. What is kept between two questions takes at most
`memory_bytes`; a caller with more than fits is answered as rightly, a block at a time.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from atlas_mcp.memory.vector_rows import among, block_after, ranked, version

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from atlas_mcp.memory.vector_rows import Asked, Block
    from atlas_mcp.store.record import Record

_ROWS = 4096
_SPARE = 64
"""How many are looked at beyond what is asked, of which the filter may leave enough."""
_TOO_MANY_SECONDS = 60.0
"""For so long a caller who had more than fits is taken to have so still."""


@dataclass(frozen=True)
class _Kept:
    version: int | None
    blocks: Sequence[Block] | None
    """None for more than fits."""
    at: float

    @property
    def bytes(self) -> int:
        return sum(block.bytes for block in self.blocks or ())


class ExactSearch:
    """Search over the record's own vectors, for all callers."""

    def __init__(self, record: Record, memory_bytes: int = 64 << 20) -> None:
        self._record = record
        self._most = memory_bytes
        self._kept: OrderedDict[tuple[str, str, int], _Kept] = OrderedDict()
        self._loading = anyio.Lock()

    @property
    def bytes(self) -> int:
        """The memory that is taken by what is kept."""
        return sum(kept.bytes for kept in self._kept.values())

    async def nearest(self, asked: Asked) -> list[tuple[int, float]]:
        """The passages nearest to what is asked, best first."""
        blocks = await self._blocks(asked)
        if blocks is not None:
            most = asked.limit + _SPARE
            best = await anyio.to_thread.run_sync(_best, blocks, asked, most)
            async with self._record.read() as db:
                found = await among(db, asked, [number for number, _ in best])
            if len(found) >= asked.limit or len(best) < most:
                return found[: asked.limit]
        return await self._narrowed(asked)

    async def _narrowed(self, asked: Asked) -> list[tuple[int, float]]:
        best: list[tuple[int, float]] = []
        async for block in self._read(asked, narrowed=True):
            best = ranked([*best, *await anyio.to_thread.run_sync(block.best, asked.vector, asked.limit)])
            del best[asked.limit :]
        return best

    async def _blocks(self, asked: Asked) -> Sequence[Block] | None:
        """All of the caller's vectors; None where they are too many to be kept."""
        key = (asked.caller, asked.fingerprint, len(asked.vector))
        async with self._loading:
            async with self._record.look() as db:
                now = await version(db, in_file=self._record.database is None)
            kept = self._kept.get(key)
            if kept is None or not _still_right(kept, now):
                # What the version is of was read first: what changes meanwhile shows as another version.
                kept = self._kept[key] = _Kept(now, await self._loaded(asked), time.monotonic())
            self._kept.move_to_end(key)
            while self.bytes > self._most:
                self._kept.popitem(last=False)
            return kept.blocks

    async def _loaded(self, asked: Asked) -> Sequence[Block] | None:
        blocks: list[Block] = []
        taken = 0
        async for block in self._read(asked, narrowed=False):
            taken += block.bytes
            if taken > self._most:
                return None
            blocks.append(block)
        return blocks

    async def _read(self, asked: Asked, *, narrowed: bool) -> AsyncGenerator[Block]:
        after: int | None = -1
        while after is not None:
            async with self._record.read() as db:
                block, after = await block_after(db, asked, after, _ROWS, narrowed=narrowed)
            yield block


def _still_right(kept: _Kept, now: int | None) -> bool:
    if kept.blocks is None:
        return time.monotonic() < kept.at + _TOO_MANY_SECONDS
    return now is not None and kept.version == now


def _best(blocks: Sequence[Block], asked: Asked, most: int) -> list[tuple[int, float]]:
    return ranked(pair for block in blocks for pair in block.best(asked.vector, most))[:most]
