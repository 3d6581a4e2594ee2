"""Passages with vectors that lie in clusters, as those of texts do, and who looks for them."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
from pydantic import SecretStr
from sqlalchemy import insert, select

from atlas_mcp.memory.documents import write_passages
from atlas_mcp.memory.scope import Scope
from atlas_mcp.memory.vectors import Vectors
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.stores import StoresConfig
from atlas_mcp.store.home import open_home
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.memory_tables import outbox, vector
from atlas_mcp.store.record import Record, open_record
from atlas_mcp.store.tables import passage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from atlas_mcp.memory.chroma.owner import Stage
    from atlas_mcp.store.postgres import Postgres

ME, OTHER = Caller(id="local:me"), Caller(id="key:other", kind="key")
PRINT = "0123456789ab"
DIMENSION = 64
DEADLINE = 90
MANY = 150
"""More than Chroma is asked for at once: fewer are compared by the record itself."""


def directions(count: int, seed: int = 1) -> NDArray[np.float32]:
    """Vectors of length 1 in twenty clusters; the same for the same seed."""
    chance = np.random.default_rng(seed)
    middles = np.random.default_rng(0).normal(size=(20, DIMENSION))
    made = middles[chance.integers(20, size=count)] + 0.5 * chance.normal(size=(count, DIMENSION))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


async def plant(
    record: Record,
    vectors: NDArray[np.float32],
    caller: Caller = ME,
    *,
    source: str = "s",
    fingerprint: str = PRINT,
    **fields: Any,
) -> list[int]:
    """Write a passage for each vector, and the vectors; the passages' numbers."""
    common = {
        "caller": caller.id, "kind": "knowledge", "source": source, "title": source, "project": "",
        "author": "caller", "trust": 1.0, "at": datetime.now(UTC),
    } | fields  # fmt: skip
    texts = [f"{source} {n}" for n in range(len(vectors))]
    rows = [
        {**common, "ordinal": n, "sha256": hashlib.sha256(one.encode()).hexdigest(), "text": one}
        for n, one in enumerate(texts)
    ]
    async with record.write(caller.id) as db:
        await write_passages(db, rows)
        of = select(passage.c.id).where(passage.c.source == source).order_by(passage.c.ordinal)
        ids = list((await db.execute(of)).scalars())
        data = [
            {"passage": n, "fingerprint": fingerprint, "data": one.tobytes()}
            for n, one in zip(ids, vectors, strict=True)
        ]
        await db.execute(insert(vector), data)
    return ids


def best(query: NDArray[np.float32], ids: Sequence[int], vectors: NDArray[np.float32], limit: int = 10) -> list[int]:
    """What is nearest, by comparing all."""
    return [ids[n] for n in np.argsort(-(vectors @ query), kind="stable")[:limit]]


def everything(caller: Caller = ME, **narrowed: Any) -> Scope:
    """All of the caller's passages, or those that fulfil what else is given."""
    wanted: dict[str, Any] = {"kinds": ("knowledge", "archive", "episodic", "fact")} | narrowed
    return Scope(caller, **wanted)


def numbers_of(found: Sequence[tuple[int, float]]) -> list[int]:
    return [number for number, _ in found]


@dataclass
class World:
    """A record and its vectors, as one process has them."""

    record: Record
    vectors: Vectors
    home: Path

    async def until(self, *stages: Stage, within: float = DEADLINE) -> None:
        """Return when Chroma is so far."""
        await eventually(lambda: self.vectors.chroma.stage in stages, self.vectors.room, within)

    async def told(self, within: float = DEADLINE) -> None:
        """Return when Chroma can be asked, and knows of every change; filling it with very many takes its time."""
        await self.until("ready", within=within)
        await self.nothing_waits()

    async def nothing_waits(self) -> None:
        """Return when the outbox has nothing more for Chroma."""
        with anyio.fail_after(DEADLINE):
            while await self.waiting():  # noqa: ASYNC110 - the record is waited for
                await anyio.sleep(0.02)

    async def waiting(self) -> int:
        """How many changes Chroma does not know of yet."""
        async with self.record.read() as db:
            return len((await db.execute(select(outbox.c.seq).where(outbox.c.topic == "vector"))).all())

    async def nearest(self, query: NDArray[np.float32], caller: Caller = ME, **narrowed: Any) -> list[int]:
        return numbers_of(await self.vectors.nearest(everything(caller, **narrowed), PRINT, query))

    async def asked_chroma(self, query: NDArray[np.float32], most: int = 10) -> list[int]:
        """What Chroma itself has nearest, whosever it is. It is asked again when it was slow, as on a busy machine."""
        with anyio.fail_after(DEADLINE):
            while (found := await self.vectors.chroma.nearest(PRINT, query, most)) is None:  # noqa: ASYNC110
                await anyio.sleep(0.02)
        return numbers_of(found)


async def eventually(
    holds: Callable[[], bool], told: Callable[[], object] = lambda: "", within: float = DEADLINE
) -> None:
    """Return when it holds; fail with what is told after the deadline."""
    with anyio.move_on_after(within):
        while not holds():  # noqa: ASYNC110 - another process is waited for
            await anyio.sleep(0.02)
        return
    raise AssertionError(told())


@asynccontextmanager
async def opened(
    home: Path, database: Postgres | None = None, url: str | None = None, *, work: bool = True
) -> AsyncGenerator[World]:
    """One process's view of that home, or of that database; one that does not `work` never starts Chroma."""
    kept = open_home(home)
    config = StoresConfig(chroma_url=SecretStr(url) if url else None)
    async with open_record(home, database) as record, anyio.create_task_group() as tasks:
        vectors = Vectors(record, Locks(kept.locks), home, config)
        if work:
            tasks.start_soon(vectors.work)
        yield World(record, vectors, home)
        tasks.cancel_scope.cancel()
