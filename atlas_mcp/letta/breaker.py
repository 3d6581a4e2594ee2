"""The breaker between ATLAS and one Letta server: calls to a server that is gone fail at once, until it is back.

Promise: after FAILURES calls in a row that did not reach the server, no call waits for it any more: each is answered
at once with since when it is gone. Every few seconds one call first asks for the server's health, in PROBE_SECONDS at
most; when that answers, this call and all after it go through, without anybody doing anything. An answer is an answer,
whatever it says; only a gateway's own 502, 503 and 504 count as not reaching the server.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import anyio
import httpx

from atlas_mcp.errors import LettaUnavailable
from atlas_mcp.letta.faults import NotBegun, check_kind

FAILURES = 3
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 5.0
PROBE_SECONDS = 3.0
CONNECT_SECONDS = 5.0
READ_SECONDS = 50.0
"""Under the door's own deadline for a call, so that a server that hangs is seen here as one."""

_GATEWAY = frozenset({502, 503, 504})
log = logging.getLogger(__name__)


class Breaker:
    """What is known of one server: whether it is reached, and since when not. `who` is how people know it."""

    def __init__(self, who: str) -> None:
        self.who = who
        self.since: datetime | None = None
        self.reason = ""
        self._failures = 0
        self._pause = FIRST_PAUSE
        self._next_probe = 0.0
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether calls are answered with an error at once."""
        return self._failures >= FAILURES

    def reached(self) -> None:
        """Note that the server answered."""
        if self.is_open:
            log.warning("%s answers again", self.who)
        self._failures, self._pause, self.since, self.reason = 0, FIRST_PAUSE, None, ""

    def failed(self, reason: str) -> None:
        """Note that the server was not reached."""
        if not self._failures:
            self.since = datetime.now(UTC)
        self._failures += 1
        self.reason = reason
        self._next_probe = anyio.current_time() + self._pause
        if self._failures == FAILURES:
            log.warning("%s cannot be reached: %s", self.who, reason)

    def probe_is_due(self) -> bool:
        """Whether this call is the one that asks whether the server is back; it must then say how that went."""
        if self._probing or anyio.current_time() < self._next_probe:
            return False
        self._probing = True
        return True

    def probed(self, failure: str | None) -> None:
        """Note what the probe came to: None when the server answered."""
        self._probing = False
        if failure is None:
            self.reached()
        else:
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self.failed(failure)

    def error(self) -> NotBegun:
        """What a call is told that does not reach the server."""
        since = f" since {self.since:%H:%M:%S} UTC" if self.since else ""
        return NotBegun(
            f"{self.who} has not been reached{since}: {self.reason}.",
            next_step="Start it, or mend its address (`atlas-mcp doctor` tells more). ATLAS asks again by itself, "
            f"at the latest {LONGEST_PAUSE:g} s after it is back.",
        )


class BreakingClient(httpx.AsyncClient):
    """An httpx client whose requests go through a breaker. `health` is the address that tells whether the server is up.

    A request that fails says which server it was. LettaUnavailable when the breaker is open.
    """

    def __init__(self, breaker: Breaker, health: str) -> None:
        super().__init__(
            follow_redirects=True,
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=1_000, max_keepalive_connections=100),
        )
        self.breaker = breaker
        self._health = health

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """See httpx.AsyncClient.send. LettaUnavailable for an answer that is none of Letta's."""
        response = await self.reach(request, **options)
        try:
            check_kind(response)
        except LettaUnavailable:
            await response.aclose()
            raise
        return response

    async def reach(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """What answers, whatever it is."""
        if self.breaker.is_open:
            await self._probe()
        try:
            response = await super().send(request, **options)
        except httpx.PoolTimeout:
            raise
        except httpx.TransportError as error:
            reason = _reason(error)
            self.breaker.failed(reason)
            raise type(error)(f"{self.breaker.who}: {reason}", request=request) from error
        if is_gateways_own(response):
            self.breaker.failed(f"a gateway in front of it answers {response.status_code}")
        else:
            self.breaker.reached()
        return response

    async def _probe(self) -> None:
        if not self.breaker.probe_is_due():
            raise self.breaker.error()
        failure: str | None = "it was being asked when the call was cancelled"
        try:
            failure = await self._asked()
        finally:
            self.breaker.probed(failure)
        if failure is not None:
            raise self.breaker.error()

    async def _asked(self) -> str | None:
        try:
            with anyio.fail_after(PROBE_SECONDS):
                answer = await super().send(self.build_request("GET", self._health))
        except TimeoutError:
            return f"no answer within {PROBE_SECONDS:g} s"
        except httpx.TransportError as error:
            return _reason(error)
        return f"a gateway in front of it answers {answer.status_code}" if is_gateways_own(answer) else None


def is_gateways_own(response: httpx.Response) -> bool:
    """Whether a gateway says that it does not reach the server behind it; Letta's own errors are JSON."""
    return response.status_code in _GATEWAY and "json" not in response.headers.get("content-type", "")


def _reason(error: httpx.TransportError) -> str:
    return str(error) or type(error).__name__
