"""Tombstones: what is left of a forgotten thing, so that it is known when it comes back and can be taken out elsewhere.

A tombstone has the thing's id and the fingerprint of its text, and of each part of it that a search could give. It has
the text itself only until that has been taken out of everything else.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from atlas_mcp.errors import InvalidInput
from atlas_mcp.memory.redacting import fingerprint
from atlas_mcp.store.memory_tables import forgotten

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.knowledge import Hit

_OF_LETTA = ("archive", "block")
FORGOTTEN = "the caller had it forgotten."
"""Why what an agent would keep is not kept."""


async def bury(
    db: AsyncConnection, caller: Caller, kind: str, item: str, texts: Sequence[str], parts: Sequence[str]
) -> None:
    """Leave tombstones for the item, its texts and the parts that a search could give. In a write transaction."""
    common: dict[str, Any] = {
        "caller": caller.id,
        "kind": kind,
        "places": [],
        "at": datetime.now(UTC),
        "purged_at": None,
    }
    whole = "\n".join(texts)
    rows = [{**common, "item": item, "sha256": fingerprint(whole), "text": whole}]
    rows += [
        {**common, "item": f"{item}/{n}", "sha256": fingerprint(part), "text": None}
        for n, part in enumerate(dict.fromkeys((*texts, *parts)))
    ]
    mine = forgotten.c.caller == caller.id
    await db.execute(delete(forgotten).where(mine, forgotten.c.item.in_([row["item"] for row in rows])))
    for row in rows:
        await db.execute(insert(forgotten).values(row))


async def forgotten_among(db: AsyncConnection, caller: Caller, texts: Iterable[str]) -> set[str]:
    """Those of the texts that were forgotten, but for case and blanks."""
    given = {fingerprint(text): text for text in texts}
    mine = (forgotten.c.caller == caller.id, forgotten.c.sha256.in_(list(given)))
    return {given[found] for found in (await db.execute(select(forgotten.c.sha256).where(*mine))).scalars()}


async def without_forgotten(db: AsyncConnection, caller: Caller, hits: Sequence[Hit]) -> list[Hit]:
    """The hits but for those of Letta's whose text was forgotten: it may not have been reached then."""
    doubted = [hit.text for hit in hits if hit.kind in _OF_LETTA]
    gone = await forgotten_among(db, caller, doubted) if doubted else set[str]()
    return [hit for hit in hits if hit.kind not in _OF_LETTA or hit.text not in gone]


async def check_not_forgotten(db: AsyncConnection, caller: Caller, text: str) -> None:
    """InvalidInput for what an agent would share again though the caller had it forgotten."""
    if await forgotten_among(db, caller, [text]):
        raise InvalidInput(FORGOTTEN, argument="text", next_step="Go on without it.")


async def lift(db: AsyncConnection, caller: Caller, texts: Iterable[str]) -> None:
    """Let these texts be kept again: the caller wants them. In a write transaction."""
    marks = [fingerprint(text) for text in texts]
    await db.execute(delete(forgotten).where(forgotten.c.caller == caller.id, forgotten.c.sha256.in_(marks)))


async def pending(db: AsyncConnection) -> dict[str, list[str]]:
    """The texts that are still to be taken out of other texts and files, by caller."""
    rows = await db.execute(select(forgotten.c.caller, forgotten.c.text).where(forgotten.c.text.is_not(None)))
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.caller, []).append(row.text)
    return found


async def unfinished(db: AsyncConnection) -> dict[str, list[str]]:
    """Those of them that were not taken out of all that agents and runs keep, by caller: it was cut off, or not all of
    it was reached.
    """
    columns = (forgotten.c.caller, forgotten.c.text, forgotten.c.places)
    found: dict[str, list[str]] = {}
    for row in await db.execute(select(*columns).where(forgotten.c.text.is_not(None))):
        if not row.places:
            found.setdefault(row.caller, []).append(row.text)
    return found


async def finished(db: AsyncConnection, caller: Caller, texts: Sequence[str], places: Sequence[str]) -> None:
    """Note where these were, and are no more: only files and traces are left. In a write transaction."""
    mine = (forgotten.c.caller == caller.id, forgotten.c.text.in_(list(texts)))
    await db.execute(update(forgotten).where(*mine).values(places=["record", *places]))


async def purged(db: AsyncConnection, caller_id: str, texts: Sequence[str]) -> int:
    """Note that these are gone from everything: the tombstones lose their texts. How many items. In a write."""
    mine = (forgotten.c.caller == caller_id, forgotten.c.text.in_(list(texts)))
    done = await db.execute(update(forgotten).where(*mine).values(text=None, purged_at=datetime.now(UTC)))
    return done.rowcount
