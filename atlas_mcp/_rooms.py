"""The heavy rooms behind Atlas, open: whose constellation is where, and what it shares.

A caller's constellation is made once for each client and Letta, and anew when its roster has changed or when it was
not needed for long: how many callers and clients there are is theirs to say.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from atlas_mcp._reminding import Reminders
from atlas_mcp.errors import ConfigurationError, LettaUnavailable, UnknownModel
from atlas_mcp.model.caller import Caller
from atlas_mcp.models.chat import Models
from atlas_mcp.models.served import ServedModels

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from atlas_mcp._keeper import RoomsKeeper
    from atlas_mcp.constellation.additions import Additions
    from atlas_mcp.constellation.constellation import Constellation
    from atlas_mcp.constellation.copier import Copier
    from atlas_mcp.constellation.library import Library
    from atlas_mcp.constellation.moves import Moves
    from atlas_mcp.letta.door import Letta
    from atlas_mcp.letta.lettas import Lettas
    from atlas_mcp.memory.hybrid import HybridMemory
    from atlas_mcp.model.agent import Roster
    from atlas_mcp.model.knowledge import Recalled
    from atlas_mcp.model.prompt import PromptVersion
    from atlas_mcp.model.proposal import Change
    from atlas_mcp.runs.runs import Runs
    from atlas_mcp.store.record import Record
    from atlas_mcp.watch.ledger import Ledger
    from atlas_mcp.watch.prompts.versions import Versions

MOST_KEPT = 1_000
"""Constellations, and what callers added to the roster, that are kept at hand."""
_T = TypeVar("_T")


@dataclass
class Rooms:
    """The heavy rooms, open."""

    record: Record
    lettas: Lettas
    keeper: RoomsKeeper
    ledger: Ledger
    memory: HybridMemory
    runs: Runs = field(init=False)
    copier: Copier = field(init=False)
    versions: Versions = field(init=False)
    moves: Moves = field(init=False)
    reminders: Reminders = field(default_factory=Reminders)
    lent: dict[str, Constellation] = field(default_factory=dict["str", "Constellation"])
    promoted: dict[str, PromptVersion] = field(default_factory=dict["str", "PromptVersion"])
    changes: list[Change] = field(default_factory=list["Change"])
    openings: dict[str, str] = field(default_factory=dict[str, str])
    _additions: dict[str, Additions] = field(default_factory=dict["str", "Additions"])
    _constellations: dict[str, Constellation] = field(default_factory=dict["str", "Constellation"])
    _served: dict[str, ServedModels] = field(default_factory=dict[str, ServedModels])

    def __post_init__(self) -> None:
        from atlas_mcp.watch.prompts.versions import Versions

        self.versions = Versions(self.record, {})

    def use_roster(self, roster: Roster) -> None:
        """Let this be the home's roster from now on; constellations are made anew from it when they are next needed."""
        self.keeper.roster = roster
        self.versions.personas = {agent.name: agent.persona for agent in roster.agents}
        self._additions.clear()

    def additions(self, caller: Caller) -> Additions:
        """What this caller added to the roster."""
        from atlas_mcp.constellation.additions import Additions

        known = self._additions.get(caller.id) or Additions(caller, self.keeper.roster, self.record)
        return _kept(self._additions, caller.id, known)

    async def constellation(self, caller: Caller) -> Constellation:
        """This caller's constellation, on the Letta that it was placed on.

        LettaUnavailable, UnusableLetta or UnknownModel when that one cannot be used; those of other Lettas can.
        """
        from atlas_mcp.letta import placement

        additions = self.additions(caller)
        async with self.record.look() as db:
            placed, rows = await placement.read(db, caller.id), await additions.rows(db)
        return await self._constellation(caller, await self.lettas.at(caller, placed), additions.roster_with(rows))

    @asynccontextmanager
    async def visit(self, caller: Caller, run_id: str | None = None) -> AsyncGenerator[Constellation]:
        """This caller's constellation, as `constellation` gives it; it is not moved while the body runs.

        One who is inside and waits for that run has it `lent` to it: it need not be looked up again.
        """
        from atlas_mcp.constellation.visits import visiting

        await self.keeper.reach.met()
        async with visiting(caller, self.keeper.locks):
            yield self.lent.get(run_id or "") or await self.constellation(caller)

    async def constellation_on(self, caller: Caller, letta: Letta) -> Constellation:
        """What this caller has on that Letta, wherever the constellation is placed: for moving it."""
        return await self._constellation(caller, letta, await self.additions(caller).roster())

    async def _constellation(self, caller: Caller, letta: Letta, roster: Roster) -> Constellation:
        from atlas_mcp.constellation.constellation import Constellation

        key = f"{letta.name}\n{caller.id}\n{caller.client}"
        known = self._constellations.get(key)
        if known is None or known.roster is not roster:
            k, models = self.keeper, await self.models_of(letta)
            known = Constellation(
                caller,
                roster,
                letta,
                self.record,
                k.locks,
                models,
                k.toolbox,
                on_knowledge=self.copier.wanted,
                finder=self.memory.finder,
                gate=k.gate,
                ledger=self.ledger,
                versions=self.versions,
                entering=k.guard.entering,
            )
        return _kept(self._constellations, key, known)

    def library(self, caller: Caller) -> Library:
        """What this caller shares with the agents; no Letta is asked for it."""
        from atlas_mcp.constellation.library import Library

        return Library(caller, self.record, self.copier.wanted, self.memory.finder)

    async def search_memory(self, caller: Caller, query: str, **narrowed: Any) -> Recalled:
        """See `Constellation.search_memory`. Where its Letta cannot be used, what the record has is searched."""
        from atlas_mcp.constellation.recall import Recall
        from atlas_mcp.memory.tombstones import without_forgotten

        try:
            search = (await self.constellation(caller)).search_memory
        except (LettaUnavailable, ConfigurationError) as reason:
            search = Recall(self.keeper.roster, reason, self.record, self.library(caller)).search
        found = await search(query, **narrowed)
        async with self.record.read() as db:
            found = found.model_copy(update={"hits": await without_forgotten(db, caller, found.hits)})
        self.memory.uses.note(caller, found.hits)
        return found

    async def models_of(self, letta: Letta) -> Models | ServedModels:
        """The models that answer on that Letta; those of a server are checked before they are asked for."""
        if letta.kind == "embedded":
            return self.keeper.local_models
        if letta.name not in self._served:
            try:
                served = self._served_by(letta, letta.abilities.models)
            except UnknownModel:  # the server may have got it since it was connected
                served = self._served_by(letta, await letta.model_handles())
            self._served[letta.name] = served
        return self._served[letta.name]

    def _served_by(self, letta: Letta, handles: Sequence[str]) -> ServedModels:
        k = self.keeper
        served = ServedModels(k.model_config, k.settings.letta_model, handles, self.lettas.servers[letta.name].shown)
        served.check()
        return served


def _kept(among: dict[str, _T], key: str, value: _T) -> _T:
    """The value, kept as the one that was needed last; the one that was not needed for longest makes room for it."""
    among.pop(key, None)
    among[key] = value
    if len(among) > MOST_KEPT:
        among.pop(next(iter(among)))
    return value


@asynccontextmanager
async def copying(rooms: Rooms) -> AsyncGenerator[None]:
    """Shared knowledge is copied to Lettas that have folders, until the block is left; first what was left undone."""
    from atlas_mcp.constellation.copier import Copier
    from atlas_mcp.memory.copies import callers_with_documents

    rooms.copier = Copier(rooms.constellation)
    async with anyio.create_task_group() as tasks:
        if any(server.kind != "embedded" for server in rooms.keeper.servers):
            async with rooms.record.read() as db:
                left = await callers_with_documents(db)
            for caller in left:
                rooms.copier.wanted(Caller(id=caller))
            tasks.start_soon(rooms.copier.work)
        yield
        tasks.cancel_scope.cancel()
