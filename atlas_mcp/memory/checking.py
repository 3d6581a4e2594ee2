"""Whether all stores have what the record has: looked at on command, and by itself now and then.

Promise: sets of ids and sampled questions are compared, never counts. Looking changes nothing; with `repair` what
differs is made as the record is, in the stores that are fed from it, and in the record what belongs to nothing is
deleted. A store that fails or is too slow is told, and the others are looked at. Of the processes of a record one at a
time looks by itself, for a bounded time; what it found is in the record, for every process to tell.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio
from sqlalchemy import delete, insert, select
from sqlalchemy.exc import SQLAlchemyError

from atlas_mcp.errors import AtlasError
from atlas_mcp.model.checked import MemoryCheck, StoreCheck
from atlas_mcp.store.memory_tables import derived

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atlas_mcp.memory.hybrid import HybridMemory
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record

NAME = "check"
SAMPLE, LARGE_SAMPLE = 50, 500
STORE_SECONDS, LONG_SECONDS = 20.0, 300.0
FIRST_SECONDS, AGAIN_SECONDS = 60.0, 1_800.0
log = logging.getLogger(__name__)


async def check(memory: HybridMemory, *, repair: bool = False, thoroughly: bool = True) -> MemoryCheck:
    """Look at every store. Never raises for what is wrong with one."""
    from atlas_mcp.memory.checks import graph, record, redis, vectors, words

    looks: dict[str, Callable[..., Awaitable[StoreCheck | None]]] = {
        "record": record.look,
        "words": words.look,
        "vectors": vectors.look,
        "chroma": vectors.look_at_chroma,
        "redis": redis.look,
        "graph": graph.look,
    }
    at, begun = datetime.now(UTC), anyio.current_time()
    stores: list[StoreCheck] = []
    for name, look in looks.items():
        found = await _bounded(name, look, memory, repair=repair, thoroughly=thoroughly)
        stores += [found] if found else []
    result = MemoryCheck(at=at, seconds=round(anyio.current_time() - begun, 3), stores=stores)
    await _keep(memory.record, result)
    return result


async def last(record: Record) -> MemoryCheck | None:
    """What was found last, by whichever process; None before the first time."""
    async with record.look() as db:
        state = (await db.execute(select(derived.c.state).where(derived.c.name == NAME))).scalar_one_or_none()
    return MemoryCheck.model_validate(state) if state is not None else None


async def keep_checking(memory: HybridMemory, locks: Locks, *, first: float = FIRST_SECONDS) -> None:
    """Look now and then, until cancelled, as long as no other process of the record does."""
    await anyio.sleep(first)
    while True:
        try:
            found = await last(memory.record)
            age = (datetime.now(UTC) - found.at).total_seconds() if found else AGAIN_SECONDS
            held = locks.try_hold("memory-check") if age >= AGAIN_SECONDS else None
            if held is not None:
                with held:
                    result = await check(memory, thoroughly=False)
                if result.health != "ok":
                    log.warning("memory: %s", "; ".join(f"{s.store}: {s.text}" for s in result.stores if s.problems))
        except (AtlasError, SQLAlchemyError, ValueError) as error:
            log.warning("memory could not be looked at: %s", error)
        await anyio.sleep(AGAIN_SECONDS / 10)


async def _bounded(
    name: str,
    look: Callable[..., Awaitable[StoreCheck | None]],
    memory: HybridMemory,
    *,
    repair: bool,
    thoroughly: bool,
) -> StoreCheck | None:
    sample, seconds = (LARGE_SAMPLE, LONG_SECONDS) if thoroughly else (SAMPLE, STORE_SECONDS)
    try:
        with anyio.fail_after(seconds):
            return await look(memory, sample, repair=repair)
    except TimeoutError:
        return StoreCheck(store=name, health="warning", text=f"It was not looked at whole within {seconds:g} s.")
    except (AtlasError, SQLAlchemyError, OSError) as error:
        return StoreCheck(store=name, health="warning", text=f"It could not be looked at: {error}")


async def _keep(record: Record, result: MemoryCheck) -> None:
    async with record.write() as db:
        await db.execute(delete(derived).where(derived.c.name == NAME))
        values = {"name": NAME, "state": result.model_dump(mode="json"), "at": result.at}
        await db.execute(insert(derived).values(values))
