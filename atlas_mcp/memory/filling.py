"""Vectors for passages that have none: some at a time, each kept as soon as it is made.

Promise: a vector that is stored is of the text that its passage has. A text that its embedder cannot take keeps no
other from its vector: it is put aside. What was stored before a process died is not made again.
"""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import LargeBinary, String, bindparam, exists, insert, select

from atlas_mcp.errors import EmbedderFailed
from atlas_mcp.memory.embedders.contract import PROBE
from atlas_mcp.store.memory_tables import vector
from atlas_mcp.store.tables import passage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.memory.embedders.contract import Embedder
    from atlas_mcp.store.record import Record

AT_ONCE = 32


class Aside:
    """Texts that an embedder could not take, by passage, and what it said of the last one."""

    def __init__(self) -> None:
        self.reason = ""
        self._texts: dict[int, str] = {}

    def put(self, row: Row[*tuple[Any, ...]], reason: str) -> None:
        """Leave this passage out from now on, until its text is another."""
        self._texts[row.id], self.reason = row.sha256, reason

    def has(self, row: Row[*tuple[Any, ...]]) -> bool:
        """Whether it is left out."""
        return self._texts.get(row.id) == row.sha256

    def __len__(self) -> int:
        return len(self._texts)


async def fill(record: Record, embedder: Embedder, aside: Aside, *, after: int = -1) -> None:
    """Give each passage after that one a vector where it lacks one. EmbedderFailed when it is the embedder's fault."""
    last = after
    while rows := await _missing(record, embedder.fingerprint, last):
        last = rows[-1].id
        made = await _embedded(embedder, [row for row in rows if not aside.has(row)], aside)
        for caller, of_caller in groupby(sorted(made, key=itemgetter("caller")), itemgetter("caller")):
            async with record.write(of=caller) as db:
                await db.execute(_STORE, list(of_caller))


def lacking(fingerprint: str) -> Any:
    """The condition on passages that have no vector of that embedder."""
    return ~exists().where(vector.c.fingerprint == fingerprint, vector.c.passage == passage.c.id)


async def newest(db: AsyncConnection) -> Any:
    """What is another when passages have been written since."""
    of = select(passage.c.id, passage.c.at, passage.c.sha256).order_by(passage.c.id.desc()).limit(1)
    row = (await db.execute(of)).one_or_none()
    return row and tuple(row)


async def _missing(record: Record, fingerprint: str, after: int) -> Sequence[Row[*tuple[Any, ...]]]:
    wanted = (passage.c.id, passage.c.caller, passage.c.sha256, passage.c.title, passage.c.text)
    of = select(*wanted).where(passage.c.id > after, lacking(fingerprint)).order_by(passage.c.id).limit(AT_ONCE)
    async with record.read() as db:
        return (await db.execute(of)).all()


async def _embedded(embedder: Embedder, rows: Sequence[Row[*tuple[Any, ...]]], aside: Aside) -> list[dict[str, Any]]:
    """The vectors, as they are stored. A refusal of many is tried in halves, until it is known whose it is."""
    if not rows:
        return []
    try:
        vectors = await embedder.embed([f"{row.title}\n{row.text}" if row.title else row.text for row in rows])
    except EmbedderFailed as failure:
        if not failure.of_texts:
            raise
        if len(rows) == 1:
            await embedder.embed([PROBE])  # fails where the embedder takes no text at all: then it is not this one's
            aside.put(rows[0], failure.message)
            return []
        half = len(rows) // 2
        return await _embedded(embedder, rows[:half], aside) + await _embedded(embedder, rows[half:], aside)
    return [
        {
            "of": row.id,
            "was": row.sha256,
            "caller": row.caller,
            "print": embedder.fingerprint,
            "made": made.astype("<f4").tobytes(),
        }
        for row, made in zip(rows, vectors, strict=True)
    ]


# The passage may have been deleted meanwhile, and its number be another's: then nothing is stored.
_STORE = insert(vector).from_select(
    ["passage", "fingerprint", "data"],
    select(passage.c.id, bindparam("print", type_=String), bindparam("made", type_=LargeBinary)).where(
        passage.c.id == bindparam("of"),
        passage.c.sha256 == bindparam("was"),
        ~exists().where(vector.c.fingerprint == bindparam("print"), vector.c.passage == passage.c.id),
    ),
)
