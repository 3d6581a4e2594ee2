"""How something new comes among the memories: kept, joined with the same text, or in an older one's place.

What contradicts a memory (another text under the same key) takes its place; the older one stays, and says by what it
was superseded. An agent's word never takes the place of the caller's: then the agent's is kept as the superseded one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from atlas_mcp.errors import InvalidInput, OverLimit
from atlas_mcp.memory import memory_rows as rows
from atlas_mcp.memory.documents import check_plain, check_text
from atlas_mcp.memory.redacting import MARK
from atlas_mcp.memory.tombstones import FORGOTTEN, forgotten_among, lift
from atlas_mcp.model.knowledge import MAX_NAME
from atlas_mcp.model.memory_item import CALLER, MAX_MEMORY, New
from atlas_mcp.model.memory_kinds import SCOPE

if TYPE_CHECKING:
    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller

_NAMES = ("about", "project", "key", "author")
_MOST_SOURCES = 20


def checked(new: New) -> New:
    """What is new, with its names tidied. InvalidInput for what is empty or no text, OverLimit for what is too long."""
    check_text(new.text, MAX_MEMORY)
    if not re.fullmatch(SCOPE, new.scope):
        raise InvalidInput(
            f"{new.scope!r} is nobody to remember it for.",
            argument="scope",
            allowed=("all", "agent:NAME", "team:NAME"),
            next_step="Pass all, agent: and an agent's name, or team: and a team's name.",
        )
    tidied: dict[str, Any] = {}
    for name in (*_NAMES, "source", "quote"):
        value = getattr(new, name)
        if value is not None:
            value = " ".join(value.split()) if name in _NAMES else value.strip()
            check_plain(name, value)
            limit = MAX_NAME if name in _NAMES else MAX_MEMORY
            if len(value) > limit:
                raise OverLimit(name, len(value), limit)
            tidied[name] = value
    return new.model_copy(update=tidied | {"key": tidied.get("key") or None})


async def keep(db: AsyncConnection, caller: Caller, new: New) -> Row[Any]:
    """Write it, in a write transaction of the caller's rows; the memory as it then stands."""
    if new.id is not None:
        if known := await rows.find(db, caller, new.id):
            return known
        await rows.remove(db, caller, new.id)  # one that has expired and was not deleted yet
    if new.author == CALLER:
        await lift(db, caller, [new.text])
    elif await forgotten_among(db, caller, [new.text]):
        new = new.model_copy(update={"text": MARK, "about": "", "quote": "", "key": None, "reason": FORGOTTEN})
    if new.reason:
        return await rows.create(db, caller, new)
    held = await rows.holder(db, caller, new)
    if held is not None and held.sha256 == rows.as_compared(new.text):
        return await _join(db, caller, held, new)
    alike = await rows.with_text(db, caller, new)
    if held is None:
        now = [row for row in alike if row.superseded_by is None]
        same = next((row for row in now if row.key is None or new.key in (None, row.key)), None)
        return await _join(db, caller, same, new) if same else await rows.create(db, caller, new)
    if held.author == CALLER and new.author != CALLER:
        said = next((r for r in alike if r.superseded_by == held.id), None)
        return said or await rows.create(db, caller, new, superseded_by=held.id)
    made = new.id or rows.new_id()
    await rows.supersede(db, caller, held.id, made)
    return await rows.create(db, caller, new, memory_id=made)


async def _join(db: AsyncConnection, caller: Caller, row: Row[Any], new: New) -> Row[Any]:
    """Add the source of the same text; nothing changes, but its time to live, where it adds none."""
    until = rows.expiry(new)
    until = None if until is None or row.expires_at is None else max(until, row.expires_at)
    sources = row.source.splitlines()
    if new.source and new.source not in sources and len(sources) < _MOST_SOURCES:
        sources.append(new.source)
    better = {
        "key": row.key or new.key,
        "source": "\n".join(sources),
        "quote": row.quote or new.quote,
        "author": CALLER if new.author == CALLER else row.author,
        "trust": max(row.trust, new.weight),
    }
    if all(getattr(row, name) == value for name, value in better.items()):
        await rows.renew(db, caller, row, until)
        return await rows.find(db, caller, row.id) or row
    return await rows.revise(db, caller, row, "merged", new.run_id, expires_at=until, **better)
