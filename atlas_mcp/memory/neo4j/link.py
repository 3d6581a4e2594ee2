"""The link to one Neo4j, over Bolt: calls with a deadline, and none at all while it does not answer.

Promise: a call ends within its deadline, and after one that failed no other waits: each is refused at once until the
server answers again, which is asked for in the background every RETRY_SECONDS. The driver tries nothing again by
itself. The address is shown without its password.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import anyio

from atlas_mcp.errors import ConfigurationError, MissingPackage, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr

SETTING = "ATLAS_NEO4J_URL"
CALL_SECONDS = 2.0
CLOSE_SECONDS = 1.0
RETRY_SECONDS = 1.0
_SCHEMES = tuple(f"{name}{how}" for name in ("bolt", "neo4j") for how in ("", "+s", "+ssc"))
_AT_ONCE = 10
log = logging.getLogger(__name__)

Statement = tuple[str, dict[str, Any]]


class Link:
    """Where the Neo4j is, and whether it answers. `keep` must run beside the calls."""

    def __init__(self, url: SecretStr) -> None:
        parts = urlsplit(url.get_secret_value())
        try:
            fits = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
        except ValueError:
            fits = False
        if not fits or "/" in parts.path.strip("/"):
            step = "Give neo4j://USER:PASSWORD@HOST:7687/DATABASE, or bolt://; with +s behind it for TLS."
            raise ConfigurationError("it is not the address of a Neo4j.", argument=SETTING, next_step=step)
        if find_spec("neo4j") is None:
            raise MissingPackage("neo4j", "neo4j")
        self.shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
        self._database = parts.path.strip("/") or None
        self.answers = False
        """Whether calls are made at all."""
        self.since: datetime | None = None
        self.reason = "it is being connected"
        self._driver: Any = None
        self._room = anyio.Semaphore(_AT_ONCE, fast_acquire=True)
        self._changed = anyio.Event()

    async def read(self, cypher: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        """The rows of a query that changes nothing. StoreUnavailable when there is no answer."""
        return await self._done([(cypher, values)], seconds=CALL_SECONDS, reads=True)

    async def write(self, statements: Sequence[Statement], *, seconds: float = CALL_SECONDS) -> list[dict[str, Any]]:
        """Execute these in one transaction, all or none; the rows of the last. StoreUnavailable when it is not known
        whether they were, or that they were not."""
        return await self._done(statements, seconds=seconds, reads=False)

    async def keep(self) -> None:
        """Connect, and see again and again whether it answers; until cancelled."""
        self._driver = self._connected()
        try:
            while True:
                if not self.answers:
                    await self._knock()
                with anyio.move_on_after(RETRY_SECONDS):
                    await self._changed.wait()
        finally:
            driver, self._driver, self.answers = self._driver, None, False
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await driver.close()

    async def _done(self, statements: Sequence[Statement], *, seconds: float, reads: bool) -> list[dict[str, Any]]:
        from neo4j.exceptions import DriverError, Neo4jError

        async with self._room:
            if self._driver is None or not self.answers:  # also when it was lost while we waited for room
                raise self._gone()
            try:
                with anyio.fail_after(seconds):
                    return await self._transaction(statements, reads=reads)
            except (DriverError, Neo4jError, OSError, TimeoutError) as error:
                self._lost(error, seconds)
                raise self._gone() from error

    async def _transaction(self, statements: Sequence[Statement], *, reads: bool) -> list[dict[str, Any]]:
        from neo4j import READ_ACCESS, WRITE_ACCESS

        mode, rows = READ_ACCESS if reads else WRITE_ACCESS, list[dict[str, Any]]()
        async with (
            self._driver.session(database=self._database, default_access_mode=mode) as session,
            await session.begin_transaction() as transaction,
        ):
            for cypher, values in statements:
                rows = await (await transaction.run(cypher, values)).data()
            await transaction.commit()
        return rows

    async def _knock(self) -> None:
        from neo4j.exceptions import DriverError, Neo4jError

        try:
            with anyio.fail_after(CALL_SECONDS):
                await self._transaction([("RETURN 1 AS one", {})], reads=True)
        except (DriverError, Neo4jError, OSError, TimeoutError) as error:
            self._lost(error, CALL_SECONDS)
            return
        if self.since is not None:
            log.warning("%s answers again", self.shown)
        self.answers, self.since, self.reason = True, None, ""

    def _connected(self) -> Any:
        from neo4j import AsyncGraphDatabase

        return AsyncGraphDatabase.driver(  # pyright: ignore[reportUnknownMemberType]  # its options are not typed
            self.shown,
            auth=self._auth,
            connection_timeout=CALL_SECONDS,
            connection_acquisition_timeout=CALL_SECONDS,
            max_transaction_retry_time=0,
            max_connection_pool_size=_AT_ONCE + 1,
            telemetry_disabled=True,
            user_agent="atlas",
        )

    def _lost(self, error: BaseException, seconds: float) -> None:
        told = str(error) or f"no answer within {seconds:g} s"
        self.reason = told.splitlines()[0][:200]
        if self.since is None:
            self.since = datetime.now(UTC)
            log.warning("%s does not answer: %s", self.shown, self.reason)
        self.answers = False
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    def _gone(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self.shown} does not answer: {self.reason}.",
            next_step=f"The record answers meanwhile. Start it, or mend {SETTING}.",
        )
