"""Neo4j as the rooms have it: opened without waiting for it, kept in their task group."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from atlas_mcp.errors import AtlasError
from atlas_mcp.memory.neo4j.link import Link
from atlas_mcp.memory.neo4j.mirror import Mirror
from atlas_mcp.memory.neo4j.state import forsake

if TYPE_CHECKING:
    from anyio.abc import TaskGroup
    from pydantic import SecretStr

    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record

log = logging.getLogger(__name__)


def open_mirror(url: SecretStr | None, record: Record, locks: Locks, tasks: TaskGroup) -> Mirror | None:
    """The Neo4j at that address, which is connected and fed in the background; None without an address.

    ConfigurationError for what is no such address, MissingPackage where the package is not there.
    """
    if url is None:
        tasks.start_soon(_forsake, record)
        return None
    mirror = Mirror(Link(url), record, locks)
    tasks.start_soon(mirror.link.keep)
    tasks.start_soon(mirror.work)
    return mirror


async def _forsake(record: Record) -> None:
    try:
        await forsake(record)
    except AtlasError as error:
        log.warning("the outbox is looked after at the next start: %s", error)
