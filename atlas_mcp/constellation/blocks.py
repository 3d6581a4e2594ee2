"""Core memory: reading blocks, changing them, and knowing who changed what.

Promise: two changes of one block never lose each other: reading the value, changing it and writing its revision happen
under the block's lock, and where Letta counts versions or sees a conflict, a change made from an old value is made
again from the new one. Limits, and blocks that agents only read, are enforced here on every Letta. A value that nobody
here wrote is recorded as a revision by `elsewhere` before anything else is done to the block, so no value is ever
overwritten unrecorded. A refused change changes nothing.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, TypeVar

import anyio

from atlas_mcp.constellation import revisions
from atlas_mcp.constellation.changes import Author, changed_value, restored_value
from atlas_mcp.constellation.names import block_lock, busy_marks
from atlas_mcp.constellation.revisions import Revision
from atlas_mcp.constellation.shared import is_anothers
from atlas_mcp.constellation.turn_memory import TurnMemory
from atlas_mcp.errors import (
    InvalidInput,
    LettaLost,
    LettaUnavailable,
    ReadOnlyBlock,
    StaleRevision,
    UnknownBlock,
    UnknownRevision,
)
from atlas_mcp.letta.faults import LettaRefused
from atlas_mcp.model.memory import Block, BlockRevision
from atlas_mcp.watch.spans import hits, outputs, span

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.constellation.agent_rows import KeptAgent
    from atlas_mcp.constellation.keeper import Keeper
    from atlas_mcp.guard.entering import Checked, Entering
    from atlas_mcp.letta.door import Letta
    from atlas_mcp.letta.states import BlockState
    from atlas_mcp.model.agent import Roster
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.memory import Operation, Replacement
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record

    Change = Callable[[str, int], tuple[Operation, str]]
    """What a change makes of a value under a limit; raises what refuses it."""

_T = TypeVar("_T")
_CONFLICT = 409
_TRIES = 8
_PAUSE = 0.02
MOST_HISTORY = 20
"""So many of a block's newest revisions are shown."""


class Blocks:
    """One caller's blocks."""

    def __init__(
        self, caller: Caller, roster: Roster, keeper: Keeper, letta: Letta, record: Record, locks: Locks,
        entering: Entering | None = None,
    ) -> None:  # fmt: skip
        self._caller = caller
        self._roster = roster
        self._keeper = keeper
        self._letta = letta
        self._record = record
        self._locks = locks
        self.entering = entering

    async def get(self, agent: str, label: str | None = None, *, history: bool = False) -> list[Block]:
        """The agent's blocks, or the one with that label; with what they were before if asked for.

        UnknownAgent, UnknownBlock.
        """
        labels = self._labels(agent, label)

        async def look(kept: KeptAgent) -> tuple[KeptAgent, dict[str, BlockState], dict[str, Revision]]:
            states = await self.read(kept)
            return kept, states, await self.notice(kept, states)

        inputs = {"agent": agent, "label": label, "history": history}
        with span("read memory", kind="RETRIEVER", inputs=inputs, atlas__memory__store="letta") as opened:
            kept, states, noted = await self._kept_or_anew(agent, look)
            shown = [self._shown(agent, kept, states[name], noted[name]) for name in labels if name in states]
            hits(opened, len(shown))
        if not history:
            return shown
        async with self._record.read() as db:
            of = {b.label: await self._history(db, kept.blocks[b.label].letta_id) for b in shown}
        return [block.model_copy(update={"history": of[block.label]}) for block in shown]

    async def update(
        self,
        agent: str,
        label: str,
        *,
        value: str | None = None,
        append: str | None = None,
        replace: Replacement | None = None,
        expected_revision: int | None = None,
        author: str = "caller",
    ) -> Block:
        """Change the block by exactly one of the three; the block as it now stands.

        What the caller writes is looked at by the guard: the block's `note` says what was found in it, and what was
        taken out.

        Raises UnknownAgent, UnknownBlock, StaleRevision, OverLimit, ReadOnlyBlock for an agent, InvalidInput when not
        exactly one change is given or `replace.old` does not occur exactly once, and LettaUnavailable when Letta
        reports one conflict after the other.
        """
        self._labels(agent, label)
        note = None
        if author == "caller" and (checked := self._looked_at(label, value, append, replace)):
            note = f"The guard: {checked.told()}."
            value, append = value and checked.text, append and checked.text
            replace = replace and replace.model_copy(update={"new": checked.text})

        def change(now: str, limit: int) -> tuple[Operation, str]:
            return changed_value(now, limit, value=value, append=append, replace=replace)

        inputs = {"agent": agent, "label": label, "value": value, "append": append, "replace": replace}
        with span("update memory", kind="MEMORY", inputs=inputs, author=author, atlas__memory__store="letta") as opened:
            block = await self._kept_or_anew(
                agent, lambda kept: self.change(kept, label, change, Author(author), expected=expected_revision)
            )
            outputs(opened, {"revision": block.revision, "chars": block.chars})
        return block.model_copy(update={"note": note}) if note else block

    def _looked_at(
        self, label: str, value: str | None, append: str | None, replace: Replacement | None
    ) -> Checked | None:
        """The new text with what was found in it, if anything was. InvalidInput for one that must not enter."""
        new = value or append or (replace.new if replace else "")
        if self.entering is None or not new or not (checked := self.entering.look("block", label, new)).findings:
            return None
        if found := checked.refused:
            argument = "value" if value else "append" if append else "replace"
            raise InvalidInput(
                f"it was refused by the rule {found.rule}: {found.text.rstrip('.')}.",
                argument=argument,
                next_step="Write less of it, or in a language that ATLAS_GUARD_LANGUAGES allows.",
            )
        return checked

    async def undo(self, agent: str, label: str, number: int) -> Block:
        """Give the block the value of that revision again, as a new one. UnknownRevision, and errors as of `update`."""
        self._labels(agent, label)

        async def restore(kept: KeptAgent) -> Block:
            block_id = kept.blocks[label].letta_id
            async with self._record.read() as db:
                old = await revisions.numbered(db, self._caller, block_id, number)
                last = (await revisions.latest(db, self._caller, [block_id])).get(block_id)
            if old is None:
                raise UnknownRevision(label, number, last.number if last else 0)
            return await self.change(kept, label, restored_value(old.value), Author(), restores=number)

        inputs = {"agent": agent, "label": label, "revision": number}
        with span("undo memory", kind="MEMORY", inputs=inputs, atlas__memory__store="letta") as opened:
            block = await self._kept_or_anew(agent, restore)
            outputs(opened, {"revision": block.revision, "chars": block.chars})
        return block

    async def change(
        self,
        kept: KeptAgent,
        label: str,
        change: Change,
        author: Author,
        *,
        expected: int | None = None,
        restores: int | None = None,
    ) -> Block:
        """Change the block of an agent that is there; the block as it now stands. Errors as of `update`."""
        block_id, limit = kept.blocks[label].letta_id, kept.blocks[label].limit
        if author.is_agent and any(b.read_only for b in self._roster.blocks if b.label == label):
            raise ReadOnlyBlock(label)
        async with self._locks.hold(block_lock(block_id)):
            for pause in (_PAUSE * 2**n for n in range(_TRIES)):
                state, now = await self.read_noted(block_id)
                if expected is not None and expected != now.number:
                    raise StaleRevision(label, expected, now.number)
                operation, after = change(state.value, limit)
                if after == state.value:
                    return self._shown(kept.name, kept, state, now)
                new = Revision(block_id, after, operation, author.name, author.tool, author.turn_id, restores)
                if written := await self._written(new, state):
                    return self._shown(kept.name, kept, *written)
                await anyio.sleep(random.uniform(0, pause))  # noqa: S311 - only to step out of another's way
        raise LettaUnavailable(
            f"the block {label!r} is being changed elsewhere all the time: {_TRIES} tries met a conflict.",
            next_step="Try again in a moment; nothing was changed.",
        )

    def of_turn(self, kept: KeptAgent, turn_id: str, *, again: bool) -> TurnMemory:
        """What the agent may do to its blocks in one turn; `again` if that may have run before, up to a crash."""
        return TurnMemory(
            self._caller, self._letta, self._record, self._locks, self, kept=kept, turn_id=turn_id, again=again
        )

    async def read(self, kept: KeptAgent) -> dict[str, BlockState]:
        """The agent's blocks as Letta has them, by label."""
        return {b.label: b for b in await self._letta.blocks(kept.letta_id) if b.label in kept.blocks}

    async def notice(self, kept: KeptAgent, states: dict[str, BlockState]) -> dict[str, Revision]:
        """The newest revision of each block by label, after recording what was changed elsewhere.

        What another agent's turn is just writing into a shared block is left for that turn to record.
        """
        async with self._record.read() as db:
            known = await revisions.latest(db, self._caller, [b.id for b in states.values()])
        noted: dict[str, Revision] = {}
        for label, state in states.items():
            last = known.get(state.id)
            if last is None or (last.value != state.value and not self.others_write(kept, label)):
                async with self._locks.hold(block_lock(state.id)):
                    _, last = await self.read_noted(state.id)
            noted[label] = last
        return noted

    async def read_noted(self, block_id: str) -> tuple[BlockState, Revision]:
        """The block as Letta has it, and its newest revision, which has that value. Under the block's lock.

        LettaLost also for a block that carries another caller's mark, whatever the record says.
        """
        state = await self._letta.block(block_id)
        if is_anothers(state, self._caller):
            raise LettaLost(f"Letta has no such block of this caller's: {block_id}.")
        return state, await revisions.noted(self._record, self._caller, block_id, state.value)

    def others_write(self, kept: KeptAgent, label: str, *, beside: int = 0) -> bool:
        """Whether turns (beside so many) may be writing into the block unseen, as they do where Letta carries their
        memory tools out; ATLAS records itself what it carries out.
        """
        if self._letta.kind != "embedded" or not kept.blocks[label].shared:
            return False
        marks = (m for a in self._roster.agents for m in busy_marks(self._caller, a.name))
        return len(self._locks.held_among(marks)) > beside

    async def _written(self, new: Revision, old: BlockState) -> tuple[BlockState, Revision] | None:
        """Write the value and its revision; None if the block is no longer what it was. Under the block's lock."""
        try:
            state = await self._letta.set_block(old.id, new.value, version=old.version)
        except LettaRefused as refusal:
            if refusal.status != _CONFLICT:
                raise
            return None
        except LettaUnavailable:  # whether it was written is not known
            state = await self._letta.block(old.id)
            if state.value != new.value:
                raise
        with anyio.CancelScope(shield=True):  # the value stands in Letta: its author must not be lost
            async with self._record.write() as db:
                return state, await revisions.add(db, self._caller, new)

    async def _history(self, db: AsyncConnection, block_id: str) -> list[BlockRevision]:
        found = await revisions.history(db, self._caller, block_id, most=MOST_HISTORY)
        return [
            BlockRevision(
                revision=r.number,
                value=r.value,
                operation=r.operation,
                author=r.author,
                tool=r.tool,
                restores=r.restores,
                turn_id=r.turn_id,
                at=r.at,
            )
            for r in found
        ]

    async def _kept_or_anew(self, agent: str, do: Callable[[KeptAgent], Awaitable[_T]]) -> _T:
        """Do it with the agent; when Letta has lost the agent or a block, once more with what was made in its place."""
        kept = await self._keeper.agent(agent)
        try:
            return await do(kept)
        except LettaLost:
            return await do(await self._keeper.agent(agent, lost=kept.letta_id))

    def _labels(self, agent: str, label: str | None) -> list[str]:
        """The labels asked for, in the roster's order; UnknownAgent, UnknownBlock."""
        self._roster.agent(agent)
        labels = [b.label for b in self._roster.blocks_of(agent)]
        if label is None:
            return labels
        if label not in labels:
            raise UnknownBlock(label, agent, labels)
        return [label]

    def _shown(self, agent: str, kept: KeptAgent, state: BlockState, now: Revision) -> Block:
        block = kept.blocks[state.label]
        return Block(
            label=state.label,
            value=state.value,
            description=state.description,
            limit=block.limit,
            chars=len(state.value),
            revision=now.number,
            shared_with=self._roster.sharing(agent, state.label),
            updated_at=now.at,
            author=now.author,
            read_only=state.read_only,
        )
