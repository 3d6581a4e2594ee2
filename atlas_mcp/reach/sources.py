"""Texts from outside that agents were given: what may be cited beside the materials, and checked word for word.

Promise: a text is kept under its caller and its run as it was given, without secrets, once, before the agent sees it,
so that a process that takes the run over finds it. It goes with its run; of what chats brought, a caller's newest
CHAT_TEXTS are kept. Nobody finds another caller's, or another run's. Of a text beyond MOST_CHARS only the beginning is
kept.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio.to_thread
from sqlalchemy import delete, func, insert, select

from atlas_mcp.errors import ToolFailed
from atlas_mcp.model._base import Frozen
from atlas_mcp.model.secrets import without_secrets
from atlas_mcp.store.reach_tables import source

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.reach.context import Found
    from atlas_mcp.store.record import Record

MOST_CHARS = 500_000
RUN_CHARS = 50_000_000
"""Characters that a run's texts have together at most."""
CHAT_TEXTS = 200
MAX_NAME = 2_000
MAX_TITLE = 500
_AT_ONCE = 50_000
"""Characters that are looked through in the event loop; more go to a thread."""
_PORTS = {"http": ":80", "https": ":443"}


class SourceName(Frozen):
    """How a text is cited, and when it was given first."""

    name: str
    title: str
    at: datetime


class Source(SourceName):
    """A text that an agent was given from outside."""

    text: str


class Sources:
    """One caller's texts from outside."""

    def __init__(self, caller: Caller, record: Record) -> None:
        self._caller = caller
        self._record = record

    def told_by(self, agent: str, run_id: str | None) -> Found:
        """Whom the doors of that agent's turn tell what they found; `run_id` is None in a chat.

        ToolFailed when the run was given as much as it may be.
        """
        return partial(self._keep, agent, run_id)

    async def named(self, run_id: str, names: Iterable[str]) -> list[Source]:
        """The run's texts with one of these names, oldest first; an address is found as `plain` tells."""
        wanted = {plain(name) for name in names}
        mine = (source.c.run_id == run_id, source.c.caller == self._caller.id)
        async with self._record.look() as db:
            rows = await db.execute(select(source.c.id, source.c.name).where(*mine))
            ids = [row.id for row in rows if plain(row.name) in wanted]
            if not ids:
                return []
            columns = (source.c.name, source.c.title, source.c.at, source.c.text)
            found = select(*columns).where(source.c.id.in_(ids)).order_by(source.c.at, source.c.id)
            return [Source.model_validate(row) for row in (await db.execute(found)).mappings()]

    async def listed(self, run_id: str) -> list[SourceName]:
        """What the run was given, by name, each once, oldest first."""
        mine = (source.c.run_id == run_id, source.c.caller == self._caller.id)
        found = select(source.c.name, source.c.title, source.c.at).where(*mine).order_by(source.c.at, source.c.id)
        async with self._record.look() as db:
            rows = [SourceName.model_validate(row) for row in (await db.execute(found)).mappings()]
        return list({row.name: row for row in reversed(rows)}.values())[::-1]

    async def _keep(self, agent: str, run_id: str | None, name: str, text: str, *, title: str = "") -> None:
        text = text[:MOST_CHARS]
        at_once = len(text) <= _AT_ONCE
        kept = without_secrets(text) if at_once else await anyio.to_thread.run_sync(without_secrets, text)
        row = _row(self._caller, agent, run_id, name, kept, title)
        async with self._record.jot(self._caller.id) as db:
            if (await db.execute(select(source.c.id).where(source.c.id == row["id"]))).first():
                return
            if run_id is not None:
                await _check_room(db, self._caller, run_id, row["chars"])
            await db.execute(insert(source).values(row))
            if run_id is None:
                await _drop_old(db, self._caller)


def plain(name: str) -> str:
    """The name without what may differ where the same is meant: case; of an address the case of the host alone, its
    usual port, a slash at its end, and the place within the page."""
    text = name.strip().strip("<>")
    try:
        parts = urlsplit(text)
    except ValueError:
        return text.casefold()
    if parts.scheme not in _PORTS or not parts.netloc:
        return text.casefold()
    host = parts.netloc.lower().removesuffix(_PORTS[parts.scheme])
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}{query}"


def _row(caller: Caller, agent: str, run_id: str | None, name: str, text: str, title: str) -> dict[str, Any]:
    name, title, text = _storable(name.strip()[:MAX_NAME]), _storable(title.strip()[:MAX_TITLE]), _storable(text)
    text = text[:MOST_CHARS]
    once = "\n".join((caller.id, run_id or "", name, hashlib.sha256(text.encode()).hexdigest()))
    return {
        "id": hashlib.sha256(once.encode()).hexdigest()[:32],
        "caller": caller.id,
        "run_id": run_id,
        "name": name,
        "title": title,
        "found_by": agent,
        "at": datetime.now(UTC),
        "chars": len(text),
        "text": text,
    }


def _storable(text: str) -> str:
    """The text without what no database takes: NUL, and halves of characters."""
    return text.replace("\0", "").encode(errors="replace").decode()


async def _check_room(db: AsyncConnection, caller: Caller, run_id: str, chars: int) -> None:
    mine = (source.c.run_id == run_id, source.c.caller == caller.id)
    had = (await db.execute(select(func.coalesce(func.sum(source.c.chars), 0)).where(*mine))).scalar_one()
    if had + chars > RUN_CHARS:
        raise ToolFailed(
            f"this run was given {had:,} characters from outside, and may be given {RUN_CHARS:,}.",
            next_step="Go on with what you have.",
        )


async def _drop_old(db: AsyncConnection, caller: Caller) -> None:
    mine = (source.c.run_id.is_(None), source.c.caller == caller.id)
    newest = select(source.c.id).where(*mine).order_by(source.c.at.desc(), source.c.id).limit(CHAT_TEXTS)
    await db.execute(delete(source).where(*mine, source.c.id.not_in(newest)))
