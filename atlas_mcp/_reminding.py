"""What an agent is reminded of in a chat: memories, facts and procedures that have to do with the message.

They come with the message, delimited as data, within ROOM tokens; in a conversation each once, as the conversation
keeps it, and none that a core block of the agent says already. Nothing is waited for longer than PATIENCE seconds, and
nothing that fails on the way costs the chat more than that. Where nothing is remembered it costs a look.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING

import anyio

from atlas_mcp.errors import AtlasError
from atlas_mcp.memory.context import assemble
from atlas_mcp.memory.showing import as_sections
from atlas_mcp.model.context import ESTIMATE, REMEMBERED, SECTIONS, ContextItem, Shape, Share
from atlas_mcp.model.memory_kinds import scopes_of
from atlas_mcp.model.task import MAX_MESSAGE
from atlas_mcp.watch.spans import outputs, span

if TYPE_CHECKING:
    from atlas_mcp.constellation.constellation import Constellation
    from atlas_mcp.model.context import Context, SectionName

ROOM = 800
PATIENCE = 0.5
_ASKED = 2_000
"""So much of a message, in characters, is looked for."""
_CONVERSATIONS = 1_000
_log = logging.getLogger(__name__)


class Reminders:
    """What was given in which conversation by this process; after a restart a memory may be given once more."""

    def __init__(self) -> None:
        self._given: OrderedDict[str, set[str]] = OrderedDict()

    async def with_message(
        self, agents: Constellation, agent: str, conversation: str | None, message: str
    ) -> tuple[str, list[ContextItem]]:
        """The message as the agent gets it, and what of it the guard found something in."""
        found: list[ContextItem] = []
        try:
            with anyio.move_on_after(PATIENCE):
                found = await agents.remembered.about(message[:_ASKED])
        except AtlasError as failure:
            _log.warning("%s is not reminded of anything: %s", agent, failure)
        given = self._of(agents, conversation)
        if not (found := [one for one in found if one.id not in given]):
            return message, []
        with span(f"context of {agent}", kind="RETRIEVER") as opened:
            context = await _chosen(agents, agent, message, found)
            outputs(opened, context.told())
        shown = as_sections(context)
        if not shown or len(message) + len(shown) + 2 > MAX_MESSAGE:
            return message, []
        shown_items = context.of(*REMEMBERED)
        given.update(one.id for one in shown_items)
        return f"{message}\n\n{shown}", [one for one in shown_items if one.findings]

    def _of(self, agents: Constellation, conversation: str | None) -> set[str]:
        if conversation in {None, "new"}:
            return set()
        key = f"{agents.caller.id}\n{conversation}"
        given = self._given.setdefault(key, set())
        self._given.move_to_end(key)
        if len(self._given) > _CONVERSATIONS:
            self._given.popitem(last=False)
        return given


async def _chosen(agents: Constellation, agent: str, message: str, found: list[ContextItem]) -> Context:
    team = next((one.team for one in agents.roster.agents if one.name == agent), None)
    seen = scopes_of(agent, team)
    blocks = await agents.get_memory(agent)
    there = [ContextItem(id=block.label, section="core", text=block.value) for block in blocks if block.value]
    there.append(ContextItem(id="message", section="task", text=message))
    taken = sum(ESTIMATE.count(one.text) for one in there)
    shares: dict[SectionName, Share] = {name: Share() for name in SECTIONS}
    shape = Shape(budget=int((taken + ROOM) / (1 - ESTIMATE.reserve)) + 1, shares=shares)
    return assemble([*there, *(one for one in found if one.scope in seen)], shape)
