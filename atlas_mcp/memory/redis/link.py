"""The link to one Redis: calls with a deadline, and none at all while it does not answer.

Promise: a call takes at most CALL_SECONDS, and after one that failed no other waits: each is refused at once until the
Redis can be written again, which is tried in the background every RETRY_SECONDS. The library tries nothing again by
itself. The address is shown without its password.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio

from atlas_mcp.errors import ConfigurationError, MissingPackage, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pydantic import SecretStr

SETTING = "ATLAS_REDIS_URL"
CALL_SECONDS = 0.5
CONNECT_SECONDS = 1.0
RETRY_SECONDS = 1.0
WATCH_SECONDS = 5.0
_SCHEMES = ("redis", "rediss", "unix")
_AT_ONCE = 20  # calls, and so connections
log = logging.getLogger(__name__)


class Link:
    """Where the Redis is, and whether it answers. `keep` must run beside the calls."""

    def __init__(self, url: SecretStr) -> None:
        self._url = url.get_secret_value()
        parts = urlsplit(self._url)
        if parts.scheme not in _SCHEMES:
            step = "Give redis://HOST:PORT/0, rediss:// for TLS, or unix:///PATH."
            raise ConfigurationError("it is not the address of a Redis.", argument=SETTING, next_step=step)
        if find_spec("redis") is None:
            raise MissingPackage("redis", "redis")
        where = f"{parts.hostname or 'localhost'}:{parts.port or 6379}" if parts.scheme != "unix" else ""
        self.shown = f"{parts.scheme}://{where}{parts.path}"
        self.since: datetime | None = None
        self.reason = "it is being connected"
        self.generation = ""
        """Which start of the server answers: one that was started anew may have come back with what is long past."""
        self._met = ""
        self._redis: Any = None
        self._room = anyio.Semaphore(_AT_ONCE, fast_acquire=True)
        self._changed = anyio.Event()

    @property
    def answers(self) -> bool:
        """Whether calls are made at all."""
        return self.generation != ""

    async def call(self, do: Callable[[Any], Awaitable[Any]]) -> Any:
        """What the Redis answers to what is done with the library's client. StoreUnavailable when it does not."""
        from redis.exceptions import RedisError

        async with self._room:
            if self._redis is None or not self.answers:  # also when it was lost while we waited for room
                raise self._gone()
            try:
                with anyio.fail_after(CALL_SECONDS):
                    return await do(self._redis)
            except (RedisError, OSError, TimeoutError) as error:
                self._lost(error)
                raise self._gone() from error

    async def until(self, answers: bool) -> None:
        """Wait until it answers, or until it does not."""
        while self.answers != answers:
            await self._changed.wait()

    def connection(self) -> Any:
        """A client of its own, for one who listens for long; whoever asks for it closes it."""
        return self._client()

    async def keep(self) -> None:
        """Connect, and see again and again whether it answers; until cancelled."""
        redis = self._redis = self._client()
        try:
            while True:
                await self._ping(redis)
                with anyio.move_on_after(WATCH_SECONDS if self.answers else RETRY_SECONDS):
                    await self._changed.wait()
        finally:
            self._redis, self.generation = None, ""
            with anyio.move_on_after(CONNECT_SECONDS, shield=True):
                await redis.aclose()

    def _client(self) -> Any:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        return Redis.from_url(  # pyright: ignore[reportUnknownMemberType]  # its options are not typed
            self._url,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=None,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            decode_responses=True,
            redis_connect_func=self._greeted,
        )

    async def _greeted(self, connection: Any) -> None:
        """Learn with every connection which start of the server answers."""
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        said = await connection.read_response()
        text = said.decode() if isinstance(said, bytes) else str(said)
        ids = [line.removeprefix("run_id:") for line in text.splitlines() if line.startswith("run_id:")]
        self._met = ids[0].strip() if ids else "one"
        if self.answers:
            self.generation = self._met

    async def _ping(self, redis: Any) -> None:
        from redis.exceptions import RedisError

        try:
            with anyio.fail_after(CONNECT_SECONDS + CALL_SECONDS):
                if not self.answers:  # a connection of before would not say which start of the server it is
                    await redis.connection_pool.disconnect()
                await redis.set("atlas:probe", "", px=1000)  # one that is full, or a replica, would answer a PING
        except (RedisError, OSError, TimeoutError) as error:
            self._lost(error)
            return
        if not self.answers:
            if self.since is not None:
                log.warning("%s answers again", self.shown)
            self.generation, self.since, self.reason = self._met, None, ""
            self._turn()

    def _lost(self, error: BaseException) -> None:
        told = str(error) or f"no answer within {CALL_SECONDS:g} s"
        self.reason = told.splitlines()[0][:200]
        if self.since is None:
            self.since = datetime.now(UTC)
            log.warning("%s does not answer: %s", self.shown, self.reason)
        if self.answers:
            self.generation = ""
            self._turn()

    def _turn(self) -> None:
        turned, self._changed = self._changed, anyio.Event()
        turned.set()

    def _gone(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self.shown} does not answer: {self.reason}.",
            next_step=f"The record answers meanwhile. Start it, or mend {SETTING}.",
        )
