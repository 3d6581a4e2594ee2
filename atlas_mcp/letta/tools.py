"""The tools whose source one Letta has from us, and which agents have them.

Promise: a tool is sent once per process and content, and not at all where Letta has it in that state already. A tool of
that name that somebody else put there is never replaced. What Letta refuses is asked of it once and said in the log
once; a Letta that takes no source at all is asked once for all tools.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from atlas_mcp.errors import LettaLost
from atlas_mcp.letta.faults import LettaRefused, exchange

if TYPE_CHECKING:
    from letta_client import AsyncLetta

    from atlas_mcp.letta.states import NewTool

OURS = "atlas"
RETURN_CHARS = 20_000
log = logging.getLogger(__name__)


class LettaTools:
    """What this process knows of the tools of one Letta."""

    def __init__(self, client: AsyncLetta) -> None:
        self._client = client
        self._ids: dict[str, str] = {}
        self._refused: set[str] = set()
        self._takes_source = True

    def refuses(self, tool: NewTool) -> bool:
        """Whether Letta is known not to take the tool; it is not asked."""
        return not self._takes_source or tool.mark in self._refused

    async def register(self, tool: NewTool) -> str | None:
        """Letta's id of the tool, which is put there unless it is there; None if Letta refuses it."""
        if self.refuses(tool):
            return None
        if tool.mark not in self._ids:
            try:
                with exchange():
                    self._ids[tool.mark] = await self._found_or_put(tool)
            except LettaRefused as refusal:
                self._give_up(tool, refusal)
                return None
        return self._ids[tool.mark]

    async def attach(self, agent_id: str, tool: NewTool) -> None:
        """Give the tool to the agent; twice is harmless, and nothing happens if Letta refuses the tool.

        A tool that Letta has lost meanwhile is put there again. LettaLost if there is no such agent.
        """
        try:
            await self._attach(agent_id, tool)
        except LettaLost:
            self._ids.pop(tool.mark, None)
            await self._attach(agent_id, tool)

    async def detach(self, agent_id: str, tool_id: str) -> None:
        """Take the tool from the agent; the tool stays."""
        with exchange():
            await self._client.agents.tools.detach(tool_id, agent_id=agent_id)

    async def _attach(self, agent_id: str, tool: NewTool) -> None:
        if tool_id := await self.register(tool):
            with exchange():
                await self._client.agents.tools.attach(tool_id, agent_id=agent_id)

    async def _found_or_put(self, tool: NewTool) -> str:
        page = await self._client.tools.list(name=tool.spec.name)
        for known in page.items:
            if known.name != tool.spec.name:
                continue
            if not is_ours(known):
                raise LettaRefused(f"it has a tool of that name which is not ATLAS' own ({known.id})", 409)
            if tool.mark in (known.tags or ()):
                return known.id
        made = await self._client.tools.upsert(
            source_code=tool.source,
            json_schema=tool.spec.model_dump(),
            description=tool.spec.description,
            tags=[OURS, tool.mark],
            return_char_limit=RETURN_CHARS,
        )
        log.info("Letta has the tool %s now", tool.spec.name)
        return made.id

    def _give_up(self, tool: NewTool, refusal: LettaRefused) -> None:
        if refusal.status == 403:
            self._takes_source = False
            log.warning("this Letta takes no tool source; ATLAS executes all tools itself (%s)", refusal.message)
        else:
            self._refused.add(tool.mark)
            log.warning(
                "Letta does not take the tool %s; ATLAS executes it itself (%s)", tool.spec.name, refusal.message
            )


def is_ours(tool: Any) -> bool:
    """Whether ATLAS put the tool there."""
    return OURS in (tool.tags or ())
