"""Which versions of which prompts a turn is taken with, by name, and MLflow's registry told of each.

Promise: a text becomes a version when it is first used, once for all processes on the record; from then on its name
costs a look into a dictionary. What keeps the record from answering costs the name, never the turn.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from atlas_mcp.errors import AtlasError
from atlas_mcp.model.prompt import PERSONA, PromptVersion
from atlas_mcp.watch import notes
from atlas_mcp.watch.prompts import rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlas_mcp.model.agent import AgentSpec
    from atlas_mcp.store.record import Record

log = logging.getLogger(__name__)


class Versions:
    """The versions of the house's prompts. `personas` are those of the home's roster, as they lead: what a caller
    wrote for agents of their own, or a run for its guests, is nobody else's and is not kept."""

    def __init__(self, record: Record, personas: Mapping[str, str]) -> None:
        self.personas = personas
        self._record = record
        self._numbers: dict[tuple[str, str], int] = {}

    async def used(self, agent: AgentSpec, opening: tuple[str, str] | None = None) -> list[str]:
        """The versions that a turn of the agent is taken with, as `name/version`: its persona's, and that of the text
        that opens the question, given with its name."""
        texts = [opening] if opening else []
        if self.personas.get(agent.name) == agent.persona:
            texts.insert(0, (PERSONA + agent.name, agent.persona))
        try:
            return [f"{name}/{await self.number(name, text)}" for name, text in texts]
        except AtlasError as error:
            log.warning("the prompts of a turn of %s could not be named: %s", agent.name, error)
            return []

    async def number(self, name: str, text: str) -> int:
        """The version that has this text, which becomes one if it is not."""
        if (name, text) not in self._numbers:
            async with self._record.look() as db:
                known = await rows.number_of(db, name, text)
            self._numbers[name, text] = known or (await self._kept(name, text)).version
        return self._numbers[name, text]

    async def _kept(self, name: str, text: str) -> PromptVersion:
        async with self._record.write(rows.WRITER) as db:
            version, new = await rows.keep(db, name, text, "file")
        if new:
            tell(version)
        return version


def tell(version: PromptVersion, *, leads: bool = False) -> None:
    """Tell MLflow's registry of a version; with `leads`, that it does from now on."""
    notes.tell(
        notes.PromptNote(
            key=f"{version.label}/{rows.hash_of(version.text)[:12]}",
            name=version.name,
            version=version.version,
            text=version.text,
            tags={"origin": version.origin, **({"parent": str(version.parent)} if version.parent else {})},
            promoted=leads,
        )
    )
