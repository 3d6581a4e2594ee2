"""Who is signed in at the board: a cookie stands for the token that was given, in every process on the record.

A session ends after SESSION_HOURS, when its token does, and when its holder signs out. The record keeps a hash of the
cookie and the token, sealed with what only the cookie tells: whoever reads the record can do nothing with it.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from atlas_mcp.model.access import SESSION_HOURS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cryptography.fernet import Fernet

    from atlas_mcp.store.record import Record


def _now() -> datetime:
    return datetime.now(UTC)


class Sessions:
    """The sessions in one record, which is opened when first needed."""

    def __init__(self, record: Callable[[], Awaitable[Record]], now: Callable[[], datetime] = _now) -> None:
        self._record = record
        self._now = now

    async def begin(self, token: str, until: datetime | None) -> str:
        """A cookie that stands for that token, at most until that moment."""
        from sqlalchemy import delete, insert

        from atlas_mcp.store.access_tables import board_session as kept

        cookie, now = secrets.token_urlsafe(32), self._now()
        ends = now + timedelta(hours=SESSION_HOURS)
        ends = ends if until is None else min(ends, until)
        sealed = _seal(cookie).encrypt(token.encode()).decode()
        async with (await self._record()).write(of="board") as db:
            await db.execute(delete(kept).where(kept.c.ends_at <= now))
            await db.execute(insert(kept).values(id=_hashed(cookie), sealed=sealed, ends_at=ends))
        return cookie

    async def token(self, cookie: str) -> str | None:
        """The token that the cookie stands for; None where it stands for none any more."""
        from sqlalchemy import select

        from atlas_mcp.store.access_tables import board_session as kept

        if not cookie:
            return None
        wanted = select(kept.c.sealed).where(kept.c.id == _hashed(cookie), kept.c.ends_at > self._now())
        async with (await self._record()).look() as db:
            sealed = (await db.execute(wanted)).scalar_one_or_none()
        return None if sealed is None else _seal(cookie).decrypt(sealed.encode()).decode()

    async def end(self, cookie: str) -> None:
        """Sign out."""
        from sqlalchemy import delete

        from atlas_mcp.store.access_tables import board_session as kept

        if await self.token(cookie) is None:  # who is nobody makes nobody write
            return
        async with (await self._record()).write(of="board") as db:
            await db.execute(delete(kept).where(kept.c.id == _hashed(cookie)))


def _hashed(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()


def _seal(cookie: str) -> Fernet:
    from cryptography.fernet import Fernet

    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"seal " + cookie.encode()).digest()))
