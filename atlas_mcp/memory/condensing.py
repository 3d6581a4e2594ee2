"""A talk that has grown too long for a prompt: its older part summed up, the newest messages as they are.

Promise: what fits within `most` tokens is given as it is, and no summary is looked for. Beyond that the messages before
the newest become a summary of at most `condensed` tokens; the originals stay where they are. A summary is kept in the
record with the ids of what it covers, and given again to whoever may see all of that, and to nobody else. Without a
model, whole sentences of the originals are chosen. When something that a summary covers is forgotten, it goes too.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import anyio.to_thread
from sqlalchemy import String, cast, delete, insert, or_, select

from atlas_mcp.errors import AtlasError, RunLost
from atlas_mcp.memory.extracting import extract
from atlas_mcp.model.context import ESTIMATE, ContextItem
from atlas_mcp.store.memory_tables import summary as table

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.context import Counter
    from atlas_mcp.store.record import Record

Summarise = Callable[[str, int], Awaitable[str]]
"""A model that makes a summary of a text, of at most so many tokens."""

IN_A_THREAD = 50_000
"""Characters from which counting and choosing sentences would hold up others: they take a tenth of a second."""
_AT_ONCE = 200

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """In tokens: from how many on a talk is condensed, to how many, and how many of the newest stay as they are. `each`
    is what every message takes beside its text."""

    most: int = 30_000
    condensed: int = 20_000
    recent: int = 5_000
    each: int = 0


@dataclass(frozen=True)
class Condensed:
    """The talk as it is given: a summary of what came first, if there had to be one, and the rest. `tokens` is what
    both come to, `covered` how many messages the summary stands for, `by` who made it."""

    recent: tuple[ContextItem, ...]
    tokens: int
    counted_by: str
    summary: ContextItem | None = None
    covered: int = 0
    by: str = ""


@dataclass(frozen=True)
class _Known:
    """A summary of the record."""

    item: ContextItem
    covers: frozenset[str]
    tokens: int


class Summaries:
    """One caller's summaries."""

    def __init__(self, caller: Caller, record: Record) -> None:
        self._caller = caller
        self._record = record

    async def condense(
        self,
        subject: str,
        messages: Sequence[ContextItem],
        *,
        limits: Limits | None = None,
        counter: Counter = ESTIMATE,
        model: Summarise | None = None,
    ) -> Condensed:
        """The messages, oldest first, within the limits. `subject` is the talk that they are of.

        A model that fails, or writes more than it may, costs nothing: then sentences are chosen.
        """
        limits = limits or Limits()
        sizes = await _sized(messages, counter, limits.each)
        if sum(sizes) <= limits.most:
            return Condensed(tuple(messages), sum(sizes), counter.name)
        start = _recent(sizes, limits.recent)
        known = await self._known(subject, {m.id for m in messages[:start]})
        if known is not None:
            rest = [(m, n) for m, n in zip(messages, sizes, strict=True) if m.id not in known.covers]
            left = known.tokens + sum(n for _, n in rest)
            if left <= limits.most:
                recent = tuple(m for m, _ in rest)
                return Condensed(recent, left, counter.name, known.item, len(known.covers), "kept before")
        made, by = await self._made(messages[:start], known, limits, counter, model)
        item = await self._keep(subject, messages[:start], made, counter)
        total = counter.count(made) + sum(sizes[start:])
        return Condensed(tuple(messages[start:]), total, counter.name, item, start, by)

    async def drop_covering(self, db: AsyncConnection, ids: Collection[str]) -> int:
        """Delete every summary that covers one of these; how many there were. For whoever forgets them, in the same
        commit."""
        gone: list[str] = []
        wanted = sorted(set(ids))
        for first in range(0, len(wanted), _AT_ONCE):
            some = wanted[first : first + _AT_ONCE]
            named = or_(*(cast(table.c.covers, String).contains(one, autoescape=True) for one in some))
            rows = await db.execute(select(table.c.id, table.c.covers).where(table.c.caller == self._caller.id, named))
            gone += [row.id for row in rows if set(row.covers).intersection(some)]
        await self._delete(db, gone)
        return len(set(gone))

    async def drop_subject(self, db: AsyncConnection, subject: str) -> None:
        """Delete every summary of a talk that is deleted itself."""
        await db.execute(delete(table).where(table.c.caller == self._caller.id, table.c.subject == subject))

    async def _delete(self, db: AsyncConnection, ids: Collection[str]) -> None:
        if ids:
            await db.execute(delete(table).where(table.c.caller == self._caller.id, table.c.id.in_(sorted(set(ids)))))

    async def _made(
        self,
        older: Sequence[ContextItem],
        known: _Known | None,
        limits: Limits,
        counter: Counter,
        model: Summarise | None,
    ) -> tuple[str, str]:
        """A summary of the older messages, and who made it."""
        room = counter.room(limits.condensed)
        if model is not None:
            since = [m for m in older if known is None or m.id not in known.covers]
            lines = [f"Earlier summary: {known.item.text}"] if known else []
            try:
                text = (await model("\n\n".join((*lines, *map(_line, since))), room)).strip()
            except RunLost:
                raise
            except AtlasError as error:
                log.warning("a summary was made without the model: %s", error)
            else:
                if text and counter.count(text) <= room:
                    return text, "a model"
        texts = [(m.source, m.text) for m in older]
        return await anyio.to_thread.run_sync(extract, texts, room, counter.count), "choosing sentences"

    async def _known(self, subject: str, allowed: set[str]) -> _Known | None:
        """The summary of that talk which covers most, of those that cover nothing else than what is allowed."""
        mine = (table.c.caller == self._caller.id, table.c.subject == subject)
        async with self._record.read() as db:
            rows = list(await db.execute(select(table).where(*mine).order_by(table.c.at)))
        fit = [row for row in rows if allowed.issuperset(row.covers)]
        best: Any = max(fit, key=lambda row: len(row.covers), default=None)
        if best is None:
            return None
        return _Known(_item(best.id, best.text, best.at), frozenset(best.covers), best.tokens)

    async def _keep(self, subject: str, older: Sequence[ContextItem], text: str, counter: Counter) -> ContextItem:
        """Write the summary down, instead of those that cover a part of it."""
        item = _item(f"sum-{uuid4()}", text, datetime.now(UTC))
        covers = [m.id for m in older]
        row = {
            "id": item.id,
            "caller": self._caller.id,
            "subject": subject,
            "text": text,
            "covers": covers,
            "tokens": counter.count(text),
            "at": item.at,
        }
        async with self._record.write(self._caller.id) as db:
            mine = (table.c.caller == self._caller.id, table.c.subject == subject)
            rows = await db.execute(select(table.c.id, table.c.covers).where(*mine))
            await self._delete(db, [one.id for one in rows if set(covers).issuperset(one.covers)])
            await db.execute(insert(table).values(row))
        return item


def _item(id: str, text: str, at: datetime) -> ContextItem:
    return ContextItem(id=id, section="recent", text=text, source="summary", kind="summary", at=at)


def _line(message: ContextItem) -> str:
    return f"{message.source}: {message.text}"


async def _sized(messages: Sequence[ContextItem], counter: Counter, each: int) -> list[int]:
    def count() -> list[int]:
        return [counter.count(m.text) + each for m in messages]

    if sum(len(m.text) for m in messages) < IN_A_THREAD:
        return count()
    return await anyio.to_thread.run_sync(count)


def _recent(sizes: Sequence[int], room: int) -> int:
    """Where the newest messages begin that stay as they are: the last one always does."""
    start = len(sizes) - 1
    left = room - sizes[start]
    while start > 0 and sizes[start - 1] <= left:
        start -= 1
        left -= sizes[start]
    return start
