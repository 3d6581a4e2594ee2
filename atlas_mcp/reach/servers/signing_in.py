"""A person's login with another server, by OAuth: in his browser, which brings the outcome back to this machine.

Promise: what it gives is kept, or LoginFailedError says what is missing. The SDK speaks the protocol; nothing is asked
in the clear of other machines, also where the server names them.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import anyio
from anyio.abc import SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider, OAuthRegistrationError
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata
from pydantic import AnyUrl

from atlas_mcp.reach.servers.reasons import first_of, plain, reason_of
from atlas_mcp.reach.servers.signed import Elsewhere, given_to
from atlas_mcp.reach.servers.web import http_client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    import httpx2
    from anyio.abc import SocketStream

    from atlas_mcp.reach.servers.config import ServerConfig
    from atlas_mcp.reach.servers.logins import Login

PERSON_SECONDS = 600.0
"""How long a person may take."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PATH = "/callback"
# Browsers also open connections ahead, and close them again without a word.
_BROKEN_OFF = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.IncompleteRead, anyio.DelimiterNotFound)
_NO_SECRET = "none"  # noqa: S105 - the name of a way
_MOST_BYTES = 16_384
_SECONDS = 10.0
_PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
_ACCEPT = {"Accept": "application/json, text/event-stream"}


class LoginFailedError(Exception):
    """Raised when nobody is logged in; the text says why, and what helps."""


async def sign_in(login: Login, show: Callable[[str], Awaitable[None]]) -> bool:
    """Log in with the server; False where it asks for no login. `show` gives a person the address to open.

    LoginFailedError. What was given earlier is replaced at the end only.
    """
    config = login.config
    try:
        async with _brought_back(config.callback_port) as (address, outcome):
            about = OAuthClientMetadata(
                client_name="ATLAS", redirect_uris=[AnyUrl(address)], token_endpoint_auth_method=_NO_SECRET
            )
            kept = Elsewhere(_entered(config, address))
            provider = OAuthClientProvider(config.url, about, kept, show, outcome)
            with anyio.fail_after(PERSON_SECONDS):
                await _ask(config, provider)
            if provider.context.current_tokens is None:
                return False
            async with login.alone():
                login.write(given_to(provider.context))
            return True
    except Exception as error:  # noqa: BLE001 - whatever a stranger's server makes of a login
        raise _failed(first_of(error)) from None


def _failed(error: BaseException) -> LoginFailedError:
    match error:
        case LoginFailedError():
            return error
        case TimeoutError():
            return LoginFailedError(f"nobody logged in within {PERSON_SECONDS:g} s")
        case OAuthRegistrationError():
            by_hand = 'enter one there by hand, and put its id into your file, as "oauth": {"clientId": "..."}'
            return LoginFailedError(
                f"it lets no program enter itself ({plain(str(error))}): {by_hand}; or put a token into headers"
            )
        case _:
            return LoginFailedError(reason_of(error))


async def _ask(config: ServerConfig, provider: OAuthClientProvider) -> None:
    """Send something that begins no session: what is wanted is the question for a login before it is looked at."""

    async def in_private(request: httpx2.Request) -> None:
        host = request.url.host
        if request.url.scheme != "https" and host != home and not {host, home} <= {*_LOOPBACK}:
            raise LoginFailedError(f"it names {host} for the login, which is only to be asked by https")

    home = urlsplit(config.url).hostname or ""
    headers = {**config.headers, **_ACCEPT}
    method, body = ("GET", None) if config.transport == "sse" else ("POST", _PING)
    async with http_client(headers, auth=provider) as http:
        http.event_hooks["request"].append(in_private)
        async with http.stream(method, config.url, json=body):
            pass


def _entered(config: ServerConfig, address: str) -> OAuthClientInformationFull | None:
    if not config.client_id:
        return None
    secret = config.client_secret or None
    return OAuthClientInformationFull(
        client_id=config.client_id,
        client_secret=secret,
        redirect_uris=[AnyUrl(address)],
        token_endpoint_auth_method="client_secret_post" if secret else _NO_SECRET,
    )


@asynccontextmanager
async def _brought_back(port: int) -> AsyncGenerator[tuple[str, Callable[[], Awaitable[AuthorizationCodeResult]]]]:
    """The address of this machine to which the browser is sent in the end, and what waits for that."""
    brought: dict[str, str] = {}
    came = anyio.Event()

    async def visited(browser: SocketStream) -> None:
        with suppress(*_BROKEN_OFF):
            async with browser:
                with anyio.move_on_after(_SECONDS):
                    line = await BufferedByteReceiveStream(browser).receive_until(b"\r\n", _MOST_BYTES)
                    path, _, query = line.decode(errors="replace").partition(" ")[2].partition(" ")[0].partition("?")
                    if path != _PATH:
                        await browser.send(_page("404 Not Found", "There is nothing here."))
                        return
                    brought.update({key: values[0] for key, values in parse_qs(query).items()})
                    came.set()
                    await browser.send(_page("200 OK", "You can close this page, and go back to ATLAS."))

    async def outcome() -> AuthorizationCodeResult:
        await came.wait()
        if "code" not in brought:
            said = brought.get("error_description") or brought.get("error") or "it gave no code"
            raise LoginFailedError(f"the login was not granted: {plain(said)}")
        return AuthorizationCodeResult(code=brought["code"], state=brought.get("state"), iss=brought.get("iss"))

    try:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
    except OSError as error:
        raise LoginFailedError(
            f"oauth, callbackPort: {port} cannot be used: {(error.strerror or str(error)).lower()}"
        ) from None
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, visited)
        taken = listener.extra(SocketAttribute.local_port)  # noqa: S610 - of a socket
        yield f"http://127.0.0.1:{taken}{_PATH}", outcome
        tasks.cancel_scope.cancel()


def _page(status: str, text: str) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
    return (head + text).encode()
