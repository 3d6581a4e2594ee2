"""Forgetting through all rooms: the record, the agents' blocks and archives, what was said to them. Part of the
composition root.

Promise: without `confirm` nothing is changed, and the answer says what would be. With it, what was named is gone from
the record in one commit, before anything else; where it went is then gone through. What could not be reached is told,
and is done by the next purge: the tombstone knows it until then.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from atlas_mcp._outputs import mend_outputs
from atlas_mcp.errors import AtlasError, ConfigurationError, LettaUnavailable, UnknownRun
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.forgetting import Forgotten, Place
from atlas_mcp.watch.spans import outputs, span

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atlas_mcp._rooms import Rooms
    from atlas_mcp.constellation.forgetting import Forgetting
    from atlas_mcp.memory.forgetting import Item
    from atlas_mcp.memory.redacting import Redactor
    from atlas_mcp.model.forgetting import Target

log = logging.getLogger(__name__)
_BUSY_SECONDS = 5.0
_MESSAGES = "messages of agents"
_NOT_REACHED = "What agents remember of it was not reached"
_BUSY = "An agent is answering in a conversation that holds it: that is left for the purge."
_PURGE = "`atlas-mcp memory purge` takes it from the disk and out of the traces; until then a tombstone keeps it back."
_OUTSIDE = "Files that you exported and backups made before now may still hold it: delete those, or make them anew."
_WORDS = "What says the same in other words is not found by this: search for it."


class Way:
    """One caller's way of forgetting one thing."""

    def __init__(self, rooms: Rooms, caller: Caller) -> None:
        self._rooms = rooms
        self._caller = caller
        self._letta: Forgetting | None = None
        self._unreached: list[str] = []

    async def go(self, target: Target, *, confirm: bool) -> Forgotten:
        """See `Atlas.forget`."""
        target.check()
        with span("forget", kind="MEMORY", inputs={**target.model_dump(), "confirm": confirm}) as opened:
            async with AsyncExitStack() as stack:
                try:
                    agents = await stack.enter_async_context(self._rooms.visit(self._caller))
                except (LettaUnavailable, ConfigurationError) as reason:
                    self._unreached.append(f"{_NOT_REACHED}: {reason}")
                else:
                    self._letta = agents.forgetting
                done = await self._go(target, confirm=confirm)
            outputs(opened, {"status": done.status, "deleted": [place.model_dump() for place in done.deleted]})
            return done

    async def _go(self, target: Target, *, confirm: bool) -> Forgotten:
        from atlas_mcp.memory import forgetting, tombstones

        record = self._rooms.record
        items = await self._named(target)
        more = await self._beside(items)
        near = await _redactor(items, more)
        async with record.read() as db:
            made = await forgetting.derived(db, self._caller, items, near)
        gone = [*items, *made]
        redactor = await _redactor(gone, more)
        async with record.read() as db:
            alike = await forgetting.kept_alike(db, self._caller, gone, redactor)
        counts = Counter({_many(kind): n for kind, n in Counter(one.kind for one in gone).items()})
        if confirm:
            await self._delete(gone)
            self._rooms.copier.wanted(self._caller)
        counts += await take_out(self._rooms, self._caller, self._letta, redactor, self._unreached, dry=not confirm)
        if confirm:
            await self._mend_files()
        if confirm and not self._unreached:
            async with record.write(self._caller.id) as db:
                await tombstones.finished(db, self._caller, [one.whole for one in gone], sorted(counts))
        return Forgotten(
            status="forgotten" if confirm else "would_forget",
            what="; also ".join(one.named if confirm else one.said for one in gone[:6]),
            deleted=[Place(place=place, count=count) for place, count in sorted(counts.items())],
            remaining=self._remaining(redactor, alike),
            next_step=_PURGE if confirm else "Nothing was changed. Call again with confirm=true to forget it.",
        )

    async def _mend_files(self) -> None:
        try:
            await mend_outputs(self._rooms, self._caller)
        except OSError as error:
            self._unreached.append(f"Files of runs in the home were not made anew: {error}")

    async def _named(self, target: Target) -> list[Item]:
        from atlas_mcp.memory import forgetting

        if target.agent is not None and target.label is not None:
            return [await self._agents().block(target.agent, target.label)]
        wanted = str(target.id or target.run_id)
        async with self._rooms.record.read() as db:
            found = await forgetting.find(db, self._caller, wanted)
        if target.run_id is not None and (not found or found[0].kind != "run"):
            raise UnknownRun(target.run_id)
        if not found and self._letta is not None:
            if named := await self._letta.named_block(wanted):
                return [await self._letta.block(*named)]
            passage = await self._letta.passage(wanted)
            found = [passage] if passage else []
        if not found:
            raise forgetting.unknown(wanted)
        return found

    async def _beside(self, items: list[Item]) -> list[str]:
        """What a run wrote into blocks: it is sought like the rest, and belongs to no item."""
        if items[0].kind != "run" or self._letta is None:
            return []
        return await self._letta.written_by_run(items[0].id)

    async def _delete(self, items: list[Item]) -> None:
        """From Letta what is Letta's, then from the record: where the first fails nothing is changed."""
        from atlas_mcp.memory.forgetting import delete_items

        for one in items:
            if one.kind == "block":
                await self._agents().empty(*one.id.split("/", 1))
            elif one.kind == "archive passage":
                await self._agents().remove_passage(one.id)
            elif one.kind == "run" and self._letta is not None:
                await self._letta.delete_conversations(one.id)
        async with self._rooms.record.write(self._caller.id) as db:
            await delete_items(db, self._rooms.record, self._caller, items)

    def _agents(self) -> Forgetting:
        if self._letta is None:
            raise LettaUnavailable(self._unreached[0], next_step="Try again when Letta answers; nothing was changed.")
        return self._letta

    def _remaining(self, redactor: Redactor, alike: list[Item]) -> list[str]:
        said = list(self._unreached)
        if self._letta is not None and (server := self._letta.on_server):
            said.append(f"Messages in Letta {server!r} stay: its API cannot change them. Delete the conversations.")
        if alike:
            said.append(f"You wrote it elsewhere, too, which stays: {'; '.join(one.said for one in alike[:5])}.")
        if redactor.too_short:
            said.append("It is too short to be sought in other texts.")
        return [*said, _WORDS, _OUTSIDE]


async def finish_forgetting(rooms: Rooms) -> None:
    """Go on with what was cut off, or could not be reached, when it was forgotten. What still cannot be is logged."""
    from atlas_mcp.memory import tombstones
    from atlas_mcp.memory.redacting import Redactor

    async with rooms.record.read() as db:
        left = await tombstones.unfinished(db)
    for caller_id, texts in left.items():
        caller, unreached = Caller(id=caller_id), list[str]()
        redactor = await anyio.to_thread.run_sync(Redactor, texts)
        try:
            async with rooms.visit(caller) as agents:
                found = await take_out(rooms, caller, agents.forgetting, redactor, unreached)
            if not unreached:
                async with rooms.record.write(caller.id) as db:
                    await tombstones.finished(db, caller, texts, sorted(found))
        except AtlasError as reason:
            unreached.append(str(reason))
        for line in unreached:
            log.warning("something forgotten is not gone from everywhere: %s", line)


async def _redactor(items: Sequence[Item], more: Sequence[str]) -> Redactor:
    from atlas_mcp.memory.redacting import Redactor

    texts = [*(text for one in items for text in one.texts), *more]
    return await anyio.to_thread.run_sync(Redactor, texts)


async def take_out(
    rooms: Rooms,
    caller: Caller,
    letta: Forgetting | None,
    redactor: Redactor,
    unreached: list[str],
    *,
    dry: bool = False,
) -> Counter[str]:
    """Take the texts out of blocks, archives, messages and all the record keeps, unless `dry`; how many hold them."""
    from atlas_mcp.memory.spreading import spread

    found: Counter[str] = Counter()
    if letta is not None:
        try:
            found += await letta.take_out(redactor, dry=dry)
        except AtlasError as reason:
            unreached.append(f"{_NOT_REACHED}: {reason}")
        if letta.on_server is None:
            found += await _from_messages(rooms, letta, redactor, unreached, dry=dry)
    return found + await spread(rooms.record, caller, redactor, dry=dry)


async def _from_messages(
    rooms: Rooms, letta: Forgetting, redactor: Redactor, unreached: list[str], *, dry: bool
) -> Counter[str]:
    """The same for what was said to agents, in the embedded Letta's own file."""
    from atlas_mcp.embedded import erasing

    path, agents = rooms.keeper.home.letta, [kept.letta_id for kept in await letta.agents()]
    if not agents or not redactor:
        return Counter()

    def of_runs() -> None:
        erasing.erase_runs(path, agents, redactor.mend)

    holding = await anyio.to_thread.run_sync(erasing.threads_with, path, agents, redactor.mend)
    for thread in () if dry else holding:
        erase = partial(erasing.erase, path, thread, redactor.mend)
        if not await _alone(rooms, erasing.lock_of(thread), erase) and _BUSY not in unreached:
            unreached.append(_BUSY)
    if not dry:
        await anyio.to_thread.run_sync(of_runs)
    return +Counter({_MESSAGES: sum(holding.values())})


async def _alone(rooms: Rooms, lock: str, work: Callable[[], None]) -> bool:
    """Do it in a thread while nobody else holds that lock of the home; False where somebody keeps it."""
    with anyio.move_on_after(_BUSY_SECONDS) as waiting:
        async with rooms.keeper.home_locks.hold(lock):
            waiting.deadline = float("inf")
            await anyio.to_thread.run_sync(work)
            return True
    return False


def _many(kind: str) -> str:
    return {"memory": "memories", "entity": "entities"}.get(kind, f"{kind}s")
