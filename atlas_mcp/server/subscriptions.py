"""Who hears of changes of resources: each client of those that it named, of its own caller's, in either protocol era.

Both ways are there: `resources/subscribe` of connections that began with a handshake, and `subscriptions/listen` since
2026-07-28. What tells of a change is asked of the nouns, for the caller and the address: what belongs to another does
not exist, and of an address that names nothing nothing is ever heard.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol, cast

import anyio
from mcp import MCPError
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourceUpdated
from mcp.types import INVALID_PARAMS, EmptyResult, SubscribeRequestParams, UnsubscribeRequestParams
from mcp_types import INTERNAL_ERROR, SubscriptionsListenRequestParams

from atlas_mcp.errors import AtlasError, Unavailable, UnknownRun
from atlas_mcp.server.caller import Transport, caller_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from anyio.abc import TaskGroup
    from mcp.server import MCPServer
    from mcp.server.context import HandlerResult, ServerRequestContext
    from mcp.server.subscriptions import ServerEvent, SubscriptionBus

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.model.caller import Caller

    Request = ServerRequestContext[Any, Any]
    Tell = Callable[[], Awaitable[None]]
    Watch = Callable[[Tell], Awaitable[None]]

MAX_LISTENING = 4_096
MAX_OF_ONE = 1_024
"""Streams that a server holds open, and of those the ones of one caller, so that there is room for others."""
MAX_ADDRESSES = 256
AGAIN_SECONDS = 5.0
_WATCHES = "atlas.watches"
_log = logging.getLogger(__name__)


class Watched(Protocol):
    """A noun whose resources change."""

    async def watch(self, caller: Caller, address: str) -> Watch | None:
        """What tells of each change from now on, and ends when there can be no more; None for what is no resource of
        this noun and caller. Raises AtlasError when that cannot be said."""
        ...


@asynccontextmanager
async def watching(_: object) -> AsyncGenerator[TaskGroup]:
    """The lifespan of a server: where it watches resources for connections, until it ends."""
    async with anyio.create_task_group() as tasks:
        yield tasks
        tasks.cancel_scope.cancel()


class Subscriptions:
    """Who hears of what, on one server."""

    def __init__(self, atlas: Atlas, transport: Transport, watched: Sequence[Watched]) -> None:
        self._atlas = atlas
        self._transport: Transport = transport
        self._watched = watched
        self._streams: dict[ListenHandler, str] = {}

    def offer(self, server: MCPServer[Any], news: SubscriptionBus) -> None:
        """Register the requests; `news` is the server's own, of which everybody who listens hears too."""

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

    # -- since 2026-07-28: the request itself stays open, and what it asked for is told on it

    async def _listen(
        self, ctx: Request, params: SubscriptionsListenRequestParams, news: SubscriptionBus
    ) -> HandlerResult:
        addresses = dict.fromkeys(map(str, params.notifications.resource_subscriptions or ()))
        if len(addresses) > MAX_ADDRESSES:
            raise MCPError(
                INVALID_PARAMS, f"{len(addresses)} addresses are too many: listen to {MAX_ADDRESSES} at most."
            )
        caller, own = caller_of(self._atlas, self._transport, ctx), _OwnNews(news)
        if len(self._streams) >= MAX_LISTENING or [*self._streams.values()].count(caller.id) >= MAX_OF_ONE:
            raise MCPError(INTERNAL_ERROR, "too many are listening: close a stream and listen again")
        stream = ListenHandler(own)
        self._streams[stream] = caller.id
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
            del self._streams[stream]

    # -- before: a subscription belongs to the connection

    async def _subscribe(self, ctx: Request, params: SubscribeRequestParams, unchanging: set[str]) -> EmptyResult:
        address = str(params.uri)
        connection = ctx.session._connection  # pyright: ignore[reportPrivateUsage]  # nothing else knows when it closes
        if _WATCHES not in connection.state:
            connection.exit_stack.callback(_end, connection.state.setdefault(_WATCHES, {}))
        watches = cast("dict[str, anyio.CancelScope]", connection.state[_WATCHES])
        if address in watches:
            return EmptyResult()
        if len(watches) >= MAX_ADDRESSES:
            raise MCPError(INVALID_PARAMS, f"{MAX_ADDRESSES} addresses are watched: unsubscribe from one first.")
        watch = await self._watch(caller_of(self._atlas, self._transport, ctx), address)
        if watch is None and address in unchanging:
            return EmptyResult()
        if watch is None:
            raise MCPError(INVALID_PARAMS, f"there is no resource {address!r}", data={"uri": address})
        if address in watches:  # subscribed to twice at once
            return EmptyResult()
        scope = watches[address] = anyio.CancelScope()

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

    async def _watch(self, caller: Caller, address: str) -> Watch | None:
        try:
            for noun in self._watched:
                if (watch := await noun.watch(caller, address)) is not None:
                    return watch
        except AtlasError as error:
            raise MCPError(INTERNAL_ERROR, str(error)) from None
        return None


class _OwnNews:
    """What one client listens to: the server's news, and that of the resources it named."""

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


def _end(watches: dict[str, anyio.CancelScope]) -> None:
    for scope in watches.values():
        scope.cancel()


async def _guarded(watch: Watch, tell: Tell) -> None:
    """Watch, again where something did not answer meanwhile; what keeps one from being watched is logged and must not
    end the others."""
    try:
        while True:
            try:
                return await watch(tell)
            except Unavailable as error:
                _log.warning("a resource is watched again in %g s: %s", AGAIN_SECONDS, error)
                await anyio.sleep(AGAIN_SECONDS)
    except UnknownRun:
        return None  # it has ended, and was deleted
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return None  # the client is gone
    except Exception:  # noqa: BLE001
        _log.exception("a resource is watched no longer for one that had subscribed to it")
