"""One turn over the wire: a message, the events that stream back, and the tools that the turn asks us to run.

Promise: what is posted arrives once. A post is repeated only when Letta surely did not begin it, or was found not to
have it (`finding` says what that takes, and what it cannot rule out). When the connection breaks, the turn is waited
for on the server, found in its thread and gone on with: its answer is given as if nothing had happened. A tool's return
is posted again, never made again. A Letta that is busy (409, 429, 503) is asked again for `Patience.busy` seconds.

Every event has a deadline. A turn that asks for tools goes on until the agent answers, at most MAX_ROUNDS times; then
it is told to answer with what it has. When the caller is cancelled, Letta's run is cancelled too and the stream is
closed, within CANCEL_SECONDS.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import anyio
from opentelemetry import trace

from atlas_mcp.errors import AtlasError, LettaLost, LettaUnavailable, ModelFailed
from atlas_mcp.letta.faults import Busy, LettaRefused, NotBegun, PendingApproval, translated, unreachable
from atlas_mcp.letta.reading import LASTING_STOPS, PASSING_STOPS, TurnReader
from atlas_mcp.letta.step_spans import StepSpans
from atlas_mcp.letta.thread import continuing, read_turn

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from letta_client import AsyncStream

    from atlas_mcp.letta.finding import Arrived, Patience, Search
    from atlas_mcp.letta.states import Answer, ToolCall
    from atlas_mcp.letta.thread import Thread
    from atlas_mcp.model.turn import ToolSpec

    RunTool = Callable[[str, dict[str, Any]], Awaitable[str]]
    OnRun = Callable[[str], Awaitable[None]]
    OnCall = Callable[[ToolCall], Awaitable[None]]

MAX_ROUNDS = 30
MAX_POSTS = 3
CANCEL_SECONDS = 5.0
INTERRUPTED = "This call was interrupted and has no result. Answer the next message."
ENOUGH = "The limit of tool calls for one turn is reached. Answer now with what you have."
GO_ON = "You were interrupted before you had answered my last message. Go on, and answer it now."
_CONFLICT = 409
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
log = logging.getLogger(__name__)


class Turn:
    """One turn in one thread, from its first message, which carries `otid`, to its answer. Used once."""

    def __init__(
        self,
        thread: Thread,
        search: Search,
        patience: Patience,
        otid: str,
        *,
        tools: Sequence[ToolSpec],
        run_tool: RunTool,
        on_run: OnRun,
        on_call: OnCall,
        shown: bool = False,
    ) -> None:
        self._thread = thread
        self._search = search
        self._patience = patience
        self._otid = otid
        self._tools: list[Any] = [t.model_dump() for t in tools]
        self._run_tool = run_tool
        self._on_run = on_run
        self._on_call = on_call
        self._reader = TurnReader()
        self._run: str | None = None
        self._reported: set[str] = set()
        self._spans = StepSpans(shown=shown)

    async def begin(self, message: str) -> Answer:
        """Post the message and see the turn through."""
        async with self._cancelling():
            await self._say(message, self._otid)
            return await self._finish()

    async def take_up(self, message: str) -> Answer:
        """See a turn through whose message may have been posted before, perhaps by another process."""
        async with self._cancelling():
            found = await self._search.outcome(self._otid, _is_answered)
            if found is None:
                await self._say(message, self._otid)
            else:
                await self._adopt(found)
                if not (found.waits_for or found.has_answer):
                    await self._say(GO_ON, continuing(self._otid, len(found.otids)))
            return await self._finish()

    async def _say(self, text: str, otid: str) -> None:
        message = {"type": "message", "role": "user", "content": text, "otid": otid}

        def arrived(turn: TurnReader | None) -> bool:
            return turn is not None and otid in turn.otids

        try:
            await self._deliver(message, arrived)
        except PendingApproval:
            await self._free_thread()
            await self._deliver(message, arrived)

    async def _finish(self) -> Answer:
        for rounds_left in range(MAX_ROUNDS, -1, -1):
            self._check()
            reader = self._reader
            if reader.stop_reason != "requires_approval" or not reader.waits_for:
                return reader.answer()
            if rounds_left:
                await self._return(reader.waits_for, refuse=rounds_left == 1)
        raise ModelFailed(f"the agent called tools {MAX_ROUNDS} times in one turn and gave no answer.")

    def _check(self) -> None:
        reader = self._reader
        if reader.failure:
            raise reader.failure
        if (passes := reader.stop_reason in PASSING_STOPS) or reader.stop_reason in LASTING_STOPS:
            raise ModelFailed(f"the turn ended without an answer: {reader.stop_reason}.", transient=passes)
        if reader.stop_reason == "max_steps" and not reader.has_answer:
            raise ModelFailed("the agent took more steps than Letta allows in one turn and gave no answer.")

    async def _return(self, calls: Sequence[ToolCall], *, refuse: bool) -> None:
        """Make the tools' returns, once, and hand them over."""
        returns = [_tool_return(c, ENOUGH, ok=False) if refuse else await self._execute(c) for c in calls]
        ids = {c.id for c in calls}

        def arrived(turn: TurnReader | None) -> bool:
            return turn is not None and ids.isdisjoint(c.id for c in turn.waits_for)

        self._reader.returned(ids)
        await self._deliver({"type": "tool_return", "tool_returns": returns}, arrived)

    async def _execute(self, call: ToolCall) -> dict[str, Any]:
        try:
            return _tool_return(call, await self._run_tool(call.name, call.arguments), ok=True)
        except AtlasError as error:
            return _tool_return(call, str(error), ok=False)

    async def _deliver(self, message: dict[str, Any], arrived: Arrived) -> None:
        """Post the message and read what comes of it to the round's end, whatever happens to the connection."""
        before = self._reader
        for posts_left in range(MAX_POSTS - 1, -1, -1):
            self._run, self._reader = None, deepcopy(before)
            try:
                return await self._round(message)
            except (LettaRefused, LettaLost, PendingApproval):
                raise
            except LettaUnavailable as cut:
                if isinstance(cut, NotBegun) and not self._reader.runs:
                    raise  # nothing of this turn exists
                log.warning("a turn is looked for that was cut off: %s", cut.message)
                trace.get_current_span().add_event("cut off", {"why": cut.message})
                found = await self._search.outcome(self._otid, arrived, self._run)
                if found is not None and arrived(found):
                    await self._adopt(found)
                    if found.waits_for or found.has_answer:
                        return None
                    raise ModelFailed(f"the turn ended without an answer. {cut.message}", transient=True) from cut
                if not posts_left:
                    raise
        return None

    async def _adopt(self, found: TurnReader) -> None:
        """Go on with the turn as its thread tells it."""
        found.stop_reason = "requires_approval" if found.waits_for else "end_turn"
        found.spent(*await self._search.tokens_of(found.runs))
        self._reader = found
        await self._report()

    async def _round(self, message: dict[str, Any]) -> None:
        self._reader.stop_reason = None
        with self._spans.round():
            await self._read(message, self._take)
        if self._reader.stop_reason is None and not self._reader.failure:
            raise unreachable(EOFError("the stream ended before the turn did"))

    async def _take(self, event: Any) -> None:
        self._run = self._run or getattr(event, "run_id", None)
        self._reader.read(event)
        self._spans.take(event)
        await self._report()

    async def _report(self) -> None:
        for run_id in self._reader.runs:
            if run_id not in self._reported:
                self._reported.add(run_id)
                await self._on_run(run_id)
        for call in self._reader.calls:
            if call.id not in self._reported:
                self._reported.add(call.id)
                await self._on_call(call)

    async def _read(self, message: dict[str, Any], take: Callable[[Any], Awaitable[None]]) -> None:
        """Post the message and hand on each event that comes of it; each has its deadline."""
        with translated():
            stream = await self._post(message)
            try:
                events = aiter(stream)
                while True:
                    with anyio.fail_after(self._patience.event):
                        event = await anext(events, None)
                    if event is None:
                        return
                    await take(event)
            finally:
                with anyio.CancelScope(shield=True), anyio.move_on_after(CANCEL_SECONDS):
                    await stream.close()

    async def _post(self, message: dict[str, Any]) -> AsyncStream[Any]:
        deadline, pause = anyio.current_time() + self._patience.busy, _FIRST_PAUSE
        while True:
            try:
                with translated(), anyio.fail_after(self._patience.first_event):
                    return await self._thread.post(message, self._tools, self._patience.event)
            except (Busy, LettaRefused) as busy:
                wait = max(pause, busy.seconds or 0.0) if isinstance(busy, Busy) else pause
                given_up = anyio.current_time() + wait > deadline
                if given_up or (isinstance(busy, LettaRefused) and busy.status != _CONFLICT):
                    raise
            trace.get_current_span().add_event("Letta is busy", {"seconds": wait})
            await anyio.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)

    @asynccontextmanager
    async def _cancelling(self) -> AsyncGenerator[None]:
        """Cancel Letta's run when we are cancelled; tell what a turn took whose model failed."""
        try:
            yield
        except ModelFailed as failed:
            failed.tokens = await self._search.tokens_of(list(self._reader.runs))
            raise
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True), anyio.move_on_after(CANCEL_SECONDS):
                await self._search.cancel()
            raise

    async def _free_thread(self) -> None:
        """Answer what an interrupted turn of this thread left open, so that the thread can be used again."""
        with translated():
            found = await read_turn(self._thread, None)
        returns = [_tool_return(c, INTERRUPTED, ok=False) for c in (found.waits_for if found else ())]
        await self._read({"type": "tool_return", "tool_returns": returns}, _ignore)


async def _ignore(_: object) -> None:
    return


def _is_answered(turn: TurnReader | None) -> bool:
    return turn is not None and turn.has_answer and not turn.waits_for


def _tool_return(call: ToolCall, text: str, *, ok: bool) -> dict[str, Any]:
    status = "success" if ok else "error"
    return {"type": "tool", "tool_call_id": call.id, "tool_return": text, "status": status}
