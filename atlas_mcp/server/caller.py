"""Who is asking and what for, as the transport says it: never a tool argument, never a header the client may choose.

Over stdio it is whoever could start the server on this home folder, and may do everything. Over HTTP it is whom the
request's bearer token belongs to, with what was granted to it. The client's own name only selects that program's
threads and grants nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from mcp.server.auth.provider import AccessToken
from mcp.server.mcpserver import Context

from atlas_mcp.model.access import Grant

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.model.caller import Caller

    Request = Context[Any, Any] | ServerRequestContext[Any, Any]

Transport = Literal["stdio", "http"]


class GrantedToken(AccessToken):
    """A bearer token that was accepted, with what it grants. The SDK holds a session to the one who began it by
    `client_id` and `subject`."""

    grant: Grant


class Door:
    """Tells the SDK which bearer tokens are accepted; it refuses a request without one with 401."""

    def __init__(self, atlas: Atlas) -> None:
        self._atlas = atlas

    async def verify_token(self, token: str) -> GrantedToken | None:
        """What the token grants, or None for one that grants nothing."""
        if (grant := await self._atlas.access.authenticate(token)) is None:
            return None
        return GrantedToken(token=token, client_id=grant.via, subject=grant.caller.id, scopes=[], grant=grant)


def grant_of(atlas: Atlas, transport: Transport, ctx: Request) -> Grant:
    """Who asks and what for. Over HTTP the SDK lets no request without a token come so far; a client within this very
    process, which sends none, is whoever embeds the server, and speaks as the holder of the home's key."""
    if transport == "stdio":
        return Grant(caller=atlas.local_caller(client_name(ctx)), via="stdio")
    request: Any = (ctx.request_context if isinstance(ctx, Context) else ctx).request
    grant = atlas.access.home_grant() if request is None else request.scope["user"].access_token.grant
    return grant.model_copy(update={"caller": grant.caller.model_copy(update={"client": client_name(ctx)})})


def caller_of(atlas: Atlas, transport: Transport, ctx: Request) -> Caller:
    """The caller of this request; see `grant_of`."""
    if transport == "stdio":
        return atlas.local_caller(client_name(ctx))
    return grant_of(atlas, transport, ctx).caller


def client_name(ctx: Request) -> str:
    """The name the client gave itself, in either protocol era; empty when it gave none."""
    params = ctx.session.client_params
    return params.client_info.name if params else ""
