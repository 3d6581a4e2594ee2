"""Groups as they are shown in Letta, where its server has such a thing: from their first use on, and kept up to date.

Promise: a group that is known to be shown as it is costs no request; one that was taken away there is noticed once in
each process, at its first use, and shown again. Nothing that fails here keeps a group from working.
"""

from __future__ import annotations

import hashlib
import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from atlas_mcp.errors import AtlasError
from atlas_mcp.letta.groups import shown_manager
from atlas_mcp.store.tables import group_copy as table

if TYPE_CHECKING:
    from atlas_mcp.constellation.keeper import Keeper
    from atlas_mcp.letta.door import Letta
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.group import GroupSpec
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record

log = logging.getLogger(__name__)


class GroupCopies:
    """One caller's groups in one Letta."""

    def __init__(self, caller: Caller, keeper: Keeper, letta: Letta, record: Record, locks: Locks) -> None:
        self._caller = caller
        self._keeper = keeper
        self._letta = letta
        self._record = record
        self._locks = locks
        self._looked: set[str] = set()

    async def show(self, group: GroupSpec) -> str | None:
        """Show the group as it is now; its id in Letta, or None where it cannot be shown."""
        if not self._letta.abilities.groups:
            return None
        try:
            agents = {name: (await self._keeper.agent(name)).letta_id for name in group.everyone}
            async with self._locks.hold(f"group-copy-{self._caller.id}-{group.name}"):
                return await self._shown(group, agents, _fingerprint(group, agents))
        except AtlasError as error:
            log.warning("the group %s is not shown in Letta: %s", group.name, error)
            return None

    async def hide(self, name: str) -> None:
        """Take the group away in Letta."""
        if kept := await self._kept(name):
            await self._letta.groups.delete(kept[0])
            await self._forget(name)

    async def _shown(self, group: GroupSpec, agents: dict[str, str], fingerprint: str) -> str:
        kept = await self._kept(group.name)
        if kept and kept[1] == fingerprint and group.name in self._looked:
            return kept[0]
        there = await self._letta.groups.find(kept[0]) if kept else None
        self._looked.add(group.name)
        if kept and there and kept[1] == fingerprint:
            return kept[0]
        manager = shown_manager(group, agents)
        if kept and there and there.get("manager_type") == manager["manager_type"]:
            await self._letta.groups.update(kept[0], group, agents)
            group_id = kept[0]
        else:
            if kept and there:
                await self._letta.groups.delete(kept[0])
            group_id = await self._letta.groups.create(group, agents)
        await self._forget(group.name)
        row = {
            "caller": self._caller.id,
            "server": self._letta.name,
            "name": group.name,
            "letta_id": group_id,
            "fingerprint": fingerprint,
            "updated_at": datetime.now(UTC),
        }
        async with self._record.write() as db:
            await db.execute(insert(table).values(row))
        return group_id

    async def _kept(self, name: str) -> tuple[str, str] | None:
        query = select(table.c.letta_id, table.c.fingerprint)
        async with self._record.read() as db:
            row = (await db.execute(query.where(*self._mine(name)))).one_or_none()
        return (row.letta_id, row.fingerprint) if row else None

    async def _forget(self, name: str) -> None:
        async with self._record.write() as db:
            await db.execute(delete(table).where(*self._mine(name)))

    def _mine(self, name: str):  # noqa: ANN202  SQLAlchemy's own types
        return (table.c.caller == self._caller.id, table.c.server == self._letta.name, table.c.name == name)


def _fingerprint(group: GroupSpec, agents: dict[str, str]) -> str:
    told = [group.model_dump(mode="json"), sorted(agents.items())]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
