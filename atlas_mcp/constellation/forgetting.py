"""What one caller's agents remember of a text that is forgotten: their blocks, their archives, a run's conversations.

Promise: a block is changed as any other change of it is, under its lock, and what else stands in it stays; an archive's
text that holds more than what is forgotten stays with the rest. What Letta has lost is no error. Messages of Letta's
own servers cannot be changed by their API: a run's conversations are deleted, others are for the caller to delete.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from atlas_mcp.constellation.agent_rows import read_agents
from atlas_mcp.constellation.changes import Author
from atlas_mcp.constellation.revisions import of_turn
from atlas_mcp.errors import LettaLost
from atlas_mcp.memory.forgetting import Item, run_turns
from atlas_mcp.memory.redacting import MARK, bare
from atlas_mcp.store.tables import block, conversation, revision

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from atlas_mcp.constellation.agent_rows import KeptAgent
    from atlas_mcp.constellation.blocks import Blocks
    from atlas_mcp.letta.door import Letta
    from atlas_mcp.letta.moving import PassageState
    from atlas_mcp.memory.redacting import Redactor
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.memory import Operation
    from atlas_mcp.store.record import Record

_ROSTER = "roster"


class Forgetting:
    """Forgetting in one caller's agents, on the Letta that has them."""

    def __init__(self, caller: Caller, letta: Letta, record: Record, blocks: Blocks) -> None:
        self._caller = caller
        self._letta = letta
        self._record = record
        self._blocks = blocks

    @property
    def on_server(self) -> str | None:
        """The name of the Letta whose messages cannot be changed from here; None where they can."""
        return None if self._letta.kind == "embedded" else self._letta.name

    async def agents(self) -> list[KeptAgent]:
        """All agents that were made there, also those of runs."""
        async with self._record.read() as db:
            return await read_agents(db, self._caller, self._letta.name)

    # -- what is forgotten

    async def block(self, agent: str, label: str) -> Item:
        """The block with every value it had; what the roster gave it is nobody's memory. UnknownAgent, UnknownBlock."""
        (shown,) = await self._blocks.get(agent, label)
        kept = next(one for one in await self.agents() if one.name == agent)
        async with self._record.read() as db:
            rows = await db.execute(select(revision).where(*self._revisions(kept.blocks[label].letta_id)))
            values = [(row.author, row.value) for row in rows]
        given = {line for author, value in values if author == _ROSTER for line in value.splitlines()}
        lines = [line for value in (shown.value, *(value for _, value in values)) for line in value.splitlines()]
        texts = tuple(dict.fromkeys(line for line in lines if line.strip() and line not in given))
        return Item("block", f"{agent}/{label}", f"{len(shown.value):,} characters", texts)

    async def named_block(self, letta_id: str) -> tuple[str, str] | None:
        """Agent and label of the block with that id of Letta's; None if the caller has none such."""
        async with self._record.read() as db:
            mine = (block.c.caller == self._caller.id, block.c.server == self._letta.name)
            row = (await db.execute(select(block).where(*mine, block.c.letta_id == letta_id))).one_or_none()
        if row is None:
            return None
        kept = next((one for one in await self.agents() if row.label in one.blocks), None)
        return (kept.name if kept and row.owner == "*" else row.owner, row.label)

    async def passage(self, passage_id: str) -> Item | None:
        """The text of that id in the archive of an agent; None if there is none."""
        for kept in await self.agents():
            for one in await self._archive(kept):
                if one.id == passage_id:
                    return Item("archive passage", passage_id, one.text, (one.text,))
        return None

    async def written_by_run(self, run_id: str) -> list[str]:
        """The lines that the run's turns put into blocks."""
        async with self._record.read() as db:
            lines: list[str] = []
            for turn_id in await run_turns(db, self._caller, run_id):
                for made, before in await of_turn(db, self._caller, turn_id):
                    had = set(before.splitlines())
                    lines += [line for line in made.value.splitlines() if line.strip() and line not in had]
        return list(dict.fromkeys(lines))

    # -- forgetting it

    async def empty(self, agent: str, label: str) -> None:
        """Empty the block and delete every value it had."""
        kept = next(one for one in await self.agents() if one.name == agent)

        def nothing(_: str, __: int) -> tuple[Operation, str]:
            return "value", ""

        shown = await self._blocks.change(kept, label, nothing, Author())
        async with self._record.write(self._caller.id) as db:
            old = (*self._revisions(kept.blocks[label].letta_id), revision.c.number < shown.revision)
            await db.execute(delete(revision).where(*old))

    async def remove_passage(self, passage_id: str) -> None:
        """Delete the text of that id from the archive that has it."""
        for kept in await self.agents():
            if any(one.id == passage_id for one in await self._archive(kept)):
                await self._letta.moves.delete_passage(kept.letta_id, passage_id)

    async def take_out(self, redactor: Redactor, *, dry: bool = False) -> Counter[str]:
        """Take the texts out of all blocks and archives, unless `dry`; how many of each hold them."""
        found: Counter[str] = Counter()
        seen: set[str] = set()
        for kept in await self.agents() if redactor else ():
            try:
                states = await self._blocks.read(kept)
            except LettaLost:
                continue
            for label, state in states.items():
                if state.id in seen or not redactor.holds(state.value):
                    continue
                seen.add(state.id)
                found["memory blocks"] += 1
                if not dry:
                    await self._blocks.change(kept, label, lambda now, _: ("value", _without(redactor, now)), Author())
            found["archives of agents"] += await self._from_archive(kept, redactor, dry=dry)
        return +found

    async def delete_conversations(self, run_id: str) -> int:
        """Delete the run's conversations there; how many."""
        async with self._record.read() as db:
            mine = (conversation.c.caller == self._caller.id, conversation.c.server == self._letta.name)
            rows = await db.execute(select(conversation.c.id).where(*mine, conversation.c.run_id == run_id))
            ids = [one for one in rows.scalars() if not one.startswith("agent-")]
        for one in ids:
            await self._letta.moves.delete_conversation(one)
        return len(ids)

    async def _from_archive(self, kept: KeptAgent, redactor: Redactor, *, dry: bool) -> int:
        count = 0
        for one in await self._archive(kept):
            if not redactor.holds(one.text):
                continue
            count += 1
            if dry:
                continue
            left = _without(redactor, one.text)
            if left.replace(MARK, "").strip(" \n.,;:-"):
                await self._letta.moves.add_passage(kept.letta_id, replace(one, text=left))
            await self._letta.moves.delete_passage(kept.letta_id, one.id)
        return count

    async def _archive(self, kept: KeptAgent) -> list[PassageState]:
        try:
            return await self._letta.moves.passages(kept.letta_id)
        except LettaLost:
            return []

    def _revisions(self, block_id: str) -> tuple[ColumnElement[bool], ...]:
        return (revision.c.caller == self._caller.id, revision.c.block_id == block_id)


def _without(redactor: Redactor, text: str) -> str:
    return bare(redactor.mend(text))
