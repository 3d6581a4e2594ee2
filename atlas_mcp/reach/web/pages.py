"""Pages kept in the record for a while, each caller's for itself.

Promise: a caller has at most PAGES, the newest; what has not been asked for in STALE_DAYS is gone. Losing them costs
another request and nothing else: what may be cited is kept elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select, update

from atlas_mcp.reach.web.page import Page
from atlas_mcp.store.reach_tables import page as table

if TYPE_CHECKING:
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.record import Record

PAGES = 200
STALE_DAYS = 3


@dataclass(frozen=True, slots=True)
class Kept:
    """A page that was kept, and by what its server tells whether it has changed."""

    page: Page
    etag: str | None
    last_modified: str | None
    fresh: bool

    @property
    def conditions(self) -> dict[str, str]:
        """The headers that ask for it only if it has changed."""
        asked = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in asked.items() if value}


class Pages:
    """The pages of all callers."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._swept = False

    async def find(self, caller: Caller, address: str) -> Kept | None:
        """What is kept of that address for that caller."""
        wanted = select(table).where(table.c.caller == caller.id, table.c.address == address)
        async with self._record.look() as db:
            row = (await db.execute(wanted)).one_or_none()
        if row is None:
            return None
        page = Page.model_validate({**row.read, "address": row.final_address})
        return Kept(page, row.etag, row.last_modified, row.expires_at > datetime.now(UTC))

    async def keep(
        self, caller: Caller, address: str, page: Page, expires: datetime, etag: str | None, last_modified: str | None
    ) -> None:
        """Keep the page under the address that was asked for, in the place of what was there."""
        mine = table.c.caller == caller.id
        row = {
            "caller": caller.id,
            "address": address,
            "final_address": page.address,
            "read": page.model_dump(mode="json", exclude={"address"}),
            "etag": etag,
            "last_modified": last_modified,
            "fetched_at": datetime.now(UTC),
            "expires_at": expires,
        }
        newest = select(table.c.address).where(mine).order_by(table.c.fetched_at.desc()).limit(PAGES)
        async with self._record.write(of=caller.id) as db:
            await db.execute(delete(table).where(mine, table.c.address == address))
            await db.execute(insert(table).values(row))
            await db.execute(delete(table).where(mine, table.c.address.not_in(newest)))
        await self._sweep()

    async def renew(self, caller: Caller, address: str, expires: datetime) -> None:
        """The page has not changed: it is fresh until then."""
        its = (table.c.caller == caller.id, table.c.address == address)
        async with self._record.write(of=caller.id) as db:
            await db.execute(update(table).where(*its).values(expires_at=expires, fetched_at=datetime.now(UTC)))

    async def count(self, caller: Caller) -> int:
        """How many are kept for that caller."""
        async with self._record.look() as db:
            counted = select(func.count()).select_from(table).where(table.c.caller == caller.id)
            return (await db.execute(counted)).scalar_one()

    async def _sweep(self) -> None:
        """Once in a process: take away what nobody has asked for in a long time, of whichever caller."""
        if self._swept:
            return
        self._swept = True
        async with self._record.write() as db:
            await db.execute(delete(table).where(table.c.expires_at < datetime.now(UTC) - timedelta(days=STALE_DAYS)))
