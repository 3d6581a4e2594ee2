"""Taking what was forgotten from the disk of a home, for all its callers. Part of the composition root.

Promise: afterwards no file of the home holds it, or the answer names the file. It may run beside servers on the home,
and again at any time; only what is gone from everywhere within reach counts as done.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import TYPE_CHECKING

import anyio.to_process
import anyio.to_thread

from atlas_mcp._forgetting import take_out
from atlas_mcp.errors import AtlasError
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.forgetting import Place, Purged

if TYPE_CHECKING:
    from atlas_mcp._rooms import Rooms
    from atlas_mcp.memory.redacting import Redactor

_TRACES, _LOGS = "traces", "lines of logs"
_VECTORS_SECONDS = 20.0


async def purge(rooms: Rooms) -> Purged:
    """See `Atlas.purge_forgotten`."""
    from atlas_mcp.memory import purging, tombstones
    from atlas_mcp.memory.redacting import Redactor

    async with rooms.record.read() as db:
        texts = await tombstones.pending(db)
    redactors = {caller: Redactor(theirs) for caller, theirs in texts.items()}
    found: Counter[str] = Counter()
    problems: list[str] = []
    for caller, redactor in redactors.items():
        found += await _take_out(rooms, Caller(id=caller), redactor, problems)
    if any(redactors.values()):
        found += await _from_files(rooms, redactors, problems)
    problems += await _going_on(rooms, list(texts))
    problems += await _rewrite(rooms, but=rooms.keeper.home.record.name)
    own = rooms.keeper.home.record.name
    seek = [one for one in redactors.values() if one]
    home = rooms.keeper.home.path
    left = await anyio.to_process.run_sync(purging.still_in, home, seek, _files_of(own)) if seek else []
    problems += [f"{name} still holds it" for name in left]
    done = 0
    if not problems:
        async with rooms.record.write() as db:
            for caller, theirs in texts.items():
                done += await tombstones.purged(db, caller, theirs)
    problems += await _rewrite(rooms, only=own)
    if seek and not problems:
        left = await anyio.to_process.run_sync(purging.still_in, home, seek)
        problems += [f"{name} still holds it" for name in left]
    notes = await _renew_vectors(rooms) if found or texts else []
    packed = await anyio.to_thread.run_sync(purging.packed, home)
    return Purged(
        items=done,
        open=sum(map(len, texts.values())) - done,
        deleted=[Place(place=place, count=count) for place, count in sorted(found.items())],
        problems=problems,
        remaining=[*notes, *_elsewhere(rooms, packed)],
    )


async def _take_out(rooms: Rooms, caller: Caller, redactor: Redactor, problems: list[str]) -> Counter[str]:
    """What has come into texts since it was forgotten, or was not reached then."""
    unreached: list[str] = []
    try:
        async with rooms.visit(caller) as agents:
            found = await take_out(rooms, caller, agents.forgetting, redactor, unreached)
    except AtlasError as reason:
        unreached.append(f"What agents remember of it was not reached: {reason}")
        found = await take_out(rooms, caller, None, redactor, unreached)
    problems += unreached
    return found


async def _from_files(rooms: Rooms, redactors: dict[str, Redactor], problems: list[str]) -> Counter[str]:
    from atlas_mcp.memory.purging import blot
    from atlas_mcp.watch.erasing import Busy, erase_traces

    keeper, found = rooms.keeper, Counter[str]()
    if keeper.tracing is not None:
        await anyio.to_thread.run_sync(keeper.tracing.flush)

    def traces() -> int:
        return erase_traces(keeper.home.path, {caller: one.mend for caller, one in redactors.items()})

    try:
        found[_TRACES] = await anyio.to_thread.run_sync(traces)
    except Busy:
        problems.append("traces are being carried all the time: purge again in a minute")
    except (OSError, sqlite3.Error) as error:
        problems.append(f"traces could not be changed ({error})")
    for redactor in redactors.values():
        found[_LOGS] += await anyio.to_thread.run_sync(blot, keeper.home.logs, redactor)
    return +found


async def _going_on(rooms: Rooms, callers: list[str]) -> list[str]:
    """Runs of these callers that have not ended: what they have read they may write again, into traces at least."""
    from sqlalchemy import func, select

    from atlas_mcp.model.run import ENDED
    from atlas_mcp.store.tables import run

    open_ones = select(func.count()).where(run.c.caller.in_(callers), run.c.status.not_in(ENDED))
    async with rooms.record.read() as db:
        count = (await db.execute(open_ones)).scalar_one()
    return [f"{count} runs go on, and may have read it: purge again when they have ended"] if count else []


async def _renew_vectors(rooms: Rooms) -> list[str]:
    """Have Chroma's copy made anew: it has no texts, but the vectors of what is deleted stay in its files."""
    vectors = rooms.memory.vectors
    there = vectors.chroma.place.url is not None or (rooms.keeper.home.path / "chroma").exists()
    if not there or await vectors.renew(_VECTORS_SECONDS):
        return []
    return ["Chroma makes its copy of the vectors anew as soon as a server keeps it; it has no texts"]


async def _rewrite(rooms: Rooms, *, but: str | None = None, only: str | None = None) -> list[str]:
    """Write the home's databases anew: all `but` one, or `only` that one."""
    from atlas_mcp.memory import purging

    if rooms.record.database is not None and only:
        return await anyio.to_thread.run_sync(purging.rewrite_postgres, rooms.record.database)
    paths = [p for p in sorted(rooms.keeper.home.path.glob("*.db")) if p.name != but and only in (None, p.name)]
    told = [await anyio.to_thread.run_sync(purging.rewrite, path) for path in paths]
    return [one for one in told if one]


def _files_of(database: str) -> tuple[str, ...]:
    return database, f"{database}-wal", f"{database}-shm"


def _elsewhere(rooms: Rooms, packed: list[str]) -> list[str]:
    """Where it may be that nobody here can look."""
    said = [f"{name} was not looked into: delete it, if it is older" for name in packed]
    if rooms.keeper.destination.kind != "home":
        said.append(f"traces at {rooms.keeper.destination.shown} are kept there: delete them with MLflow")
    if besides := rooms.keeper.destination.besides:
        said.append(f"spans that went to {besides.shown} are kept there")
    if rooms.record.database is not None:
        said.append(f"the log of changes, replicas and backups of {rooms.record.database.shown} may hold it for a time")
    return [*said, "exports and backups elsewhere, made before it was forgotten, may hold it"]
