"""The things that facts are about: found by their names, however these are written, and told apart by their kinds.

Promise: a name and a kind are one thing of a caller. Things that turn out to be one are merged by a mark on one of
them; no fact is rewritten, so that taking the mark away undoes it. A thing that no fact is about any more is gone.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import delete, exists, insert, or_, select, update

from atlas_mcp.errors import IllegalChange, InvalidInput
from atlas_mcp.memory.words import Query
from atlas_mcp.model.fact import Entity
from atlas_mcp.store.memory_tables import entity, fact

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller

AT_ONCE = 5_000
_AROUND_WORDS = ".,;:!?\"'()[]{}«»“”‘’„…¿¡。、，！？「」『』"
_LONGEST_MENTION = 6
_LONGEST_UNSPACED = 8
_MOST_WORDS = 60
_MOST_MENTIONS = 20


def norm(name: str) -> str:
    """The name as it is compared: letters of one form and in small ones, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


@dataclass(frozen=True)
class Aliases:
    """Which of one caller's things turned out to be which others."""

    into: dict[str, str]
    _members: dict[str, list[str]] = field(default_factory=dict[str, "list[str]"])

    @classmethod
    async def read(cls, db: AsyncConnection, caller: Caller) -> Aliases:
        """As they are now."""
        mine = (entity.c.caller == caller.id, entity.c.merged_into.is_not(None))
        made = cls({row.id: row.merged_into for row in await db.execute(select(entity).where(*mine))})
        for one in made.into:
            made._members.setdefault(made.root(one), []).append(one)
        return made

    def root(self, one: str) -> str:
        """The thing that it is."""
        while one in self.into:
            one = self.into[one]
        return one

    def members(self, roots: Iterable[str]) -> list[str]:
        """The things and all that turned out to be them."""
        return [each for one in roots for each in (one, *self._members.get(one, ()))]


async def called(db: AsyncConnection, caller: Caller, name: str, kind: str = "") -> list[Row[Any]]:
    """Things of that name, and of that kind if it is said; those of which nobody said the kind count as any."""
    mine = (entity.c.caller == caller.id, entity.c.norm == norm(name))
    rows = list(await db.execute(select(entity).where(*mine).order_by(entity.c.created_at, entity.c.id)))
    if not kind:
        return rows
    return [row for row in rows if row.kind == norm(kind)] or [row for row in rows if not row.kind]


async def one_called(
    db: AsyncConnection, caller: Caller, name: str, kind: str, aliases: Aliases, *, argument: str
) -> str | None:
    """The id of the one thing of that name; None if there is none. InvalidInput where it may be several."""
    rows = await called(db, caller, name, kind)
    roots = {aliases.root(row.id) for row in rows}
    if len(roots) > 1:
        kinds = sorted({row.kind for row in rows})
        raise InvalidInput(
            f"{name!r} is the name of {len(roots)} things.",
            argument=argument,
            allowed=kinds,
            next_step=f"Say which kind is meant, in {argument}_kind: {', '.join(kinds)}.",
        )
    return roots.pop() if roots else None


async def found_or_made(
    db: AsyncConnection, caller: Caller, name: str, kind: str, aliases: Aliases, at: datetime, *, argument: str
) -> str:
    """The id of the thing of that name and kind, which is made if there is none. InvalidInput as above."""
    known = await one_called(db, caller, name, kind, aliases, argument=argument)
    if known is None:
        known = f"entity-{uuid4()}"
        row = {"id": known, "caller": caller.id, "name": " ".join(name.split()), "norm": norm(name), "kind": norm(kind)}
        await db.execute(insert(entity).values(row | {"created_at": at}))
    elif kind:
        nameless = (entity.c.caller == caller.id, entity.c.id == known, entity.c.kind == "")
        await db.execute(update(entity).where(*nameless).values(kind=norm(kind)))
    return known


async def mentioned(db: AsyncConnection, caller: Caller, text: str) -> list[str]:
    """Ids of the things whose names stand in the text, at most 20, the longest names first."""
    plain = text.encode(errors="ignore").decode()  # no name has half a surrogate pair, and no database takes one
    if not (candidates := _candidates(plain)):
        return []
    mine = (entity.c.caller == caller.id, entity.c.norm.in_(candidates))
    rows = sorted(await db.execute(select(entity).where(*mine)), key=lambda row: (-len(row.norm), row.id))
    return [row.id for row in rows[:_MOST_MENTIONS]]


async def names_like(db: AsyncConnection, caller: Caller, text: str, limit: int = 5) -> list[str]:
    """Names that have a word of the text in them."""
    words = sorted((w for w in Query(text).words if len(w) > 2), key=len, reverse=True)[:4]
    if not words:
        return []
    like = or_(*(entity.c.norm.contains(word, autoescape=True) for word in words))
    query = select(entity.c.name).where(entity.c.caller == caller.id, like).order_by(entity.c.norm).limit(limit)
    return list((await db.execute(query)).scalars())


async def shown(
    db: AsyncConnection, caller: Caller, ids: Collection[str], aliases: Aliases, distance: dict[str, int] | None = None
) -> dict[str, Entity]:
    """Each of these things, by its id."""
    rows: dict[str, Row[Any]] = {}
    for some in in_parts(aliases.members(ids)):
        found = await db.execute(select(entity).where(entity.c.caller == caller.id, entity.c.id.in_(some)))
        rows |= {row.id: row for row in found}
    return {
        one: Entity(
            id=one,
            name=rows[one].name,
            kind=rows[one].kind,
            also=sorted({rows[m].name for m in aliases.members([one]) if m in rows} - {rows[one].name}),
            distance=(distance or {}).get(one, 0),
        )
        for one in ids
        if one in rows
    }


async def merge(db: AsyncConnection, caller: Caller, keep: str, other: str) -> None:
    """Note that the other thing turned out to be the kept one; both are roots. IllegalChange if they are one."""
    if keep == other:
        raise IllegalChange("they are one thing already.", argument="other", next_step="There is nothing to merge.")
    mine = (entity.c.caller == caller.id, entity.c.id == other)
    await db.execute(update(entity).where(*mine).values(merged_into=keep))


async def unmerge(db: AsyncConnection, caller: Caller, name: str, kind: str) -> str:
    """Make what was merged under that name a thing of its own again; its id. InvalidInput if none was."""
    rows = [row for row in await called(db, caller, name, kind) if row.merged_into is not None]
    if len(rows) != 1:
        problem = f"{name!r} was not merged into anything." if not rows else f"{len(rows)} things of that name were."
        raise InvalidInput(problem, argument="entity", next_step="Name what was merged, and its kind if it has one.")
    await db.execute(update(entity).where(entity.c.id == rows[0].id).values(merged_into=None))
    return rows[0].id


async def remove_unused(db: AsyncConnection, caller: Caller, ids: Collection[str]) -> None:
    """Delete those of the things that no fact is about, be it held or history, and that nothing was merged into."""
    other = entity.alias()
    about = exists().where(fact.c.caller == caller.id, or_(fact.c.subject == entity.c.id, fact.c.object == entity.c.id))
    merged = exists().where(other.c.caller == caller.id, other.c.merged_into == entity.c.id)
    for some in in_parts(ids):
        unused = (entity.c.caller == caller.id, entity.c.id.in_(some), ~about, ~merged)
        await db.execute(delete(entity).where(*unused))


def in_parts(ids: Collection[str]) -> Iterable[Sequence[str]]:
    """The ids in parts that a database takes in one statement."""
    every = list(ids)
    return (every[start : start + AT_ONCE] for start in range(0, len(every), AT_ONCE))


def _candidates(text: str) -> set[str]:
    """What could be a name in the text: up to six words in a row; of scripts without spaces, up to eight letters."""
    words = [word.strip(_AROUND_WORDS) for word in norm(text).split()[:_MOST_WORDS]]
    words = [word for word in words if word]
    found = {
        " ".join(words[start : start + count])
        for count in range(1, _LONGEST_MENTION + 1)
        for start in range(len(words) - count + 1)
    }
    found |= {one.removesuffix(end) for one in found for end in ("'s", "’s")}
    for part in Query(text).unspaced:
        lengths = range(2, min(_LONGEST_UNSPACED, len(part)) + 1)
        found |= {part[i : i + n] for n in lengths for i in range(min(len(part), _MOST_WORDS) - n + 1)}
    return found - {""}
