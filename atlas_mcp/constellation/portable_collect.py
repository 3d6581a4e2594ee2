"""A constellation collected: everything that is the caller's, from the Letta that has it and from the record.

Promise: reads only. What Letta has lost meanwhile is taken as the record knows it. Runs that have not ended are left
out. The same constellation gives the same package, in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import or_, select

from atlas_mcp.constellation import portable_entries as entries
from atlas_mcp.constellation import portable_remembered as remembered
from atlas_mcp.constellation.agent_rows import SHARED
from atlas_mcp.constellation.names import is_guest
from atlas_mcp.errors import LettaLost
from atlas_mcp.model.run import ENDED
from atlas_mcp.store import tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import ColumnElement, Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.letta.door import Letta
    from atlas_mcp.letta.states import AgentState
    from atlas_mcp.model._base import Frozen
    from atlas_mcp.model.agent import Roster
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.record import Record

_FOUND_ORDER = ("kind", "at", "source", "ordinal")
_Entry = TypeVar("_Entry", bound="Frozen")


@dataclass(frozen=True)
class InLetta:
    """What of a constellation lives in Letta."""

    agents: tuple[entries.AgentEntry, ...]
    blocks: tuple[entries.BlockEntry, ...]
    archives: dict[str, tuple[entries.PassageEntry, ...]]


async def collect(
    caller: Caller, roster: Roster, letta: Letta, record: Record, tools: Mapping[str, str]
) -> entries.Package:
    """The caller's whole constellation on that Letta. `tools` are the sources of the user's own tools by name."""
    living = await collect_living(caller, letta, record)
    async with record.read() as db:
        return entries.Package(
            roster=roster,
            agents=living.agents,
            blocks=living.blocks,
            archives=living.archives,
            groups=entries.Groups(
                additions=await _of(db, caller, tables.addition, entries.AdditionEntry, "kind", "name"),
                conversations=await _talks(db, caller),
            ),
            knowledge=entries.Knowledge(
                documents=await _of(db, caller, tables.document, entries.DocumentEntry, "created_at", "id"),
                passages=await _found(db, caller),
                remembered=await remembered.collect(db, caller),
            ),
            history=await _of(db, caller, tables.turn, entries.TurnEntry, "started_at", "id"),
            runs=await _runs(db, caller),
            tools=dict(tools),
        )


async def collect_living(caller: Caller, letta: Letta, record: Record) -> InLetta:
    """What of the caller's constellation lives in that Letta: agents, blocks with their revisions, archives."""
    async with record.read() as db:
        mine = (tables.agent.c.caller == caller.id, tables.agent.c.server == letta.name)
        found = await db.execute(select(tables.agent).where(*mine).order_by(tables.agent.c.name))
        rows = [row for row in found if not is_guest(row.name)]
        blocks = await _blocks(db, caller, letta)
    agents: list[entries.AgentEntry] = []
    archives: dict[str, tuple[entries.PassageEntry, ...]] = {}
    values: dict[str, tuple[str, str]] = {}
    for row in rows:
        state = await _state(letta, row.letta_id)
        has = state.blocks if state else ()
        values |= {b.id: (b.value, b.description) for b in has}
        agents.append(
            entries.AgentEntry(
                name=row.name,
                description=state.description if state else "",
                system=state.system if state else "",
                shared=tuple(sorted(b.label for b in has if b.id in blocks and blocks[b.id].owner == SHARED)),
                created_at=row.created_at,
            )
        )
        passages = await letta.moves.passages(row.letta_id) if state else []
        if passages:
            archives[row.name] = tuple(
                entries.PassageEntry(text=p.text, tags=tuple(sorted(p.tags)), created_at=p.created_at)
                for p in sorted(passages, key=lambda p: (p.created_at, p.text))
            )
    there = {agent.name for agent in agents}
    living = [
        await _living(letta, block_id, block, values)
        for block_id, block in blocks.items()
        if block.owner == SHARED or block.owner in there
    ]
    return InLetta(tuple(agents), tuple(living), archives)


async def _state(letta: Letta, agent_id: str) -> AgentState | None:
    try:
        return await letta.agent(agent_id)
    except LettaLost:
        return None


async def _living(
    letta: Letta, block_id: str, block: entries.BlockEntry, values: Mapping[str, tuple[str, str]]
) -> entries.BlockEntry:
    """The block with the value it has now; where Letta has lost it, with the last one that the record knows."""
    known = values.get(block_id)
    if known is None:
        try:
            state = await letta.block(block_id)
            known = (state.value, state.description)
        except LettaLost:
            known = (block.revisions[-1].value if block.revisions else "", "")
    return block.model_copy(update={"value": known[0], "description": known[1]})


async def _blocks(db: AsyncConnection, caller: Caller, letta: Letta) -> dict[str, entries.BlockEntry]:
    """The caller's blocks on that Letta by its ids, with their revisions and without their values."""
    kept, past = tables.block, tables.revision
    mine = (kept.c.caller == caller.id, kept.c.server == letta.name)
    rows = await db.execute(select(kept).where(*mine).order_by(kept.c.owner, kept.c.label))
    found: dict[str, entries.BlockEntry] = {}
    for row in list(rows):
        theirs = (past.c.caller == caller.id, past.c.block_id == row.letta_id)
        history = await db.execute(select(past).where(*theirs).order_by(past.c.number))
        found[row.letta_id] = entries.BlockEntry(
            owner=row.owner,
            label=row.label,
            limit=row.limit,
            value="",
            revisions=tuple(_entry(entries.RevisionEntry, r) for r in history),
        )
    return found


async def _runs(db: AsyncConnection, caller: Caller) -> tuple[entries.RunEntry, ...]:
    run = tables.run
    ended = (run.c.caller == caller.id, run.c.status.in_(ENDED))
    found: list[entries.RunEntry] = []
    for row in list(await db.execute(select(run).where(*ended).order_by(run.c.created_at, run.c.id))):
        of_run = (tables.event.c.run_id == row.id,)
        kept = (tables.artifact.c.run_id == row.id,)
        events = await db.execute(select(tables.event).where(*of_run).order_by(tables.event.c.seq))
        artifacts = await db.execute(select(tables.artifact).where(*kept).order_by(tables.artifact.c.name))
        given = {name: row._mapping[name] for name in entries.RunEntry.model_fields if name in row._mapping}  # pyright: ignore[reportPrivateUsage]  # SQLAlchemy's own public name
        given["input"] = row.input.get("input", {})
        given["events"] = tuple(_entry(entries.EventEntry, e) for e in events)
        given["artifacts"] = tuple(_entry(entries.ArtifactEntry, a) for a in artifacts)
        found.append(entries.RunEntry.model_validate(given))
    return tuple(found)


async def _found(db: AsyncConnection, caller: Caller) -> tuple[entries.FoundEntry, ...]:
    """The passages of what is carried along: what is at hand for an hour, and what has expired, stays here."""
    passage, now = tables.passage, datetime.now(UTC)
    lives = or_(passage.c.expires_at.is_(None), passage.c.expires_at > now)
    mine = (passage.c.caller == caller.id, passage.c.kind != "working", lives)
    rows = await db.execute(select(passage).where(*mine).order_by(*(passage.c[name] for name in _FOUND_ORDER)))
    return tuple(_entry(entries.FoundEntry, row) for row in rows)


async def turns_of(db: AsyncConnection, caller: Caller, agent: str) -> tuple[entries.TurnEntry, ...]:
    """The caller's turns with that agent, oldest first."""
    turn = tables.turn
    mine = (turn.c.caller == caller.id, turn.c.agent == agent)
    rows = await db.execute(select(turn).where(*mine).order_by(turn.c.started_at, turn.c.id))
    return tuple(_entry(entries.TurnEntry, row) for row in rows)


async def _talks(db: AsyncConnection, caller: Caller) -> tuple[entries.GroupTalkEntry, ...]:
    talk, said = tables.group_conversation, tables.group_message
    found: list[entries.GroupTalkEntry] = []
    for entry in await _of(db, caller, talk, entries.GroupTalkEntry, "created_at", "id"):
        messages = await db.execute(select(said).where(said.c.conversation == entry.id).order_by(said.c.number))
        heard = tuple(_entry(entries.SaidEntry, m) for m in messages)
        found.append(entry.model_copy(update={"messages": heard}))
    return tuple(found)


async def _of(db: AsyncConnection, caller: Caller, table: Table, kind: type[_Entry], *order: str) -> tuple[_Entry, ...]:
    """The caller's rows of a table, each as an entry."""
    mine: ColumnElement[bool] = table.c.caller == caller.id
    rows = await db.execute(select(table).where(mine).order_by(*(table.c[name] for name in order)))
    return tuple(_entry(kind, row) for row in rows)


def _entry(kind: type[_Entry], row: Any) -> _Entry:
    return kind.model_validate({name: row._mapping[name] for name in kind.model_fields if name in row._mapping})
