"""One person's talk with one agent: which conversation it is in, and the turn that is under way."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from atlas_mcp.errors import IllegalChange, UnknownRun
from atlas_mcp.model.run import ENDED
from atlas_mcp.model.turn import ChatReply

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.memory import Block
    from atlas_mcp.model.run import Event

_CANCEL_SECONDS = 20.0


class Talk:
    """What is said goes on in the caller's own thread with the agent, until a new one is begun."""

    def __init__(self, atlas: Atlas, caller: Caller, agent: str, *, new: bool = False) -> None:
        self._atlas = atlas
        self._caller = caller
        self.agent = agent
        self.tell: Callable[[str], None] = lambda _: None
        self._conversation = "new" if new else None
        self._scope: anyio.CancelScope | None = None
        self._run_id = ""

    async def check(self) -> None:
        """Raise UnknownAgent, with the nearest and all there are, before anything is said."""
        await self._atlas.groups.check_agent(self._caller, self.agent)

    def begin_anew(self) -> None:
        """Let the next message open a new conversation."""
        self._conversation = "new"

    async def memory(self) -> list[Block]:
        """The agent's blocks."""
        return await self._atlas.get_memory(self._caller, self.agent)

    async def ask(self, message: str) -> ChatReply | None:
        """The agent's reply, however long it takes; None when `stop` was called meanwhile. Raises what `chat` does."""
        self._run_id = ""
        with anyio.CancelScope() as self._scope:
            reply = await self._reply(message)
            self._conversation = reply.conversation
            return reply
        with anyio.move_on_after(_CANCEL_SECONDS, shield=True):
            await self._cancel()
        return None

    def stop(self) -> None:
        """Stop the turn that is under way."""
        if self._scope is not None:
            self._scope.cancel()

    async def _reply(self, message: str) -> ChatReply:
        reply = await self._atlas.chat(
            self._caller,
            self.agent,
            message,
            conversation=self._conversation,
            on_event=self._on_event,
            on_run=self._on_run,
        )
        if reply.run_id is None:
            return reply
        run = await self._atlas.follow_run(self._caller, reply.run_id)
        while run.status not in ENDED:
            self.tell(run.progress.text)
            run = await self._atlas.follow_run(self._caller, reply.run_id)
        told = await self._atlas.outcome(self._caller, reply.run_id)
        return told if isinstance(told, ChatReply) else reply

    async def _cancel(self) -> None:
        with suppress(UnknownRun, IllegalChange):  # it was over already, or had not begun
            await self._atlas.cancel_run(self._caller, self._run_id)

    async def _on_event(self, event: Event) -> None:
        self.tell(event.text)

    def _on_run(self, run_id: str) -> None:
        self._run_id = run_id
