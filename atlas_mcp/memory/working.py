"""Working memory: what is at hand for a while, under names, for the agents of one caller.

Promise: a value is plain JSON and is given back as it was; nothing is ever executed to read one. It is there until it
is deleted or its time is over, and not a moment longer. `increment` and `compare_and_set` are one step: of several at
once, in any process, none is lost. The record has it all; where a Redis is configured it is told of every change, and
asked first. What it does not know, and all that it is asked while it does not answer, the record answers. Every query
is bound to one caller. A value is also a memory of kind `working`: it is listed, corrected and forgotten like any
other, but has no history, and is found by its name only, never by a search.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

from sqlalchemy import delete, insert, select, text, update

from atlas_mcp.errors import InvalidInput, OverLimit
from atlas_mcp.memory import memory_rows as rows
from atlas_mcp.memory.documents import remove_passages
from atlas_mcp.model.knowledge import AGENT_TRUST
from atlas_mcp.store.memory_tables import CURRENT, memory, memory_revision

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Row, TextClause
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.memory.redis.cache import Cache
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.record import Record

Json: TypeAlias = "str | int | float | bool | list[Any] | dict[str, Any] | None"

WORKING = "working"
LIFETIME = timedelta(hours=1)
LONGEST = timedelta(days=30)
MAX_NAME = 200
MAX_VALUE = 100_000
"""Characters of a value as JSON."""
MAX_LISTED = 1_000
ID = "wrk-"


@dataclass(frozen=True, slots=True)
class Place:
    """Where values lie; names in one place mean nothing in another. A scope is `all`, `team:NAME` or `agent:NAME`."""

    scope: str = "all"
    project: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """A value as JSON, until when it is there, and when it was written: of two, the later is right."""

    text: str
    until: datetime | None
    at: datetime


class Working:
    """One caller's working memory in one place, written by `author`: `caller`, `atlas` or `agent:NAME`."""

    def __init__(
        self,
        caller: Caller,
        record: Record,
        cache: Cache | None = None,
        *,
        place: Place | None = None,
        author: str = "atlas",
    ) -> None:
        self._caller = caller
        self._record = record
        self._cache = cache
        self._place = place or Place()
        self._author = author

    async def get(self, name: str, default: Json = None) -> Json:
        """The value of that name, `default` if there is none any more."""
        _check_name(name)
        cached = await self._cache.get(self._item(name)) if self._cache is not None else None
        if cached is None:
            async with self._record.look() as db:
                row = (await db.execute(self._select(name))).one_or_none()
            if row is None:
                return default
            cached = _kept(row)
            if self._cache is not None:
                await self._cache.put(self._item(name), cached)
        return _read(cached.text) if _lives(cached.until) else default

    async def set(self, name: str, value: Json, *, lifetime: timedelta = LIFETIME) -> None:
        """Keep the value under that name for that time, in place of what was there.

        InvalidInput for a value that is no plain JSON, OverLimit for more than MAX_VALUE characters of it.
        """
        text, until = _written(name, value), _until(lifetime)
        async with self._record.write(self._caller.id) as db:
            kept = await self._write(db, name, await self._row(db, name), text, until)
        await self._tell(name, kept)

    async def delete(self, name: str) -> bool:
        """Whether there was such a value; it is gone now."""
        _check_name(name)
        async with self._record.write(self._caller.id) as db:
            row = await self._row(db, name)
            if row is not None:
                await rows.remove(db, self._caller, row.id)
        await self._tell(name, None)
        return row is not None and _lives(row.expires_at)

    async def names(self, beginning: str = "") -> list[str]:
        """The names that begin so, in order; MAX_LISTED at most."""
        wanted = (*self._here(), memory.c.key.startswith(beginning, autoescape=True), rows.living())
        names = select(memory.c.key).where(*wanted).order_by(memory.c.key).limit(MAX_LISTED)
        async with self._record.read() as db:
            return [str(name) for name in (await db.execute(names)).scalars()]

    async def increment(self, name: str, by: int = 1, *, lifetime: timedelta = LIFETIME) -> int:
        """Add to the number of that name, which begins at 0 and keeps the end that it was given then; the sum.

        InvalidInput where something else than a whole number lies there.
        """
        until = _until(lifetime)
        _check_name(name)
        async with self._record.write(self._caller.id) as db:
            row = await self._row(db, name)
            lives = row is not None and _lives(row.expires_at)
            before = _read(row.text) if row is not None and lives else 0
            if not isinstance(before, int) or isinstance(before, bool):
                raise InvalidInput(f"{name!r} is no whole number.", argument="name", next_step="Use another name.")
            end = row.expires_at if row is not None and lives else until
            kept = await self._write(db, name, row, json.dumps(before + by), end)
        await self._tell(name, kept)
        return before + by

    async def compare_and_set(self, name: str, expected: Json, value: Json, *, lifetime: timedelta = LIFETIME) -> bool:
        """Keep `value` if `expected` is what lies there, None standing for nothing; whether it was."""
        text, until = _written(name, value), _until(lifetime)
        async with self._record.write(self._caller.id) as db:
            row = await self._row(db, name)
            there = _read(row.text) if row is not None and _lives(row.expires_at) else None
            if there != expected or isinstance(there, bool) != isinstance(expected, bool):
                return False
            kept = await self._write(db, name, row, text, until)
        await self._tell(name, kept)
        return True

    async def _write(
        self, db: AsyncConnection, name: str, row: Row[Any] | None, content: str, until: datetime | None
    ) -> Kept:
        now = datetime.now(UTC)
        if row is None:
            made = self._new(name, content, until, now)
            await db.execute(insert(memory).values(made))
            await db.execute(insert(memory_revision).values({"memory": made["id"], "number": 1} | _revision(made)))
            return Kept(content, until, now)
        now = max(now, row.updated_at + timedelta(microseconds=1))  # of two versions, the later is known as such
        changed = {"text": content, "sha256": rows.as_compared(content), "expires_at": until, "updated_at": now}
        await db.execute(update(memory).where(memory.c.id == row.id).values(changed | {"revision": 1}))
        of = memory_revision.c.memory == row.id
        await db.execute(update(memory_revision).where(of, memory_revision.c.number == 1).values(text=content, at=now))
        if row.revision > 1 or not row.id.startswith(ID):  # somebody wrote it as a memory in words, with a history
            await db.execute(delete(memory_revision).where(of, memory_revision.c.number > 1))
            await remove_passages(db, self._caller, row.id)
        return Kept(content, until, now)

    def _new(self, name: str, content: str, until: datetime | None, now: datetime) -> dict[str, Any]:
        named = {"id": f"{ID}{uuid4()}", "kind": WORKING, "key": name, "revision": 1, "trust": AGENT_TRUST}
        texts = {"about": name, "text": content, "source": "", "quote": "", "reason": "", "author": self._author}
        whose = {"caller": self._caller.id, "scope": self._place.scope, "project": self._place.project}
        times = {"created_at": now, "updated_at": now, "expires_at": until}
        return named | texts | whose | times | {"sha256": rows.as_compared(content)}

    async def _row(self, db: AsyncConnection, name: str) -> Row[Any] | None:
        return (await db.execute(self._select(name))).one_or_none()

    def _select(self, name: str) -> Any:
        return select(memory).where(*self._here(), memory.c.key == name)

    def _here(self) -> tuple[ColumnElement[bool] | TextClause, ...]:
        mine = (memory.c.caller == self._caller.id, memory.c.kind == WORKING)
        here = (memory.c.scope == self._place.scope, memory.c.project == self._place.project)
        return (*mine, *here, text(CURRENT))

    def _item(self, name: str) -> str:
        return item_of(self._caller.id, self._place.scope, self._place.project, name)

    async def _tell(self, name: str, kept: Kept | None) -> None:
        """Let Redis know at once. What it does not hear now it is told from the outbox."""
        if self._cache is None:
            return
        if kept is None:
            await self._cache.drop(self._item(name))
        else:
            await self._cache.put(self._item(name), kept)


def item_of(caller: str, scope: str, project: str, name: str) -> str:
    """What the outbox calls a value; the triggers of migration 0010 write the same."""
    return "\x1f".join((caller, scope, project, name))


async def kept_of(db: AsyncConnection, items: list[str]) -> dict[str, Kept]:
    """The values that the outbox calls so, as far as they are there."""
    parts = [item.split("\x1f", 3) for item in items]
    names = {part[3] for part in parts}
    found_there = await db.execute(
        select(memory).where(memory.c.kind == WORKING, memory.c.key.in_(names), text(CURRENT))
    )
    found = {item_of(row.caller, row.scope, row.project, row.key): _kept(row) for row in found_there}
    return {item: found[item] for item in items if item in found}


def _revision(made: dict[str, Any]) -> dict[str, Any]:
    kept = {name: made[name] for name in ("caller", "text", "source", "quote", "trust", "author")}
    return kept | {"operation": "created", "run_id": None, "at": made["created_at"]}


def _kept(row: Row[Any]) -> Kept:
    return Kept(row.text, row.expires_at, row.updated_at)


def _lives(until: datetime | None) -> bool:
    return until is None or until > datetime.now(UTC)


def _until(lifetime: timedelta) -> datetime:
    if not timedelta() < lifetime <= LONGEST:
        step = f"Give more than nothing and at most {LONGEST.days} days; remember as long_term what is to stay longer."
        raise InvalidInput(f"{lifetime} is no time that a value can be kept.", argument="lifetime", next_step=step)
    return datetime.now(UTC) + lifetime


def _check_name(name: str) -> None:
    if not name.strip() or not name.isprintable():
        raise InvalidInput("a name is one line of characters that can be seen.", argument="name")
    if len(name) > MAX_NAME:
        raise OverLimit("name", len(name), MAX_NAME)


def _written(name: str, value: Json) -> str:
    _check_name(name)
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair: JSON can say it, UTF-8 cannot
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        step = "Give texts, numbers, true, false, null, lists and objects of them."
        raise InvalidInput(f"it is no plain JSON: {error}.", argument="value", next_step=step) from None
    if len(text) > MAX_VALUE:
        step = "Share it with share_knowledge, and keep its name here."
        raise OverLimit("value", len(text), MAX_VALUE, next_step=step)
    return text


def _read(text: str) -> Json:
    try:
        return json.loads(text)
    except ValueError:
        return text  # it was remembered in words, by somebody else than us
