"""Vectors as the record has them: whose they are, which are nearest, and what a copy of them has yet to be told.

Promise: whatever proposed a passage, its similarity is that of the vector which the record has of it now, and it is
given only to the caller whose it is. So a copy that is late, or mixes up what had the same number at different times,
can miss something, but never say something false.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import func, select, text

from atlas_mcp.store.memory_tables import outbox, vector

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from numpy.typing import NDArray
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.memory.scope import Scope

TOPIC = "vector"
RENEW = "renew"
"""The item of the outbox that asks for a copy made anew, of which nothing old is left on the disk."""


_AMONG = """
    SELECT v.passage, v.data FROM vector v JOIN passage p ON p.id = v.passage
    WHERE v.fingerprint = :fingerprint AND v.passage IN :ids AND {scope}
"""
_AFTER = """
    SELECT v.passage, v.data FROM vector v JOIN passage p ON p.id = v.passage
    WHERE v.fingerprint = :fingerprint AND v.passage > :after AND {scope} ORDER BY v.passage LIMIT :most
"""

_AFTER_OF_ALL = text(_AFTER.replace("{scope}", "p.caller = :caller"))


@dataclass(frozen=True)
class Asked:
    """What is looked for: the passages nearest to a vector of length 1, among those that are looked through."""

    scope: Scope
    fingerprint: str
    vector: NDArray[np.float32]
    limit: int

    @property
    def caller(self) -> str:
        """Whose passages they are."""
        return self.scope.caller.id

    @property
    def values(self) -> dict[str, Any]:
        """The values that statements with its scope name."""
        return {**self.scope.values, "fingerprint": self.fingerprint}


@dataclass(frozen=True)
class Block:
    """Some passages and their vectors, a row each."""

    ids: NDArray[np.int64]
    matrix: NDArray[np.float32]

    @property
    def bytes(self) -> int:
        """The memory that it takes."""
        return self.ids.nbytes + self.matrix.nbytes

    def part(self, of: slice) -> Block:
        """Some of its rows."""
        return Block(self.ids[of], self.matrix[of])

    def best(self, query: NDArray[np.float32], most: int) -> list[tuple[int, float]]:
        """The nearest and their similarity, best first."""
        scores = self.matrix @ query
        top = np.argpartition(-scores, most)[:most] if len(scores) > most else np.arange(len(scores))
        return ranked((int(self.ids[n]), float(scores[n])) for n in top)


def ranked(pairs: Iterable[tuple[int, float]]) -> list[tuple[int, float]]:
    """Best first; of the same similarity the newer passage first."""
    return sorted(pairs, key=lambda pair: (-pair[1], -pair[0]))


def made_block(rows: Sequence[Any], dimension: int) -> Block:
    """Of rows with `passage` and `data`; those are left out that are no vector of that dimension."""
    fit = [row for row in rows if len(row.data) == 4 * dimension]
    matrix = np.frombuffer(b"".join(row.data for row in fit), dtype="<f4").reshape(len(fit), dimension)
    sound = np.isfinite(matrix).all(axis=1)
    return Block(np.array([row.passage for row in fit], dtype=np.int64)[sound], matrix[sound])


async def among(db: AsyncConnection, asked: Asked, ids: Collection[int]) -> list[tuple[int, float]]:
    """Those of the passages that fulfil what is asked, best first, as the record has them now."""
    if not ids:
        return []
    chosen = asked.scope.statement(_AMONG, "ids")
    rows = (await db.execute(chosen, {**asked.values, "ids": list(ids)})).all()
    return made_block(rows, len(asked.vector)).best(asked.vector, len(rows))


async def block_after(
    db: AsyncConnection, asked: Asked, after: int, most: int, *, narrowed: bool
) -> tuple[Block, int | None]:
    """The next of the caller's vectors by the passages' numbers, and the last number; None when there are no more.

    All of them, or `narrowed` to what fulfils what is asked.
    """
    chosen = asked.scope.statement(_AFTER) if narrowed else _AFTER_OF_ALL
    rows = (await db.execute(chosen, {**asked.values, "after": after, "most": most})).all()
    return made_block(rows, len(asked.vector)), rows[-1].passage if len(rows) == most else None


async def version(db: AsyncConnection, *, in_file: bool) -> int | None:
    """A number that is another one as soon as any vector came or went; None when that cannot be said just now."""
    if in_file:
        found = await db.execute(text("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'"))
        return found.scalar_one_or_none() or 0
    # A sequence is ahead of what is committed: it says nothing while somebody is writing.
    writing = "SELECT 1 FROM pg_locks WHERE relation = 'outbox'::regclass AND mode = 'RowExclusiveLock'"
    found = await db.execute(text(f"SELECT last_value FROM outbox_seq_seq WHERE NOT EXISTS ({writing})"))  # noqa: S608 - our own names
    return found.scalar_one_or_none()


async def waiting(db: AsyncConnection, fingerprint: str, most: int) -> set[int] | None:
    """The passages whose vectors came or went without the copy's knowing it yet; None where they are more."""
    found = await db.execute(select(outbox.c.item).where(outbox.c.topic == TOPIC).limit(most + 1))
    items = [parted(item) for item in found.scalars()]
    if len(items) > most or None in items:
        return None
    return {item[1] for item in items if item and item[0] == fingerprint}


def parted(item: str) -> tuple[str, int] | None:
    """An item of the outbox: the fingerprint and the passage; None for one that asks for a copy made anew."""
    fingerprint, _, number = item.rpartition(" ")
    return (fingerprint, int(number)) if fingerprint else None


async def there_are_any(db: AsyncConnection, fingerprint: str | None = None) -> bool:
    """Whether there is any vector, of that embedder if one is named."""
    of = select(vector.c.passage).limit(1)
    of = of if fingerprint is None else of.where(vector.c.fingerprint == fingerprint)
    return (await db.execute(of)).first() is not None


async def fingerprints(db: AsyncConnection) -> list[str]:
    """Of all embedders whose vectors there are: a step in the index for each."""
    found: list[str] = []
    while True:
        last = found[-1] if found else ""
        following = select(func.min(vector.c.fingerprint)).where(vector.c.fingerprint > last)
        if (one := (await db.execute(following)).scalar_one()) is None:
            return found
        found.append(one)


async def numbers(db: AsyncConnection, fingerprint: str) -> NDArray[np.int64]:
    """The passages that have a vector of that embedder, in order."""
    of = select(vector.c.passage).where(vector.c.fingerprint == fingerprint).order_by(vector.c.passage)
    return np.array((await db.execute(of)).scalars().all(), dtype=np.int64)


async def block_of(db: AsyncConnection, fingerprint: str, ids: Collection[int]) -> Block:
    """The vectors of those passages, whosever they are. What has none, or one of another dimension, is left out."""
    of = select(vector.c.passage, vector.c.data)
    rows = (await db.execute(of.where(vector.c.fingerprint == fingerprint, vector.c.passage.in_(list(ids))))).all()
    return made_block(rows, len(rows[0].data) // 4 if rows else 0)


async def some_block(db: AsyncConnection, fingerprint: str) -> Block:
    """Any one vector of that embedder; none if there is none."""
    of = select(vector.c.passage, vector.c.data).where(vector.c.fingerprint == fingerprint).limit(1)
    rows = (await db.execute(of)).all()
    return made_block(rows, len(rows[0].data) // 4 if rows else 0)
