"""What is done to a home as a whole, for the command line: written to a file, taken from one, its memory compared, the
keys to it made and taken back, its audit log read."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from atlas_mcp import __version__
from atlas_mcp._config import database, stores
from atlas_mcp.errors import ConfigurationError
from atlas_mcp.model.caller import Caller
from atlas_mcp.settings import settings_without_keys
from atlas_mcp.store import backup
from atlas_mcp.store.home import open_home
from atlas_mcp.store.restore import restore as put_back

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from atlas_mcp._auditing import AuditTrail
    from atlas_mcp.access.keys import Keys
    from atlas_mcp.memory.hybrid import HybridMemory
    from atlas_mcp.model.checked import MemoryCheck
    from atlas_mcp.settings import Settings
    from atlas_mcp.store.backup import Backup
    from atlas_mcp.store.postgres import Postgres

_CHROMA_SECONDS = 120.0
_REDIS_SECONDS = 3.0
_GRAPH_SECONDS = 30.0
_SETTLED = ("ready", "other", "none", "failing")


def back_up(settings: Settings, file: Path) -> Backup:
    """Write the home to that file, also while servers work on it. Blocks. See `store.backup.back_up`.

    ConfigurationError where the record is in a PostgreSQL, which has a command of its own for that.
    """
    if (elsewhere := database(settings)) is not None:
        raise _postgresqls_own(elsewhere, f"pg_dump --format=custom --schema='atlas*' --file='{file}'")
    home = open_home(settings.home)
    return backup.back_up(home, file.absolute(), version=__version__, settings=settings_without_keys(home.path))


def restore(settings: Settings, file: Path) -> tuple[Backup, Path | None]:
    """Put the home as that file has it; what it is, and where lies what was there. Blocks. See `store.restore`."""
    if (elsewhere := database(settings)) is not None:
        raise _postgresqls_own(elsewhere, "pg_restore --clean --if-exists --single-transaction FILE")
    return put_back(open_home(settings.home), file.absolute())


async def check_memory(settings: Settings, *, repair: bool = False) -> MemoryCheck:
    """Compare the stores of all that is remembered, and with `repair` mend them; servers may go on working."""
    from atlas_mcp.memory.checking import check
    from atlas_mcp.memory.hybrid import open_memory
    from atlas_mcp.store.advisory_locks import AdvisoryLocks
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import open_record

    home, elsewhere = open_home(settings.home), database(settings)
    if elsewhere is None:
        home.prepare_databases()
    async with AsyncExitStack() as stack:
        stack.enter_context(home.in_use())
        locks = shared = Locks(home.locks)
        if elsewhere is not None:
            advisory = AdvisoryLocks(elsewhere)
            await stack.enter_async_context(advisory.opened())
            shared = Locks(advisory)
        record = await stack.enter_async_context(open_record(home.path, elsewhere))
        opening = open_memory(record, home.path, locks, stores(settings), shared=shared)
        memory = await stack.enter_async_context(opening)
        await _settled(memory)
        return await check(memory, repair=repair)


@asynccontextmanager
async def open_keys(settings: Settings) -> AsyncGenerator[Keys]:
    """The keys of the record, and nothing else of ATLAS: to make, list and revoke them beside servers at work."""
    from atlas_mcp.access.keys import Keys
    from atlas_mcp.store.record import open_record

    home, elsewhere = open_home(settings.home), database(settings)
    if elsewhere is None:
        home.prepare_databases()
    with home.in_use():
        async with open_record(home.path, elsewhere) as record:
            yield Keys(record)


@asynccontextmanager
async def open_audit(settings: Settings) -> AsyncGenerator[AuditTrail]:
    """The audit log of the record, and nothing else of ATLAS."""
    from atlas_mcp._auditing import AuditTrail
    from atlas_mcp.store.record import open_record

    home, elsewhere = open_home(settings.home), database(settings)
    if elsewhere is None:
        home.prepare_databases()
    async with open_record(home.path, elsewhere) as record:
        yield AuditTrail(record, Caller(id=f"local:{home.local_id}", client="atlas-mcp"))


async def _settled(memory: HybridMemory) -> None:
    """Wait for the stores that open in the background; what is not there by then is told as it is."""
    from sqlalchemy import select

    from atlas_mcp.store.memory_tables import vector

    if memory.redis is not None:
        with anyio.move_on_after(_REDIS_SECONDS):
            await memory.redis.link.until(answers=True)
    if memory.graph is not None:
        with anyio.move_on_after(_GRAPH_SECONDS):
            while True:
                if memory.graph.link.answers and not await memory.graph.late():
                    break
                await anyio.sleep(0.05)
    async with memory.record.look() as db:
        if (await db.execute(select(vector.c.passage).limit(1))).first() is None:
            return
    with anyio.move_on_after(_CHROMA_SECONDS):
        while True:
            if memory.vectors.chroma.stage in _SETTLED:
                return
            await anyio.sleep(0.05)


def _postgresqls_own(elsewhere: Postgres, command: str) -> ConfigurationError:
    program, options = command.split(" ", 1)
    return ConfigurationError(
        f"the record is in {elsewhere.shown}, with the runs: PostgreSQL has its own command for that.",
        argument="ATLAS_DATABASE_URL",
        next_step=f'Run: {program} --dbname="$ATLAS_DATABASE_URL" {options}. What a Letta server keeps is its own.',
    )
