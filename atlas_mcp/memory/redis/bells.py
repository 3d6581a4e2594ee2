"""How those who wait for a run hear at once what happens to it in another process, on whatever machine.

Promise: ringing never waits. A ring may be lost, when the Redis is: who waits looks at the run from time to time
anyway, and hears of it a little later.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import anyio

from atlas_mcp.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlas_mcp.memory.redis.link import Link

_MOST = 10_000
_PAUSE = 1.0
log = logging.getLogger(__name__)


class FarBells:
    """The bells of one record, between its processes. `heard` is called with the id of a run that was rung for."""

    def __init__(self, link: Link, space: str) -> None:
        self._link = link
        self._channel = f"atlas:{space}:bells"
        self._me = uuid4().hex[:8]
        self._rung: dict[str, None] = {}
        self._wake = anyio.Event()
        self.heard: Callable[[str], None] | None = None

    def ring(self, run_id: str) -> None:
        """Let the other processes know that something happened to the run."""
        if self._link.answers and len(self._rung) < _MOST:
            self._rung[run_id] = None
            self._wake.set()

    async def send(self) -> None:
        """Send what was rung, for as long as this process lives."""
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            rung, self._rung = [*self._rung], {}
            with suppress(StoreUnavailable):
                await self._link.call(lambda redis, ids=rung: redis.publish(self._channel, " ".join((self._me, *ids))))

    async def listen(self) -> None:
        """Pass on what others ring, for as long as this process lives."""
        from redis.exceptions import RedisError

        while True:
            await self._link.until(answers=True)
            try:
                await self._hear()
            except (RedisError, OSError) as error:
                log.warning("bells of other processes are not heard: %s", error)
            await anyio.sleep(_PAUSE)

    async def _hear(self) -> None:
        redis = self._link.connection()
        try:
            async with redis.pubsub(ignore_subscribe_messages=True) as channel:
                await channel.subscribe(self._channel)
                while self._link.answers:
                    message = await channel.get_message(timeout=_PAUSE)
                    self._pass_on(message)
        finally:
            with anyio.move_on_after(_PAUSE, shield=True):
                await redis.aclose()

    def _pass_on(self, message: Any) -> None:
        if message is None or self.heard is None:
            return
        sender, *ids = str(message["data"]).split(" ")
        for run_id in ids if sender != self._me else ():
            self.heard(run_id)
