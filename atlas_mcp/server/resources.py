"""Runs as resources: `atlas://runs/{run_id}` and `atlas://runs/{run_id}/result`, of the caller only.

A client that subscribes hears of each change until the run has ended: of the run with every entry of its journal, of
the result when it becomes another. What it hears is fed by the journal, for its own caller and the addresses it named;
a run of another caller does not exist, and of an address that names nothing nothing is ever heard. Both ways are
there: `resources/subscribe` of connections that began with a handshake, and `subscriptions/listen` since 2026-07-28.
"""

from __future__ import annotations

import logging
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import anyio
from mcp import MCPError
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourceUpdated
from mcp.types import INVALID_PARAMS, EmptyResult, SubscribeRequestParams, UnsubscribeRequestParams
from mcp_types import INTERNAL_ERROR, SubscriptionsListenRequestParams

from atlas_mcp.errors import AtlasError, UnknownRun
from atlas_mcp.model.run import ENDED
from atlas_mcp.server.arguments import MAX_WAIT
from atlas_mcp.server.caller import Transport, caller_of
from atlas_mcp.server.results import RunResult

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from anyio.abc import TaskGroup
    from mcp.server import MCPServer
    from mcp.server.context import HandlerResult, ServerRequestContext
    from mcp.server.subscriptions import ServerEvent, SubscriptionBus

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.run import Run

    Request = ServerRequestContext[Any, Any]
    Tell = Callable[[], Awaitable[None]]

RUN = "atlas://runs/{run_id}"
RESULT = "atlas://runs/{run_id}/result"
MAX_LISTENING = 1_024
MAX_ADDRESSES = 256
_ADDRESS = re.compile(r"atlas://runs/([^/?#]+)(/result)?")
_WATCHES = "atlas.watches"
_log = logging.getLogger(__name__)


@asynccontextmanager
async def watching(_: object) -> AsyncGenerator[TaskGroup]:
    """The lifespan of a server: where it watches runs for connections, until it ends."""
    async with anyio.create_task_group() as tasks:
        yield tasks
        tasks.cancel_scope.cancel()


class RunResources:
    """The resources of one server, and who hears of them."""

    def __init__(self, atlas: Atlas, transport: Transport) -> None:
        self._atlas = atlas
        self._transport: Transport = transport
        self._streams: set[ListenHandler] = set()

    def offer(self, server: MCPServer[Any], news: SubscriptionBus) -> None:
        """Register all of it; `news` is the server's own, of which everybody who listens hears too."""
        server.resource(
            RUN, name="run", title="A run", description="The run with its journal.", mime_type="application/json"
        )(self._run)
        server.resource(
            RESULT,
            name="run_result",
            title="A run's result",
            description="What it came to.",
            mime_type="application/json",
        )(self._result)

        async def listen(ctx: Request, params: SubscriptionsListenRequestParams) -> HandlerResult:
            return await self._listen(ctx, params, news)

        async def subscribe(ctx: Request, params: SubscribeRequestParams) -> HandlerResult:
            return await self._subscribe(ctx, params, {str(one.uri) for one in await server.list_resources()})

        low = server._lowlevel_server  # pyright: ignore[reportPrivateUsage]  # MCPServer has no door for these
        low.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, listen)
        low.add_request_handler("resources/subscribe", SubscribeRequestParams, subscribe)
        low.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, self._unsubscribe)

    def end(self) -> None:
        """End the streams of all who listen, and tell them so: the server is about to stop, and waits for nobody."""
        for stream in self._streams:
            stream.close()

    async def _run(self, run_id: str, ctx: Context) -> str:
        return (await self._found(run_id, ctx)).model_dump_json()

    async def _result(self, run_id: str, ctx: Context) -> str:
        run = await self._found(run_id, ctx)
        return RunResult.model_validate(run, from_attributes=True).model_dump_json()

    async def _found(self, run_id: str, ctx: Context) -> Run:
        try:
            return await self._atlas.get_run(caller_of(self._atlas, self._transport, ctx), run_id, wait_seconds=0)
        except UnknownRun as error:
            raise ResourceNotFoundError(str(error)) from None
        except AtlasError as error:
            raise ResourceError(str(error)) from None

    # -- since 2026-07-28: the request itself stays open, and what it asked for is told on it

    async def _listen(
        self, ctx: Request, params: SubscriptionsListenRequestParams, news: SubscriptionBus
    ) -> HandlerResult:
        addresses = dict.fromkeys(map(str, params.notifications.resource_subscriptions or ()))
        if len(addresses) > MAX_ADDRESSES:
            raise MCPError(
                INVALID_PARAMS, f"{len(addresses)} addresses are too many: listen to {MAX_ADDRESSES} at most."
            )
        if len(self._streams) >= MAX_LISTENING:
            raise MCPError(INTERNAL_ERROR, "too many are listening: close a stream and listen again")
        caller, own = caller_of(self._atlas, self._transport, ctx), _OwnNews(news)
        stream = ListenHandler(own)
        self._streams.add(stream)
        try:
            watches = {address: await self._watch(caller, address) for address in addresses}
            done: list[HandlerResult] = []
            async with anyio.create_task_group() as tasks:
                for address, watch in watches.items():
                    if watch is not None:
                        tasks.start_soon(_guarded, watch, _publishing(own, address))
                done.append(await stream(ctx, params))
                tasks.cancel_scope.cancel()
            return done[0]
        except ExceptionGroup as failures:
            raise failures.exceptions[0]  # noqa: B904  # only the handler fails: its own error, as it was raised
        finally:
            self._streams.discard(stream)

    # -- before: a subscription belongs to the connection

    async def _subscribe(self, ctx: Request, params: SubscribeRequestParams, unchanging: set[str]) -> EmptyResult:
        address = str(params.uri)
        connection = ctx.session._connection  # pyright: ignore[reportPrivateUsage]  # nothing else knows when it closes
        watches = cast("dict[str, anyio.CancelScope]", connection.state.setdefault(_WATCHES, {}))
        if address in watches:
            return EmptyResult()
        if len(watches) >= MAX_ADDRESSES:
            raise MCPError(INVALID_PARAMS, f"{MAX_ADDRESSES} addresses are watched: unsubscribe from one first.")
        if address in unchanging:
            return EmptyResult()
        watch = await self._watch(caller_of(self._atlas, self._transport, ctx), address)
        if watch is None:
            raise MCPError(INVALID_PARAMS, f"there is no resource {address!r}", data={"uri": address})
        if address in watches:  # subscribed to twice at once
            return EmptyResult()
        scope = watches[address] = anyio.CancelScope()
        connection.exit_stack.callback(scope.cancel)

        async def follow() -> None:
            with scope:
                await _guarded(watch, lambda: ctx.session.send_resource_updated(address))
            if watches.get(address) is scope:
                del watches[address]

        cast("TaskGroup", ctx.lifespan_context).start_soon(follow)
        return EmptyResult()

    async def _unsubscribe(self, ctx: Request, params: UnsubscribeRequestParams) -> EmptyResult:
        watches = ctx.session._connection.state.get(_WATCHES, {})  # pyright: ignore[reportPrivateUsage]
        if scope := watches.pop(str(params.uri), None):
            scope.cancel()
        return EmptyResult()

    async def _watch(self, caller: Caller, address: str) -> Callable[[Tell], Awaitable[None]] | None:
        """What tells of each change from now on until the run has ended; None for what is no run of the caller."""
        if not (match := _ADDRESS.fullmatch(address)):
            return None
        run_id, of_result = match[1], bool(match[2])
        try:
            run = await self._atlas.get_run(caller, run_id, wait_seconds=0)
        except UnknownRun:
            return None
        except AtlasError as error:
            raise MCPError(INTERNAL_ERROR, str(error)) from None

        async def watch(tell: Tell, run: Run = run) -> None:
            since, came_to = _last(run), _came_to(run)
            while run.status not in ENDED and not self._atlas.draining:  # then nobody is let wait
                run = await self._atlas.get_run(caller, run_id, since=since, wait_seconds=MAX_WAIT)
                since, before, came_to = max(since, _last(run)), came_to, _came_to(run)
                if came_to != before if of_result else run.events:
                    await tell()

        return watch


class _OwnNews:
    """What one client listens to: the server's news, and that of the runs it named."""

    def __init__(self, of_server: SubscriptionBus) -> None:
        self._of_server = of_server
        self._own = InMemorySubscriptionBus()

    async def publish(self, event: ServerEvent) -> None:
        """Tell this client alone."""
        await self._own.publish(event)

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Hear both, until the result is called."""
        ends = self._of_server.subscribe(listener), self._own.subscribe(listener)

        def unsubscribe() -> None:
            for end in ends:
                end()

        return unsubscribe


def _publishing(news: _OwnNews, address: str) -> Tell:
    return lambda: news.publish(ResourceUpdated(uri=address))


async def _guarded(watch: Callable[[Tell], Awaitable[None]], tell: Tell) -> None:
    """Watch; what keeps one from being watched is logged and must not end the others."""
    try:
        await watch(tell)
    except UnknownRun:
        return  # it has ended, and was deleted
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return  # the client is gone
    except Exception:  # noqa: BLE001
        _log.exception("a run is watched no longer for one that had subscribed to it")


def _last(run: Run) -> int:
    return run.events[-1].seq if run.events else 0


def _came_to(run: Run) -> RunResult:
    return RunResult.model_validate(run, from_attributes=True)
