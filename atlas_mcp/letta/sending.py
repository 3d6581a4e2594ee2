"""One turn over the wire: a message, the events that stream back, and the tools that the turn asks us to run.

Promise: a message is posted once, never retried here. Every event has a deadline. A turn that asks for tools goes on
until the agent answers, at most MAX_ROUNDS times; then it is told to answer with what it has. When the caller is
cancelled, Letta's run is cancelled too and the stream is closed, within CANCEL_SECONDS.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import anyio

from atlas_mcp.errors import AtlasError, ModelFailed
from atlas_mcp.letta.faults import PendingApproval, translated, unreachable
from atlas_mcp.letta.reading import FAILED_STOPS, TurnReader
from atlas_mcp.letta.thread import last_turn

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from letta_client import AsyncLetta, AsyncStream

    from atlas_mcp.letta.states import Answer, ToolCall
    from atlas_mcp.model.turn import ToolSpec

    RunTool = Callable[[str, dict[str, Any]], Awaitable[str]]
    OnRun = Callable[[str], Awaitable[None]]
    OnCall = Callable[[ToolCall], Awaitable[None]]

MAX_ROUNDS = 30
CANCEL_SECONDS = 5.0
INTERRUPTED = "This call was interrupted and has no result. Answer the next message."
ENOUGH = "The limit of tool calls for one turn is reached. Answer now with what you have."


class Turn:
    """One turn in one conversation, from its first message to its answer. Used once."""

    def __init__(
        self,
        client: AsyncLetta,
        conversation: str,
        *,
        tools: Sequence[ToolSpec],
        run_tool: RunTool,
        on_run: OnRun,
        on_call: OnCall,
        event_seconds: float,
    ) -> None:
        self._client = client
        self._conversation = conversation
        self._tools: list[Any] = [t.model_dump() for t in tools]
        self._run_tool = run_tool
        self._on_run = on_run
        self._on_call = on_call
        self._event_seconds = event_seconds
        self._reader = TurnReader()
        self._reported_runs = 0
        self._reported_calls: set[str] = set()

    async def begin(self, message: str, otid: str) -> Answer:
        """Post the message and see the turn through."""
        first = {"type": "message", "role": "user", "content": message, "otid": otid}
        async with self._cancelling():
            try:
                await self._round(first)
            except PendingApproval:
                await self._free_thread()
                await self._round(first)
            return await self._finish()

    async def go_on(self, waits_for: Sequence[ToolCall]) -> Answer:
        """Take up a turn that waits for the answers of these calls."""
        async with self._cancelling():
            await self._round(await self._answers(waits_for))
            return await self._finish()

    async def _finish(self) -> Answer:
        for rounds_left in range(MAX_ROUNDS, -1, -1):
            self._check()
            reader = self._reader
            if reader.stop_reason != "requires_approval" or not reader.waits_for:
                return reader.answer()
            if rounds_left:
                await self._round(await self._answers(reader.waits_for, refuse=rounds_left == 1))
        raise ModelFailed(f"the agent called tools {MAX_ROUNDS} times in one turn and gave no answer.")

    def _check(self) -> None:
        reader = self._reader
        if reader.failure:
            raise reader.failure
        if reader.stop_reason is None:
            raise unreachable(EOFError("the stream ended before the turn did"))
        if reader.stop_reason in FAILED_STOPS:
            raise ModelFailed(f"the turn ended without an answer: {reader.stop_reason}.", transient=True)
        if reader.stop_reason == "max_steps" and not reader.has_answer:
            raise ModelFailed("the agent took more steps than Letta allows in one turn and gave no answer.")

    async def _answers(self, calls: Sequence[ToolCall], *, refuse: bool = False) -> dict[str, Any]:
        returns = [_tool_return(c, ENOUGH, ok=False) if refuse else await self._execute(c) for c in calls]
        self._reader.returned(c.id for c in calls)
        return {"type": "tool_return", "tool_returns": returns}

    async def _execute(self, call: ToolCall) -> dict[str, Any]:
        try:
            return _tool_return(call, await self._run_tool(call.name, call.arguments), ok=True)
        except AtlasError as error:
            return _tool_return(call, str(error), ok=False)

    async def _round(self, message: dict[str, Any]) -> None:
        self._reader.stop_reason = None
        with translated():
            async with self._stream(message) as stream:
                events = aiter(stream)
                while True:
                    with anyio.fail_after(self._event_seconds):
                        event = await anext(events, None)
                    if event is None:
                        return
                    self._reader.read(event)
                    await self._report()

    async def _report(self) -> None:
        for run_id in self._reader.runs[self._reported_runs :]:
            self._reported_runs += 1
            await self._on_run(run_id)
        for call in self._reader.calls:
            if call.id not in self._reported_calls:
                self._reported_calls.add(call.id)
                await self._on_call(call)

    @asynccontextmanager
    async def _stream(self, message: dict[str, Any]) -> AsyncGenerator[AsyncStream[Any]]:
        with anyio.fail_after(self._event_seconds):
            stream = await self._client.conversations.messages.create(
                self._conversation,
                messages=[message],  # pyright: ignore[reportArgumentType]  # one of the shapes of its Union
                client_tools=self._tools,
                streaming=True,
                stream_tokens=False,
                timeout=self._event_seconds,
            )
        try:
            yield stream
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(CANCEL_SECONDS):
                await stream.close()

    @asynccontextmanager
    async def _cancelling(self) -> AsyncGenerator[None]:
        """Cancel Letta's run when we are cancelled."""
        try:
            yield
        except anyio.get_cancelled_exc_class():
            await self._cancel_run()
            raise

    async def _cancel_run(self) -> None:
        # The run may have ended by itself: then there is nothing to cancel, and Letta says so with an error.
        bounded = anyio.CancelScope(shield=True, deadline=anyio.current_time() + CANCEL_SECONDS)
        with bounded, suppress(AtlasError), translated():
            await self._client.conversations.cancel(self._conversation)

    async def _free_thread(self) -> None:
        """Answer what an interrupted turn of this thread left open, so that the thread can be used again."""
        with translated():
            found = await last_turn(self._client, self._conversation)
            returns = [_tool_return(c, INTERRUPTED, ok=False) for c in (found.waits_for if found else ())]
            async with self._stream({"type": "tool_return", "tool_returns": returns}) as stream:
                async for _ in stream:
                    pass


def _tool_return(call: ToolCall, text: str, *, ok: bool) -> dict[str, Any]:
    status = "success" if ok else "error"
    return {"type": "tool", "tool_call_id": call.id, "tool_return": text, "status": status}
