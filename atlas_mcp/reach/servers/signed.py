"""Requests to another server, signed with what a login gave, which is renewed by itself.

Promise: it is renewed once, whichever process needs it first, and not lost by a call that is cancelled meanwhile; the
others take what that one got. What is renewed no more, and a server that wants a login, is remembered for a person.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio
import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from atlas_mcp.reach.servers.logins import Given

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from mcp.client.auth.oauth2 import OAuthContext
    from mcp.shared.auth import OAuthClientInformationFull

    from atlas_mcp.reach.servers.logins import Login

EARLIER_SECONDS = 30.0
"""How long before its end a token is renewed."""
_RENEW_SECONDS = 20.0
_WANTS = "it asks for a login (401)"
_NOT_NOW = (408, 429)


class LoginWantedError(Exception):
    """Raised when only a person can go on, by logging in; the text says how."""


class Elsewhere:
    """Where the SDK would keep what it gets: nowhere, for it is kept as a whole. `client` is who ATLAS is, if known."""

    def __init__(self, client: OAuthClientInformationFull | None = None) -> None:
        self._client = client

    async def get_tokens(self) -> OAuthToken | None:
        """None are known."""
        return None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """See `given_to`."""

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """Who ATLAS is where people log in."""
        return self._client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """See `given_to`."""


def given_to(context: OAuthContext) -> Given:
    """What the SDK got, with all that is needed to have it renewed by a later process."""
    return Given(
        url=context.server_url,
        tokens=context.current_tokens,
        ends_at=context.token_expiry_time,
        client=context.client_info,
        giver=context.oauth_metadata,
        resource=context.protected_resource_metadata,
    )


class Signed(OAuthClientProvider):
    """Signs requests for as long as no person is needed; then raises LoginWantedError, which `trouble` is told before.

    The SDK makes the requests for renewal and reads their answers. When that is due is judged here: the SDK's own flow
    has each request wait for the answer to the one before, and knows nothing of other processes that renew.
    """

    def __init__(self, login: Login, http: Callable[[], httpx2.AsyncClient], trouble: Callable[[str], None]) -> None:
        unused = OAuthClientMetadata(redirect_uris=[AnyUrl("http://127.0.0.1")])
        super().__init__(login.config.url, unused, Elsewhere())
        self._login = login
        self._http = http
        self._trouble = trouble

    async def _auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        if "authorization" in request.headers:
            response = yield request
            if response.status_code == 401:
                raise self._wanted("it refuses the Authorization that headers has (401)")
            return
        given = self._login.read() or Given(url=self._login.config.url)
        if given.tokens and given.ends_at and given.ends_at < time.time() + EARLIER_SECONDS:
            given = await self._renewed(given.tokens)
        response = yield _sign(request, given)
        if response.status_code == 401:
            given = await self._renewed(given.tokens)
            response = yield _sign(request, given)
            if response.status_code == 401:
                raise self._login_wanted(_WANTS, given.tokens)
        elif given.lacks:  # it does not ask any more
            self._login.forget()

    async def _renewed(self, old: OAuthToken | None) -> Given:
        """What is given in the place of those tokens. LoginWantedError; httpx2.TransportError, TimeoutError."""
        async with self._login.alone():
            given = self._login.read()
            if given is None or given.tokens is None:
                raise self._login_wanted(given.lacks if given else _WANTS, None)
            if given.tokens != old:  # another process was first, or a person
                return given
            context = self.context
            context.current_tokens, context.client_info = given.tokens, given.client
            context.oauth_metadata, context.protected_resource_metadata = given.giver, given.resource
            if not context.can_refresh_token():
                raise self._login_wanted("the login has ended", old)
            with anyio.fail_after(_RENEW_SECONDS, shield=True):  # the old ones are void from now on
                await self._renew(given.tokens)
                self._login.write(renewed := given_to(context))
            return renewed

    async def _renew(self, old: OAuthToken) -> None:
        async with self._http() as http:
            response = await http.send(await self._refresh_token())
        code = response.status_code
        if code >= 500 or code in _NOT_NOW:
            raise httpx2.RemoteProtocolError(f"the login cannot be renewed at the moment (HTTP {code})")
        if not await self._handle_refresh_response(response):
            raise self._login_wanted(f"the login has ended: it is not renewed any more (HTTP {code})", old)

    def _login_wanted(self, why: str, refused: OAuthToken | None) -> LoginWantedError:
        kept = self._login.read()
        if kept is None or (kept.tokens == refused and kept.lacks != why):  # a login that just came is left alone
            self._login.ask(why)
        return self._wanted(f"{why}; its user can log in by `{self._login.command}`")

    def _wanted(self, told: str) -> LoginWantedError:
        self._trouble(told)
        return LoginWantedError(told)


def _sign(request: httpx2.Request, given: Given) -> httpx2.Request:
    if given.tokens:
        request.headers["Authorization"] = f"Bearer {given.tokens.access_token}"
    return request
