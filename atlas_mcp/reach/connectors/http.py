"""How a service is asked over HTTP: the manners that all connectors have in common.

Promise: a call ends within its deadline and takes a bounded part of an answer. What a service asks for is honoured:
when it wants to be left alone, it is, by all turns of this process; up to WAIT_SECONDS are waited, and a longer time is
LimitReached, which says until when. A call is repeated only where that is safe: where the service refused to take it,
or where repeating changes nothing there. A redirect is followed within the service's own address only, so that a key
goes nowhere else. What goes wrong is ToolFailed and names the setting to mend; no key, address or text that was sent is
in it.
"""

from __future__ import annotations

import json
import random
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, cast
from urllib.parse import quote, urlencode, urljoin, urlsplit

import anyio
import anyio.to_thread

from atlas_mcp import __version__
from atlas_mcp.errors import AtlasError, LimitReached, ToolFailed
from atlas_mcp.model.secrets import REDACTED, hidden
from atlas_mcp.model.status import Room
from atlas_mcp.reach.connectors.answer import Answer, exhausted_for, is_limit, objects, reason_of, wait_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    import httpx

    from atlas_mcp.reach.context import CallContext

CALL_SECONDS = 25.0
PAGE_SECONDS = 50.0
"""Of a call that has the service fetch a page first."""
WAIT_SECONDS = 10.0
TRIES = 3
MOST_BYTES = 5_000_000
_REDIRECTS = 3
_SAID_CHARS = 300
_PASSING = {500, 502, 503, 504}


@dataclass(frozen=True)
class About:
    """What is known of a service beforehand: its name, its address and the setting that has it, and what to do where
    it answers with a status. `secrets` are never shown, wherever they come from."""

    name: str
    address: str
    setting: str
    steps: Mapping[int, str]
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Request:
    """One call.

    `bucket` is what it counts against where a service has several limits; `repeat` whether it may be sent again though
    it may have been done, and `doubtful` what to tell of one that may have been done and is not repeated; `needs` the
    permission that it takes, and `missing` what it asks for, to be told if it is not there; `elsewhere` whether it may
    be redirected once to another address of the service's, where no key is sent.
    """

    method: str
    path: str
    params: Mapping[str, str | int] = field(default_factory=dict[str, "str | int"])
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    json: object = None
    content: bytes | None = None
    form: Mapping[str, str] | None = field(default=None, repr=False)
    bucket: str = ""
    repeat: bool = True
    doubtful: str | None = None
    needs: str = ""
    missing: str = ""
    elsewhere: bool = False
    most_bytes: int = MOST_BYTES
    seconds: float = CALL_SECONDS


class Refused(ToolFailed):
    """Raised when a service answered with a status that is no success; `status` is which."""

    def __init__(self, message: str, status: int, *, next_step: str | None = None) -> None:
        super().__init__(message, next_step=next_step)
        self.status = status


class _Again(Exception):
    """Raised when a call may succeed if it is sent again; `taken` is whether the service may have done it."""

    def __init__(self, error: AtlasError, *, taken: bool) -> None:
        self.error = error
        self.taken = taken


class Service:
    """One service, as all turns of this process share it: its connections, when it wants to be left alone, and how it
    last answered. `pause` is how it waits, for so many seconds."""

    def __init__(self, about: About, *, pause: Callable[[float], Awaitable[None]] = anyio.sleep) -> None:
        self.about = about
        self._pause = pause
        self._closed: dict[str, float] = {}
        self._http: httpx.AsyncClient | None = None
        self._opening = anyio.Lock()
        self._last: tuple[datetime, AtlasError | None] | None = None

    async def ask(self, request: Request) -> Answer:
        """Its answer, of a status below 300. ToolFailed, Refused, LimitReached."""
        try:
            with anyio.fail_after(request.seconds):
                answer = await self._ask(request)
        except TimeoutError:
            text = f"{self.about.name} did not answer within {request.seconds:g} s."
            error = ToolFailed(text, next_step=request.doubtful)
            self._last = datetime.now(UTC), error
            raise error from None
        except AtlasError as error:
            self._last = datetime.now(UTC), error
            raise
        self._last = datetime.now(UTC), None
        return answer

    async def read(self, request: Request) -> dict[str, Any]:
        """Its answer as an object of JSON."""
        return self.parsed(await self.ask(request))

    async def read_list(self, request: Request) -> list[dict[str, Any]]:
        """Its answer as a list of JSON, the objects in it."""
        found = _json(await self.ask(request))
        return objects({"": found}, "") if isinstance(found, list) else self._unread("a list of JSON", found)

    def parsed(self, answer: Answer) -> dict[str, Any]:
        """The object of JSON that it answered."""
        found = _json(answer)
        return cast("dict[str, Any]", found) if isinstance(found, dict) else self._unread("an object of JSON", found)

    def _unread(self, wanted: str, found: object) -> NoReturn:
        what = "with nothing" if found == "" else f"with something else than {wanted}"
        error = ToolFailed(f"{self.about.name} answered {what}.", next_step=f"Check {self.about.setting}.")
        self._last = datetime.now(UTC), error
        raise error

    def room(self, name: str) -> Room:
        """How it last answered, as the room of that name; it is not asked for that."""
        if self._last is None:
            return Room(name=name, health="idle", text="Configured; not asked since ATLAS was started.")
        at, error = self._last
        if error is None:
            return Room(name=name, health="ok", text=f"Answered at {at:%H:%M:%S} UTC.")
        text = f"At {at:%H:%M:%S} UTC: {error.message}"
        return Room(name=name, health="warning", text=text, next_step=error.next_step)

    async def aclose(self) -> None:
        """Close its connections."""
        if self._http is not None:
            await self._http.aclose()

    async def _ask(self, request: Request) -> Answer:
        attempt = 1
        while True:
            await self.ready(request.bucket)
            try:
                return await self._once(request)
            except _Again as failure:
                if failure.taken and not request.repeat:
                    failure.error.next_step = request.doubtful or failure.error.next_step
                    raise failure.error from None
                if attempt == TRIES:
                    raise failure.error from None
                if not isinstance(failure.error, LimitReached):  # for that is waited above
                    await self._pause(0.25 * 2**attempt * (1 + random.random()))  # noqa: S311 - no secret
                attempt += 1

    async def ready(self, bucket: str = "") -> None:
        """Wait until it may be asked, if that is soon; LimitReached if it is not."""
        left = self._closed.get(bucket, 0.0) - time.time()
        if left > WAIT_SECONDS:
            raise self._limit(left)
        if left > 0:
            await self._pause(left + 0.2 * random.random())  # noqa: S311 - so that not all come at once

    async def _once(self, request: Request) -> Answer:
        # not by httpx: it writes a space as "+", which OData takes for itself
        query = urlencode(request.params, safe="$:,/@'()", quote_via=quote, errors="replace")
        address = f"{self.about.address}{request.path}{'?' if query else ''}{query}"
        for _ in range(_REDIRECTS + 1):
            answer = await self._send(request, address)
            self._note_limits(request.bucket, answer)
            if answer.status < 300:
                return answer
            if not 300 <= answer.status < 400:
                raise self._refusal(request, answer)
            address = urljoin(address, answer.headers.get("location", ""))
            if request.elsewhere and urlsplit(address).scheme == urlsplit(self.about.address).scheme:
                request = replace(request, headers={}, elsewhere=False)
            elif request.method != "GET" or not self.owns(address):
                break
        raise ToolFailed(
            f"{self.about.name} answered with a redirect that is not followed.",
            next_step=f"Check {self.about.setting}: it must be the address of the service itself.",
        )

    def owns(self, address: str) -> bool:
        """Whether the address is one of the service itself."""
        return address.startswith(self.about.address + "/")

    async def _send(self, request: Request, address: str) -> Answer:
        import httpx

        client = await self._client()
        headers = {"user-agent": f"atlas-mcp/{__version__}", "accept": "application/json", **request.headers}
        sent = request.content
        if request.json is not None:  # not by httpx, which cannot write half a character
            headers["content-type"], sent = "application/json", json.dumps(request.json).encode()
        content = bytearray()
        try:
            async with client.stream(
                request.method,
                address,
                headers=headers,
                content=sent,
                data=request.form,
            ) as response:
                async for piece in response.aiter_bytes():
                    content += piece
                    if len(content) > request.most_bytes:
                        raise ToolFailed(
                            f"{self.about.name} answered with more than {request.most_bytes:,} bytes.",
                            next_step="Ask for less.",
                        )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise _Again(self._unreachable(error), taken=False) from error
        except (httpx.TransportError, httpx.StreamError) as error:
            raise _Again(self._unreachable(error), taken=True) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ToolFailed(f"{self.about.name} cannot be asked ({type(error).__name__}).") from error
        client.cookies.clear()  # what one caller was given is not for the next
        return Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, bytes(content))

    async def _client(self) -> httpx.AsyncClient:
        async with self._opening:
            if self._http is None:
                import httpx

                secure = self.about.address.startswith("https:")
                verify: Any = await anyio.to_thread.run_sync(httpx.create_ssl_context) if secure else False
                local = urlsplit(self.about.address).hostname in {"127.0.0.1", "localhost", "::1"}
                self._http = httpx.AsyncClient(
                    verify=verify,
                    timeout=httpx.Timeout(PAGE_SECONDS, connect=10.0),
                    follow_redirects=False,
                    trust_env=not local,  # a proxy of the environment is not meant for this machine
                )
            return self._http

    def _unreachable(self, error: Exception) -> AtlasError:
        reason = self._shown(str(error)) or type(error).__name__
        return ToolFailed(
            f"{self.about.name} cannot be reached, or broke off ({reason}).",
            next_step=f"Try again later; if it stays so, {self.about.setting} may be wrong.",
        )

    def _note_limits(self, bucket: str, answer: Answer) -> None:
        """Remember until when it wants to be left alone, if it says so."""
        if is_limit(answer):
            self._closed[bucket] = time.time() + wait_of(answer)
        elif (seconds := exhausted_for(answer)) is not None:
            self._closed[bucket] = time.time() + seconds

    def _refusal(self, request: Request, answer: Answer) -> Exception:
        if is_limit(answer):
            return _Again(self._limit(self._closed[request.bucket] - time.time()), taken=answer.status == 503)
        name, said, step = self.about.name, self._said(answer), self.about.steps.get(answer.status)
        if answer.status in _PASSING:
            error = Refused(f"{name} answered with status {answer.status}{said}.", answer.status, next_step=step)
            return _Again(error, taken=True)
        if answer.status == 404 and request.missing:
            return Refused(f"{name} has no {request.missing}{said}.", 404, next_step=step)
        if answer.status == 403 and request.needs:
            step = f"It takes the permission {request.needs}. {step or ''}".strip()
        return Refused(f"{name} refused it with status {answer.status}{said}.", answer.status, next_step=step)

    def _limit(self, seconds: float) -> LimitReached:
        until = datetime.fromtimestamp(time.time() + seconds, UTC)
        return LimitReached(
            f"{self.about.name} takes no more calls until {until:%Y-%m-%d %H:%M:%S} UTC.", retry_after=max(seconds, 1.0)
        )

    def _said(self, answer: Answer) -> str:
        text = self._shown(reason_of(answer.content))
        return f": {text.rstrip('.')}" if text else ""

    def _shown(self, text: str) -> str:
        for secret in self.about.secrets:
            text = text.replace(secret, REDACTED)
        return hidden(" ".join(text.split()))[:_SAID_CHARS]


@asynccontextmanager
async def open_service(about: About) -> AsyncGenerator[Service]:
    """The service, until the block is left; it is connected to when it is first asked."""
    service = Service(about)
    try:
        yield service
    finally:
        with anyio.CancelScope(shield=True):
            await service.aclose()


@dataclass(frozen=True)
class Connector:
    """A service's door for the turns: called, it opens the door for one of them; `room` says how the service is."""

    service: Service
    door: Callable[[CallContext], object]

    def __call__(self, context: CallContext) -> object:
        return self.door(context)

    def room(self, name: str) -> Room:
        """How the service is, as the room of that name; it is not asked."""
        return self.service.room(name)


def _json(answer: Answer) -> object:
    """What was answered; an empty text for nothing, None for what is no JSON."""
    try:
        return json.loads(answer.content)
    except (ValueError, RecursionError):
        return None if answer.content.strip() else ""
