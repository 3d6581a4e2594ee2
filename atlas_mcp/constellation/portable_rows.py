"""A constellation's rows in the record: put there from a package, taken away, and led from one Letta to another.

Everything here happens within one transaction of the caller of these functions: the record has all of it, or nothing.
Ids of turns, runs, documents and conversations are kept; one that is taken here (another constellation of this home
came from the same file) is given anew.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select, update

from atlas_mcp.constellation import portable_remembered as remembered
from atlas_mcp.constellation.move_marks import Old
from atlas_mcp.memory.documents import write_passages
from atlas_mcp.model.memory_kinds import LIFETIMES
from atlas_mcp.model.run import ENDED
from atlas_mcp.store import access_tables, memory_tables, quality_tables, reach_tables, tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.constellation.portable_entries import AgentEntry, BlockEntry, FoundEntry, Package, RunEntry
    from atlas_mcp.constellation.portable_planting import Planted
    from atlas_mcp.model.caller import Caller

OWN: tuple[Table, ...] = (
    tables.agent,
    tables.block,
    tables.revision,
    tables.conversation,
    tables.turn,
    tables.addition,
    tables.group_copy,
    tables.group_conversation,
    tables.document,
    tables.passage,
    memory_tables.memory,
    memory_tables.memory_revision,
    memory_tables.summary,
    memory_tables.entity,
    memory_tables.fact,
    tables.document_copy,
    tables.folder,
    tables.run,
)
"""Tables whose rows carry their caller."""

STAYING: tuple[Table, ...] = (
    tables.placement,
    tables.ledger,
    memory_tables.forgotten,
    quality_tables.feedback,
    quality_tables.example,
    quality_tables.alert,
    access_tables.access_key,
    access_tables.audit,
    reach_tables.source,
    reach_tables.page,
    reach_tables.consent,
    reach_tables.held_call,
)
"""Those of them that are this home's: where the constellation is, what was spent here, what was to be forgotten, what
people said of its work, what was told of it, who may come to it and who did what, what its agents reached and were
allowed to do; no import undoes them."""
_EPISODIC = LIFETIMES["episodic"] or timedelta()


async def counted(db: AsyncConnection, caller: Caller) -> dict[str, int]:
    """How much the caller has here, by what it is; what there is none of is left out."""
    shown = {
        "agents": tables.agent,
        "runs": tables.run,
        "turns": tables.turn,
        "documents": tables.document,
        "memories": memory_tables.memory,
        "facts": memory_tables.fact,
        "additions to the roster": tables.addition,
    }
    found: dict[str, int] = {}
    for name, table in shown.items():
        query = select(func.count()).select_from(table).where(table.c.caller == caller.id)
        if count := (await db.execute(query)).scalar_one():
            found[name] = count
    return found


async def living(db: AsyncConnection, caller: Caller, server: str) -> Living:
    """What the record names on that Letta."""

    async def of(table: Table) -> list[Any]:
        mine = (table.c.caller == caller.id, table.c.server == server)
        return list(await db.execute(select(table).where(*mine)))

    return Living(
        server,
        agents={row.letta_id: row.name for row in await of(tables.agent)},
        blocks={row.letta_id: row.owner for row in await of(tables.block)},
        groups=tuple(row.letta_id for row in await of(tables.group_copy)),
        folders=tuple(row.letta_id for row in await of(tables.folder)),
    )


@dataclass(frozen=True)
class Living:
    """What lives on one Letta by its ids: agents with their names, blocks with their owners, copies made for Letta."""

    server: str
    agents: dict[str, str]
    blocks: dict[str, str]
    groups: tuple[str, ...]
    folders: tuple[str, ...]

    @property
    def old(self) -> Old:
        """All of it, as what a move leaves behind."""
        return Old(
            server=self.server,
            agents=tuple(self.agents),
            blocks=tuple(self.blocks),
            groups=self.groups,
            folders=self.folders,
        )


@dataclass(frozen=True)
class Known:
    """What the record calls things on one Letta: agents' ids by name, blocks' by owner and label."""

    agents: dict[str, str]
    blocks: dict[tuple[str, str], str]


async def ids_by_name(db: AsyncConnection, caller: Caller, server: str) -> Known:
    """The ids of what the record names on that Letta."""
    agent, block = tables.agent, tables.block
    agents = await db.execute(select(agent).where(agent.c.caller == caller.id, agent.c.server == server))
    blocks = await db.execute(select(block).where(block.c.caller == caller.id, block.c.server == server))
    return Known({a.name: a.letta_id for a in agents}, {(b.owner, b.label): b.letta_id for b in blocks})


async def everything_living(db: AsyncConnection, caller: Caller) -> tuple[Old, ...]:
    """What the caller has on every Letta."""
    servers = await db.execute(
        select(tables.agent.c.server)
        .where(tables.agent.c.caller == caller.id)
        .union(select(tables.block.c.server).where(tables.block.c.caller == caller.id))
    )
    return tuple([(await living(db, caller, name)).old for name in sorted(servers.scalars())])


async def unfinished_runs(db: AsyncConnection, caller: Caller) -> int:
    """How many of the caller's runs have not ended."""
    run = tables.run
    query = select(func.count()).select_from(run).where(run.c.caller == caller.id, run.c.status.not_in(ENDED))
    return (await db.execute(query)).scalar_one()


async def say_moving(db: AsyncConnection, caller: Caller, target: str | None) -> None:
    """Note where the constellation is being moved to, or that it is not."""
    mine = tables.placement.c.caller == caller.id
    await db.execute(update(tables.placement).where(mine).values(moving_to=target))


async def erase(db: AsyncConnection, caller: Caller) -> None:
    """Take away everything that is the caller's, on whatever Letta it lives."""
    runs = select(tables.run.c.id).where(tables.run.c.caller == caller.id)
    talks = select(tables.group_conversation.c.id).where(tables.group_conversation.c.caller == caller.id)
    for table, column, mine in (
        (tables.event, "run_id", runs),
        (tables.artifact, "run_id", runs),
        (tables.question, "run_id", runs),
        (tables.group_thread, "conversation", talks),
        (tables.group_message, "conversation", talks),
    ):
        await db.execute(delete(table).where(table.c[column].in_(mine)))
    for table in OWN:
        await db.execute(delete(table).where(table.c.caller == caller.id))


async def place(db: AsyncConnection, caller: Caller, server: str, at: datetime) -> None:
    """Keep that the constellation is on that Letta as of this moment, by which the change is known to be done."""
    await db.execute(delete(tables.placement).where(tables.placement.c.caller == caller.id))
    await db.execute(insert(tables.placement).values(caller=caller.id, server=server, moving_to=None, at=at))


async def placed_at(db: AsyncConnection, caller: Caller) -> datetime | None:
    """As of when the constellation is where it is."""
    query = select(tables.placement.c.at).where(tables.placement.c.caller == caller.id)
    return (await db.execute(query)).scalar_one_or_none()


async def put_living(
    db: AsyncConnection,
    caller: Caller,
    server: str,
    agents: Sequence[AgentEntry],
    blocks: Sequence[BlockEntry],
    planted: Planted,
    at: datetime,
) -> None:
    """The rows of what was planted, with the revisions of its blocks.

    An agent has no fingerprint: its keeper brings it up to date when it is first needed.
    """
    own = {"caller": caller.id, "server": server}
    await _insert(
        db,
        tables.agent,
        (
            {
                **own,
                "name": agent.name,
                "letta_id": planted.agents[agent.name],
                "fingerprint": "",
                "created_at": agent.created_at,
                "updated_at": at,
            }
            for agent in agents
        ),
    )
    for block in blocks:
        block_id = planted.blocks[block.owner, block.label]
        row = {"owner": block.owner, "label": block.label, "letta_id": block_id, "limit": block.limit}
        await _insert(db, tables.block, [own | row])
        past = (r.model_dump() | {"block_id": block_id, "caller": caller.id} for r in block.revisions)
        await _insert(db, tables.revision, past)


async def put_rest(db: AsyncConnection, caller: Caller, package: Package) -> None:
    """The rows of everything else in the package."""
    runs = await _free(db, tables.run, (run.id for run in package.runs))
    turns = await _free(db, tables.turn, (turn.id for turn in package.history))
    talks = await _free(db, tables.group_conversation, (talk.id for talk in package.groups.conversations))
    documents = await _free(db, tables.document, (document.id for document in package.knowledge.documents))
    own = {"caller": caller.id}
    for run in package.runs:
        await _put_run(db, caller, run, runs, turns)
    history = (
        t.model_dump() | own | {"id": turns[t.id], "run_id": runs.get(t.run_id or "", t.run_id)}
        for t in package.history
    )
    await _insert(db, tables.turn, history)
    await _insert(db, tables.addition, (a.model_dump() | own for a in package.groups.additions))
    for talk in package.groups.conversations:
        row = talk.model_dump(exclude={"messages"}) | own | {"id": talks[talk.id]}
        await _insert(db, tables.group_conversation, [row])
        said = (
            m.model_dump()
            | {"conversation": talks[talk.id], "to": list(m.to), "run_id": runs.get(m.run_id, m.run_id)}
            | {"turn_id": turns.get(m.turn_id or "", m.turn_id)}
            for m in talk.messages
        )
        await _insert(db, tables.group_message, said)
    kept = (d.model_dump() | own | {"id": documents[d.id]} for d in package.knowledge.documents)
    await _insert(db, tables.document, kept)
    ids = runs | turns | talks | documents
    older = remembered.of_learnings(package.knowledge.learnings)
    for given in (package.knowledge.remembered, older):
        for table in (memory_tables.memory, memory_tables.summary, memory_tables.entity, memory_tables.fact):
            ids |= await _free(db, table, given.ids(table.name))
        await remembered.put(db, caller, given, ids)
    kinds = {row["id"]: row["kind"] for row in older.rows.get("memory", ())}
    await write_passages(db, [_passage(one, ids, kinds) | own for one in package.knowledge.passages])


def _passage(one: FoundEntry, ids: Mapping[str, str], kinds: Mapping[str, str]) -> dict[str, Any]:
    """The row of a passage; those of an older package are of the kinds that there are now."""
    row = one.model_dump() | {"source": ids.get(one.source, one.source)}
    if one.superseded_by is not None:
        row["superseded_by"] = ids.get(one.superseded_by, one.superseded_by)
    if one.kind == "run":
        row |= {"kind": "episodic", "expires_at": datetime.now(UTC) + _EPISODIC}
    return row | ({"kind": kinds[one.source]} if one.source in kinds else {})


async def _put_run(
    db: AsyncConnection, caller: Caller, run: RunEntry, runs: dict[str, str], turns: dict[str, str]
) -> None:
    order = {"caller": caller.model_dump(mode="json"), "input": run.input, "traceparent": None}
    row = run.model_dump(exclude={"events", "artifacts"})
    row |= {"id": runs[run.id], "caller": caller.id, "input": order, "executor": None, "needs": []}
    await _insert(db, tables.run, [row])
    events = (
        e.model_dump() | {"run_id": runs[run.id], "turn_id": turns.get(e.turn_id or "", e.turn_id)} for e in run.events
    )
    await _insert(db, tables.event, events)
    texts = (a.model_dump() | {"id": uuid.uuid4().hex, "run_id": runs[run.id]} for a in run.artifacts)
    await _insert(db, tables.artifact, texts)


async def _free(db: AsyncConnection, table: Table, ids: Iterable[str]) -> dict[str, str]:
    """Each id as it is to be here: itself, or a new one where it is taken."""
    wanted = list(ids)
    taken: set[str] = set()
    for start in range(0, len(wanted), 500):  # SQLite takes no more than some thousand values in one statement
        some = wanted[start : start + 500]
        taken |= set((await db.execute(select(table.c.id).where(table.c.id.in_(some)))).scalars())
    return {i: _new(i) if i in taken else i for i in wanted}


def _new(old: str) -> str:
    """Another id of the same kind, as its beginning tells it."""
    kind = re.match(r"(?:[a-z]+[-_])+", old)
    return f"{kind[0] if kind else ''}{uuid.uuid4().hex}"


async def _insert(db: AsyncConnection, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    if values := list(rows):
        await db.execute(insert(table), values)


async def lead_over(db: AsyncConnection, caller: Caller, source: str, target: str, ids: dict[str, str]) -> None:
    """Make the caller's rows of agents and blocks on `source` those of `target`, where they have the ids that `ids`
    gives for those they had. Threads in the old Letta are forgotten: the turns in them stay in the history.
    """
    for table in (tables.agent, tables.block):
        there = (table.c.caller == caller.id, table.c.server == target)
        await db.execute(delete(table).where(*there))
        for row in list(await db.execute(select(table).where(table.c.caller == caller.id, table.c.server == source))):
            mine = (table.c.caller == caller.id, table.c.server == source, table.c.letta_id == row.letta_id)
            if row.letta_id not in ids:
                await db.execute(delete(table).where(*mine))
                continue
            new: dict[str, Any] = {"server": target, "letta_id": ids[row.letta_id]}
            if table is tables.agent:
                new["fingerprint"] = ""  # so that its keeper brings it up to date there
            await db.execute(update(table).where(*mine).values(new))
    past = tables.revision
    for old, new_id in ids.items():
        await db.execute(update(past).where(past.c.caller == caller.id, past.c.block_id == old).values(block_id=new_id))
    for table in (tables.conversation, tables.group_copy, tables.document_copy, tables.folder):
        await db.execute(delete(table).where(table.c.caller == caller.id, table.c.server == source))
    talks = select(tables.group_conversation.c.id).where(tables.group_conversation.c.caller == caller.id)
    thread = tables.group_thread
    await db.execute(delete(thread).where(thread.c.server == source, thread.c.conversation.in_(talks)))
