"""What moving agents needs of a Letta: archives read and filled, marks changed, things removed.

Promise: what is not there is no error to remove. An archive is read whole, oldest first, without its vectors.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from atlas_mcp.errors import LettaLost
from atlas_mcp.letta.faults import exchange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letta_client import AsyncLetta

_PAGE = 100


@dataclass(frozen=True, slots=True)
class PassageState:
    """One text of an agent's archive; `id` is that of the Letta it was read from."""

    text: str
    tags: tuple[str, ...]
    created_at: datetime
    id: str = field(default="", compare=False)


class LettaMoves:
    """What one Letta has of agents that come and go."""

    def __init__(self, client: AsyncLetta) -> None:
        self._client = client

    async def passages(self, agent_id: str) -> list[PassageState]:
        """The agent's archive; LettaLost if there is no such agent."""
        found: list[PassageState] = []
        last: str | None = None
        while True:
            more: dict[str, Any] = {"after": last} if last else {}
            with exchange():
                page: list[Any] = list(
                    await self._client.agents.passages.list(agent_id, ascending=True, limit=_PAGE, **more)
                )
            found += [PassageState(p.text, tuple(p.tags or ()), _moment(p.created_at), p.id) for p in page]
            if len(page) < _PAGE:
                return found
            last = page[-1].id

    async def add_passage(self, agent_id: str, passage: PassageState) -> None:
        """Put the text into the agent's archive, as of its own time."""
        with exchange():
            await self._client.agents.passages.create(
                agent_id, text=passage.text, tags=list(passage.tags), created_at=passage.created_at
            )

    async def delete_passage(self, agent_id: str, passage_id: str) -> None:
        """Delete the text from the agent's archive, if it is there."""
        with suppress(LettaLost), exchange():
            await self._client.agents.passages.delete(passage_id, agent_id=agent_id)

    async def delete_conversation(self, conversation: str) -> None:
        """Delete the conversation with its messages, if it is there."""
        with suppress(LettaLost), exchange():
            await self._client.conversations.delete(conversation)

    async def configs(self, agent_id: str) -> dict[str, Any]:
        """How Letta has the agent's models: its `llm_config` and `embedding_config`, without anything secret."""
        with exchange():
            state = await self._client.agents.retrieve(agent_id)
        found: dict[str, Any] = {}
        for name in ("llm_config", "embedding_config"):
            if config := getattr(state, name, None):
                found[name] = config.model_dump(mode="json", exclude_unset=True)
        return found

    async def mark_agent(self, agent_id: str, tags: Sequence[str]) -> None:
        """Give the agent these tags in place of those it has."""
        with exchange():
            await self._client.agents.update(agent_id, tags=list(tags))

    async def mark_block(self, block_id: str, tags: Sequence[str]) -> None:
        """Give the block these tags in place of those it has."""
        with exchange():
            await self._client.blocks.update(block_id, tags=list(tags))

    async def marked_agents(self, tag: str) -> list[str]:
        """The ids of the agents with that tag."""
        with exchange():
            return [agent.id async for agent in self._client.agents.list(tags=[tag], match_all_tags=True)]

    async def marked_blocks(self, tag: str) -> list[str]:
        """The ids of the blocks with that tag."""
        with exchange():
            return [str(block.id) async for block in self._client.blocks.list(tags=[tag])]

    async def delete_block(self, block_id: str) -> None:
        """Delete the block, if it is there."""
        with suppress(LettaLost), exchange():
            await self._client.blocks.delete(block_id)


def _moment(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
