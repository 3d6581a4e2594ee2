"""The door of the HTTP server: who is told how to log in, and what happens when nobody knows whether a key counts.

Promise: a request whose token cannot be checked just now is answered with 503 and when to try again, never let in and
never told that its key is wrong. An answer that stays open, such as a stream, ends AGAIN_SECONDS after its token has
stopped to count. No message reaches a tool without the token of an HTTP request, whatever it came by.
"""

from __future__ import annotations

import logging
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import anyio
from mcp import MCPError
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.settings import AuthSettings
from mcp.types import INVALID_REQUEST
from pydantic import AnyHttpUrl
from starlette.responses import JSONResponse

from atlas_mcp.errors import AtlasError
from atlas_mcp.model.access import SCOPES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.model.access import LoginRules

AGAIN_SECONDS: Final = 3.0
RETRY_SECONDS: Final = 5
_LOG_EVERY: Final = 10.0
log = logging.getLogger("atlas.server")


def auth_settings(rules: LoginRules | None) -> AuthSettings:
    """What the SDK is told of logins: where to get one, for answers with 401."""
    if rules is None:  # the SDK asks for an issuer; nothing is issued here and no address of one is published
        return AuthSettings(issuer_url=AnyHttpUrl("http://localhost"), resource_server_url=None)
    return AuthSettings.model_validate(  # from texts, which it keeps as they are: an issuer is compared sign by sign
        {
            "issuer_url": rules.issuer,
            "resource_server_url": rules.resource,
            "validate_token_resource": False,  # the audience is checked with the signature
        }
    )


def login_routes(rules: LoginRules | None) -> list[BaseRoute]:
    """Where clients are told who issues logins for this server and which scopes there are (RFC 9728)."""
    if rules is None:
        return []
    from mcp.server.auth.routes import create_protected_resource_routes

    issuer, resource = auth_settings(rules).issuer_url, AnyHttpUrl(rules.resource)
    return [*create_protected_resource_routes(resource, [issuer], list(SCOPES), resource_name="ATLAS")]


async def through_the_door(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """The middleware that lets only messages of HTTP requests go on that were let in: if the SDK ever hands one on
    without its request, nobody is taken for somebody else."""
    if ctx.request is None or not isinstance(ctx.request.scope.get("user"), AuthenticatedUser):
        raise MCPError(INVALID_REQUEST, "this message came without the token of a request")
    return await call_next(ctx)


class Unknowing:
    """The ASGI middleware around the check of tokens, for when it fails."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._logged_at = -_LOG_EVERY

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request."""
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except AtlasError as error:
            if begun:
                raise
            if time.monotonic() - self._logged_at >= _LOG_EVERY:
                self._logged_at = time.monotonic()
                log.warning("requests cannot be let in: %s", error)
            told = {"error": "temporarily_unavailable", "error_description": "The key cannot be checked just now."}
            await JSONResponse(told, 503, {"Retry-After": str(RETRY_SECONDS)})(scope, receive, send)


@dataclass(eq=False)
class _Answer:
    token: str
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class Answers:
    """The answers that are being given, each with the token that it was asked with."""

    def __init__(self, atlas: Atlas) -> None:
        self._atlas = atlas
        self._open: set[_Answer] = set()

    def guarding(self, app: ASGIApp) -> ASGIApp:
        """The app, which answers each request only as long as its token counts."""

        async def served(scope: Scope, receive: Receive, send: Send) -> None:
            user = scope.get("user")
            if scope["type"] != "http" or not isinstance(user, AuthenticatedUser):
                await app(scope, receive, send)
                return
            begun = ended = False

            async def sending(message: Message) -> None:
                nonlocal begun, ended
                begun, ended = True, message["type"] == "http.response.body" and not message.get("more_body", False)
                await send(message)

            answer = _Answer(user.access_token.token)
            self._open.add(answer)
            try:
                with answer.scope:
                    await app(scope, receive, sending)
            finally:
                self._open.discard(answer)
            if not answer.scope.cancelled_caught:
                return
            if not begun:
                await JSONResponse({"error": "invalid_token"}, 401)(scope, receive, send)
            elif not ended:
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        return served

    @asynccontextmanager
    async def watched(self) -> AsyncGenerator[None]:
        """Ends answers whose tokens count no longer, until the block is left."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch)
            yield
            tasks.cancel_scope.cancel()

    async def _watch(self) -> None:
        while True:
            await anyio.sleep(AGAIN_SECONDS)
            for token in {answer.token for answer in self._open}:
                try:
                    counts = await self._atlas.access.authenticate(token) is not None
                except AtlasError:
                    continue  # nobody knows: those who were let in stay
                for answer in [one for one in self._open if one.token == token and not counts]:
                    answer.scope.cancel()
