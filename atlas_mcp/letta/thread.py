"""A thread with an agent: a conversation; or, by the agent's own id, the agent's only thread where a server has no
conversations. What is posted to it, what it holds, and what runs in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from atlas_mcp.letta.reading import TurnReader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from letta_client import AsyncLetta, AsyncStream

PAGE = 100
FURTHEST = 2_000
_LATEST_RUNS = 5
_OF_AGENT = "agent-"
_GOES_ON = "/"


class Thread:
    """One thread, by its id."""

    def __init__(self, client: AsyncLetta, id: str) -> None:
        self.id = id
        self._client = client
        self._of_agent = id.startswith(_OF_AGENT)

    async def post(self, message: dict[str, Any], tools: Sequence[Any], seconds: float) -> AsyncStream[Any]:
        """Post one message, in the streaming form; nothing of it is repeated."""
        # The tools are as they must be sent; as an argument, letta-client would go through all they are made of.
        body = {"client_tools": tools}
        sent: Any = {"messages": [message], "stream_tokens": False, "extra_body": body, "timeout": seconds}
        if self._of_agent:
            return await self._client.agents.messages.create(self.id, streaming=True, **sent)
        return await self._client.conversations.messages.create(self.id, streaming=True, **sent)

    async def newest(self) -> AsyncGenerator[Any]:
        """The messages, newest first."""
        list_ = self._client.agents.messages.list if self._of_agent else self._client.conversations.messages.list
        page: list[Any] = (await list_(self.id, order="desc", limit=PAGE)).items
        while page:
            for message in page:
                yield message
            # Not as letta-client pages by itself, with `after`: that means newer ones, in either order.
            page = (await list_(self.id, order="desc", limit=PAGE, before=page[-1].id)).items

    async def runs(self) -> list[Any]:
        """The latest runs of the thread, newest first."""
        if not self._of_agent:
            return (await self._client.runs.list(conversation_id=self.id, order="desc", limit=_LATEST_RUNS)).items
        page = await self._client.runs.list(agent_id=self.id, order="desc", limit=2 * _LATEST_RUNS)
        return [run for run in cast("list[Any]", page.items) if not run.conversation_id]

    async def cancel(self) -> None:
        """Cancel what runs. Letta answers with an error if nothing does."""
        if self._of_agent:
            await self._client.agents.messages.cancel(self.id)
        else:
            await self._client.conversations.cancel(self.id)


def continuing(otid: str, number: int) -> str:
    """The otid of a later message of ours in the turn that the message with `otid` began."""
    return f"{otid}{_GOES_ON}{number}"


async def read_turn(thread: Thread, otid: str | None) -> TurnReader | None:
    """The turn that the message with that otid began (None: the newest turn), as far as the thread has it.

    None if the newest FURTHEST messages do not have it.
    """
    newer: list[Any] = []
    seen = 0
    async for message in thread.newest():
        seen += 1
        newer.append(message)
        if message.message_type == "user_message":
            if otid is None or message.otid == otid:
                return _read(newer)
            if not (message.otid or "").startswith(f"{otid}{_GOES_ON}"):
                newer.clear()  # what has been read so far belongs to a later turn
        if seen >= FURTHEST:
            break
    return None


def _read(newest_first: list[Any]) -> TurnReader:
    reader = TurnReader()
    for message in reversed(newest_first):
        reader.read(message)
    return reader
