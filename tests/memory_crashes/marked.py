"""Passages that are known again by a number, which decides their caller's vector, too."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import insert, select

from atlas_mcp.memory.documents import write_passages
from atlas_mcp.store.memory_tables import vector
from atlas_mcp.store.tables import passage
from tests.vectors.world import DIMENSION, PRINT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.record import Record

CALLERS = ("local:a", "key:b", "key:c")


def direction(marker: int) -> NDArray[np.float32]:
    """The vector of that number, near to others of its cluster."""
    middle = np.random.default_rng(marker % 20).normal(size=DIMENSION)
    made = middle + 0.5 * np.random.default_rng(1000 + marker).normal(size=DIMENSION)
    return (made / np.linalg.norm(made)).astype(np.float32)


async def plant(record: Record, caller: Caller, markers: Sequence[int]) -> None:
    """Write a passage and its vector for each number, in one commit."""
    rows = [
        {
            "caller": caller.id, "kind": "knowledge", "source": f"m{one}", "ordinal": 0, "title": "", "project": "",
            "author": "caller", "trust": 1.0, "at": datetime.now(UTC), "sha256": "", "text": f"marker {one}",
        }
        for one in markers
    ]  # fmt: skip
    async with record.write(caller.id) as db:
        await write_passages(db, rows)
        of = select(passage.c.id, passage.c.source).where(passage.c.source.in_([row["source"] for row in rows]))
        made = {row.source: row.id for row in await db.execute(of)}
        data = [{"passage": made[f"m{one}"], "fingerprint": PRINT, "data": direction(one).tobytes()} for one in markers]
        await db.execute(insert(vector), data)


async def markers(record: Record) -> dict[int, tuple[int, str]]:
    """The passage and the caller of each number that the record has."""
    async with record.read() as db:
        rows = await db.execute(select(passage.c.id, passage.c.source, passage.c.caller))
        return {int(row.source[1:]): (row.id, row.caller) for row in rows}
