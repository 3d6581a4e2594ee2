"""The lasting session with one other MCP server: opened, looked after, and opened again when it is lost.

Promise: `keep` holds the session in its own task and never ends by itself; whatever the server does, nobody else is
kept waiting for it. It is asked for its tools at the start, when it says that they changed, and every HEALTH_SECONDS,
which is also how it is seen to be well. A lost server is started again after a pause that doubles, with a random part.
"""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import anyio
import anyio.to_thread
import mcp_types as types
from mcp import Client, MCPError
from mcp.client.subscriptions import SubscriptionLost
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from atlas_mcp import __version__
from atlas_mcp.reach.servers.listing import Listing, check_listing, told_of
from atlas_mcp.reach.servers.pipes import over_pipes
from atlas_mcp.reach.servers.reasons import is_closed, reason_of
from atlas_mcp.reach.servers.web import over_http

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from atlas_mcp.reach.servers.listing import Told
    from atlas_mcp.reach.servers.log import ServerLog
    from atlas_mcp.reach.servers.logins import Login

    State = Literal["starting", "ready", "failing"]

OPEN_SECONDS = 30.0
"""From the start of the program, or the connection, to its tools; `npx` may fetch a package first."""
HEALTH_SECONDS = 60.0
ANSWER_SECONDS = 10.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0
_WELL_SECONDS = 60.0  # after which a loss is not counted with the one before
_MOST_PAGES = 50
_QUIET_SECONDS = 0.25  # between two listings: a server that never stops saying that its tools changed
OUR_NAME = "atlas"
_OURSELVES = types.Implementation(name=OUR_NAME, version=__version__)


class LostError(Exception):
    """Raised when a session cannot go on; the text says why."""


class Link:
    """One server. `listing` is what it offered last, `on_listing` is awaited with each new one."""

    def __init__(
        self,
        login: Login,
        log: ServerLog,
        *,
        flagged: Callable[[str], str],
        on_listing: Callable[[Listing], Awaitable[None]],
    ) -> None:
        self.config = login.config
        self.login = login
        self.log = log
        self.state: State = "starting"
        self.reason = ""
        self.version = ""
        self.losses = 0
        self.seconds: float | None = None
        self.listing = Listing()
        self.settled = anyio.Event()
        self._flagged = flagged
        self._on_listing = on_listing
        self._client: Client | None = None
        self._open = anyio.Event()
        self._wake = anyio.Event()
        self._listed: list[Told] | None = None
        self._again_at = 0.0
        self._busy = 0
        self._doubt = False
        self._trouble = ""

    # -- its life

    async def keep(self) -> None:
        """Hold the session, for ever; cancel it to end."""
        while True:
            began = anyio.current_time()
            try:
                await self._session()
                reason = self._trouble or "it ended the connection"
            except Exception as error:  # noqa: BLE001 - whatever a stranger's server makes of a session
                reason = self._told(error)
            was_well = self.state == "ready" and anyio.current_time() - began > _WELL_SECONDS
            self.losses = 1 if was_well else self.losses + 1
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self.losses - 1)) * random.uniform(0.5, 1.0)  # noqa: S311
            self.state, self.reason = "failing", reason
            self._again_at = anyio.current_time() + pause
            self.log.note(f"{reason}; again in {pause:.1f} s")
            self.settled.set()
            with anyio.move_on_after(pause):
                await self.login.awaited()
                self.losses = 0
            self.state = "starting"

    async def once(self) -> float:
        """Open the session, list the tools, and close it; how many seconds it took. Raises LostError."""
        began = anyio.current_time()
        try:
            async with self._opened():
                return anyio.current_time() - began
        except Exception as error:  # noqa: BLE001 - as above
            raise LostError(self._told(error)) from None

    def _told(self, error: Exception) -> str:
        """Why the session ended: what was seen on the wire, where the error only says that it is closed."""
        return self._trouble if self._trouble and is_closed(error) else reason_of(error)

    async def _session(self) -> None:
        async with self._opened() as client, anyio.create_task_group() as tasks:
            tasks.start_soon(self._hear, client)
            await self._look_after(client)
            tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[Client]:
        self._trouble, self._wake, began = "", anyio.Event(), anyio.current_time()
        connect = (
            over_http(self.login, self._lost) if self.config.url else over_pipes(self.config, self.log, self._lost)
        )
        client = Client(
            connect,
            cache=None,
            message_handler=self._heard,
            client_info=_OURSELVES,
        )
        with anyio.CancelScope(deadline=began + OPEN_SECONDS) as opening:
            try:
                async with client:
                    if client.server_info is not None and client.server_info.name == OUR_NAME:
                        raise LostError(
                            "it is ATLAS itself, and its agents would ask themselves: take it out of the file"
                        )
                    await self._list(client)
                    opening.deadline = float("inf")
                    self._ready(client, anyio.current_time() - began)
                    yield client
            finally:
                self._client, self._open = None, anyio.Event()
        if opening.cancelled_caught:
            raise LostError(f"it did not answer within {OPEN_SECONDS:g} s of its start")

    def _ready(self, client: Client, seconds: float) -> None:
        self._client, self.state, self.reason, self.seconds = client, "ready", "", seconds
        self.version = client.protocol_version
        self._open.set()
        self.settled.set()

    def _lost(self, reason: str) -> None:
        self._trouble = self._trouble or reason
        self._client, self._open = None, anyio.Event()
        self._wake.set()

    # -- what it says

    async def _heard(self, message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self._wake.set()

    async def _hear(self, client: Client) -> None:
        """Where the protocol has it, ask to be told of changes; a server that will not is asked every minute anyway."""
        tools = client.server_capabilities.tools
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or tools is None or not tools.list_changed:
            return
        try:
            async with client.listen(tools_list_changed=True) as events:
                async for _ in events:
                    self._wake.set()
        except (MCPError, SubscriptionLost, TimeoutError, RuntimeError) as error:
            self.log.note(f"it does not tell of changes any more: {reason_of(error)}")

    async def _look_after(self, client: Client) -> None:
        while not self._trouble:
            with anyio.move_on_after(HEALTH_SECONDS):
                await self._wake.wait()
            if self._trouble:
                return
            self._wake = anyio.Event()
            try:
                with anyio.fail_after(ANSWER_SECONDS):
                    await self._list(client)
            except TimeoutError:
                if not self._busy:  # one that does one thing at a time answers nothing while it works
                    raise LostError(f"it did not say within {ANSWER_SECONDS:g} s which tools it has") from None
            await anyio.sleep(_QUIET_SECONDS)

    async def _list(self, client: Client) -> None:
        tools: list[Told] = []
        cursor: str | None = None
        if client.server_capabilities.tools is not None:
            for _ in range(_MOST_PAGES):
                page = await client.list_tools(cursor=cursor)
                tools += [told_of(tool) for tool in page.tools]
                cursor = page.next_cursor
                if cursor is None:
                    break
        if tools != self._listed:
            self.listing = await anyio.to_thread.run_sync(check_listing, self.config, tools, self._flagged)
            self._listed = tools
        await self._on_listing(self.listing)

    # -- what others want of it

    @asynccontextmanager
    async def at_work(self) -> AsyncGenerator[Client]:
        """The open session, for one call. A server that is just being started is waited for; LostError if in vain."""
        with anyio.move_on_after(OPEN_SECONDS):
            while self._client is None:
                wait = self._again_at - anyio.current_time()
                if self.state == "failing" and wait > 2 * FIRST_PAUSE:
                    raise LostError(f"{self.reason}; it is tried again in {wait:.0f} s")
                opened = self._open
                with anyio.move_on_after(0.5):
                    await opened.wait()
        if self._client is None:
            raise LostError(self.reason or f"it was not ready within {OPEN_SECONDS:g} s")
        self._busy += 1
        try:
            yield self._client
        finally:
            self._busy -= 1

    def doubt(self) -> None:
        """Look soon whether the server is well; one that is not is started again."""
        self._wake.set()

    @property
    def trouble(self) -> str:
        """Why the last session ended, or is about to."""
        return self._trouble or self.reason
