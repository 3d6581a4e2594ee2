"""Forgetting: what a caller wants gone is deleted from the record in one commit; a tombstone keeps it from coming back.

Promise: an item is deleted with all its revisions and passages, and with what agents made of it (memories, shared
texts and facts that hold it), or not at all. What the caller wrote is never deleted for being alike: `kept_alike` names
it. The derived stores follow by the outbox.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from sqlalchemy import delete, or_, select

from atlas_mcp.errors import IllegalChange, InvalidInput
from atlas_mcp.memory.condensing import Summaries
from atlas_mcp.memory.documents import CALLER, KNOWLEDGE, remove_passages
from atlas_mcp.memory.facts import Facts
from atlas_mcp.memory.tombstones import bury, forgotten_among
from atlas_mcp.model.run import ENDED
from atlas_mcp.store import tables
from atlas_mcp.store.memory_tables import entity, fact, forgotten, memory, memory_revision
from atlas_mcp.store.quality_tables import feedback
from atlas_mcp.store.reach_tables import source
from atlas_mcp.store.tables import document, passage, run, turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import ColumnElement, Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.memory.redacting import Redactor
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.record import Record

_OF_A_RUN = (tables.event, tables.artifact, tables.question, tables.turn, feedback, source)
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Item:
    """Something that can be forgotten: its texts are sought elsewhere, `parts` are those that a search gives, `quotes`
    are others' words in it.
    """

    kind: str
    id: str
    shown: str
    texts: tuple[str, ...]
    parts: tuple[str, ...] = ()
    quotes: tuple[str, ...] = ()

    @property
    def whole(self) -> str:
        """All of its texts, as its tombstone keeps them."""
        return "\n".join(self.texts)

    def has_of(self, redactor: Redactor) -> bool:
        """Whether it holds one of those texts."""
        return any(map(redactor.holds, (*self.texts, *self.quotes)))

    @property
    def named(self) -> str:
        """It by kind and id: nothing of it is said again once it is gone."""
        return f"the {self.kind} {self.id}"

    @property
    def said(self) -> str:
        """It in words, for people who must decide."""
        short = " ".join(self.shown.split())
        return f"{self.named} ({short[:_SHOWN]}{'…' if len(short) > _SHOWN else ''})"


async def find(db: AsyncConnection, caller: Caller, item: str) -> list[Item]:
    """What that id names, with what goes with it: a run's memories, an entity's facts. InvalidInput for an unknown one.

    The id of a passage, as a search gives it, names what the passage is of.
    """
    named = item.strip().split("/")[0]
    for look in (_memories, _documents, _facts, _entities, _runs):
        if found := await look(db, caller, named):
            return found
    return []


def unknown(item: str) -> InvalidInput:
    """The error for an id that names nothing of the caller's."""
    return InvalidInput(
        f"you have nothing with the id {item!r}.",
        argument="id",
        next_step="Take the id from search_memory, list_memories, recall_facts or list_runs.",
    )


async def derived(db: AsyncConnection, caller: Caller, items: Sequence[Item], redactor: Redactor) -> list[Item]:
    """What agents made of these: memories, shared texts and facts of theirs that hold the texts or come from them."""
    known = {one.id for one in items}
    found = [
        *await _memories(db, caller, None, memory.c.author != CALLER),
        *await _documents(db, caller, None, document.c.author != CALLER),
        *await _facts(db, caller, None, fact.c.author != CALLER),
    ]
    rows = await db.execute(select(fact.c.id, fact.c.sources).where(fact.c.caller == caller.id))
    sources = {row.id: {str(one.get("source")).split("/")[0] for one in row.sources} for row in rows}

    def made_of_it(one: Item) -> bool:
        return bool(sources.get(one.id) and sources[one.id] <= known) or one.has_of(redactor)

    return await _those(found, lambda one: one.id not in known and made_of_it(one))


async def kept_alike(db: AsyncConnection, caller: Caller, items: Sequence[Item], redactor: Redactor) -> list[Item]:
    """What the caller wrote that holds the texts, too, and stays."""
    known = {one.id for one in items}
    found = [
        *await _memories(db, caller, None, memory.c.author == CALLER),
        *await _documents(db, caller, None, document.c.author == CALLER),
        *await _facts(db, caller, None, fact.c.author == CALLER),
    ]
    return await _those(found, lambda one: one.id not in known and one.has_of(redactor))


async def delete_items(db: AsyncConnection, record: Record, caller: Caller, items: Sequence[Item]) -> None:
    """Delete them from the record, with the summaries that cover them, and leave tombstones. In a write of the caller's
    rows.
    """
    summaries = Summaries(caller, record)
    await summaries.drop_covering(db, [one.id for one in items])
    await Facts(caller, record).forget(db, [one.id for one in items if one.kind == "fact"])
    for one in items:
        await remove_passages(db, caller, one.id)
        if one.kind == "memory":
            mine = (memory_revision.c.caller == caller.id, memory_revision.c.memory == one.id)
            await db.execute(delete(memory_revision).where(*mine))
        elif one.kind == "run":
            await summaries.drop_subject(db, one.id)
            await _delete_run(db, caller, one.id)
        if (table := _TABLES.get(one.kind)) is not None:
            await db.execute(delete(table).where(table.c.caller == caller.id, table.c.id == one.id))
        await bury(db, caller, one.kind, one.id, one.texts, one.parts)


async def bury_again(db: AsyncConnection, record: Record, caller: Caller) -> int:
    """Delete what was forgotten and has come back, as by an import; how many items. In a write transaction."""
    ids = set((await db.execute(select(forgotten.c.item).where(forgotten.c.caller == caller.id))).scalars())
    if not ids:
        return 0
    back: list[Item] = []
    for look in (_memories, _documents, _facts):
        found = await look(db, caller, None)
        gone = await forgotten_among(db, caller, (text for one in found for text in (*one.texts, "\n".join(one.texts))))
        back += [one for one in found if one.id in ids or (one.texts and set(one.texts) <= gone)]
    gone_runs = (await db.execute(select(run.c.id).where(run.c.caller == caller.id, run.c.id.in_(ids)))).scalars()
    for run_id in list(gone_runs):
        back += await _runs(db, caller, run_id)
    await delete_items(db, record, caller, back)
    return len(back)


async def run_turns(db: AsyncConnection, caller: Caller, run_id: str) -> list[str]:
    """The ids of the run's turns."""
    return list(
        (await db.execute(select(turn.c.id).where(turn.c.caller == caller.id, turn.c.run_id == run_id))).scalars()
    )


async def _memories(db: AsyncConnection, caller: Caller, item: str | None, *where: ColumnElement[bool]) -> list[Item]:
    mine = [memory.c.caller == caller.id, *where]
    if item is not None:
        mine.append(memory.c.id == item)
    rows = list(await db.execute(select(memory).where(*mine)))
    past: dict[str, list[Row[Any]]] = {row.id: [] for row in rows}
    ids = select(memory.c.id).where(*mine)
    for one in await db.execute(select(memory_revision).where(memory_revision.c.memory.in_(ids))):
        past.setdefault(one.memory, []).append(one)
    return [
        Item(
            "memory", row.id, row.text, _each(row.text, *(one.text for one in past[row.id])),
            quotes=_each(row.quote, *(one.quote for one in past[row.id])),
        )
        for row in rows
    ]  # fmt: skip


async def _documents(db: AsyncConnection, caller: Caller, item: str | None, *where: ColumnElement[bool]) -> list[Item]:
    mine = [document.c.caller == caller.id, *where]
    if item is not None:
        mine.append(document.c.id == item)
    rows = list(await db.execute(select(document).where(*mine)))
    ids = select(document.c.id).where(*mine)
    theirs = (passage.c.caller == caller.id, passage.c.kind == KNOWLEDGE, passage.c.source.in_(ids))
    pieces: dict[str, list[Row[Any]]] = {row.id: [] for row in rows}
    for one in await db.execute(select(passage).where(*theirs).order_by(passage.c.source, passage.c.ordinal)):
        pieces.setdefault(one.source, []).append(one)
    made: list[Item] = []
    for row in rows:
        parts = pieces[row.id]
        whole = "".join(one.text[one.repeated :] for one in parts)
        made.append(Item("document", row.id, row.name, _each(whole), _each(*(one.text for one in parts))))
    return made


async def _facts(db: AsyncConnection, caller: Caller, item: str | None, *where: ColumnElement[bool]) -> list[Item]:
    mine = [fact.c.caller == caller.id, *where]
    if item is not None:
        mine.append(fact.c.id == item)
    texts: dict[str, list[str]] = {}
    for row in await db.execute(select(fact.c.id, fact.c.text).where(*mine)):
        texts.setdefault(row.id, []).append(row.text)
    return [Item("fact", one, said[0], _each(*said)) for one, said in texts.items()]


async def _entities(db: AsyncConnection, caller: Caller, item: str) -> list[Item]:
    mine = (entity.c.caller == caller.id, or_(entity.c.id == item, entity.c.merged_into == item))
    rows = list(await db.execute(select(entity).where(*mine)))
    ids = [row.id for row in rows]
    facts = await _facts(db, caller, None, or_(fact.c.subject.in_(ids), fact.c.object.in_(ids))) if ids else []
    return [*(Item("entity", row.id, row.name, ()) for row in rows), *facts]


async def _runs(db: AsyncConnection, caller: Caller, item: str) -> list[Item]:
    row = (await db.execute(select(run).where(run.c.caller == caller.id, run.c.id == item))).one_or_none()
    if row is None:
        return []
    if row.status not in ENDED:
        raise IllegalChange(
            f"the run {item} is {row.status}.", argument="run_id", next_step="Call cancel_run, then forget it."
        )
    output = dict[str, Any](row.result or {}).get("output")
    parts = await db.execute(select(passage.c.text).where(passage.c.caller == caller.id, passage.c.source == item))
    said = select(feedback.c.comment).where(feedback.c.caller == caller.id, feedback.c.run_id == item)
    texts = _each(row.goal, row.reply, output, *(await db.execute(said)).scalars())
    own = Item("run", item, row.goal, texts, _each(*parts.scalars()))
    return [
        own,
        *await _memories(db, caller, None, memory.c.run_id == item),
        *await _facts(db, caller, None, fact.c.run_id == item),
    ]


async def _delete_run(db: AsyncConnection, caller: Caller, run_id: str) -> None:
    """All that the run kept; what was spent today is still counted."""
    mine = (run.c.id == run_id, run.c.caller == caller.id)
    if (await db.execute(select(run.c.id).where(*mine))).one_or_none() is None:
        return
    for table in _OF_A_RUN:
        await db.execute(delete(table).where(table.c.run_id == run_id))
    today = datetime.now(UTC).date().isoformat()
    await db.execute(delete(tables.ledger).where(tables.ledger.c.run_id == run_id, tables.ledger.c.day < today))
    theirs = tables.conversation.c.run_id == run_id
    await db.execute(delete(tables.conversation).where(tables.conversation.c.caller == caller.id, theirs))


async def _those(items: Sequence[Item], wanted: Callable[[Item], bool]) -> list[Item]:
    """Those that are wanted; in a thread, for there may be very many."""
    return await anyio.to_thread.run_sync(lambda: [one for one in items if wanted(one)])


_TABLES = {"memory": memory, "document": document, "entity": entity, "run": run}


def _each(*texts: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text and text.strip()))
