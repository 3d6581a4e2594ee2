"""Who is asking, as the transport says it: never a tool argument, never a header the client may choose.

Over stdio it is whoever could start the server on this home folder; over HTTP the holder of the home's key. The
client's own name only selects that program's threads and grants nothing.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Literal

from mcp.server.auth.provider import AccessToken

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext
    from mcp.server.mcpserver import Context

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.model.caller import Caller

    Request = Context[Any, Any] | ServerRequestContext[Any, Any]

Transport = Literal["stdio", "http"]
KEY_HOLDER = "key"


class KeyVerifier:
    """Accepts exactly one bearer key, compared in constant time. The SDK refuses a request without it with 401."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    async def verify_token(self, token: str) -> AccessToken | None:
        """What the key grants, or None for any other."""
        if not secrets.compare_digest(token.encode(), self._key):
            return None
        return AccessToken(token=token, client_id=KEY_HOLDER, subject=KEY_HOLDER, scopes=[])


def caller_of(atlas: Atlas, transport: Transport, ctx: Request) -> Caller:
    """The caller of this request. Over HTTP the SDK lets no request without the key come so far."""
    client = client_name(ctx)
    return atlas.local_caller(client) if transport == "stdio" else atlas.key_caller(client)


def client_name(ctx: Request) -> str:
    """The name the client gave itself, in either protocol era; empty when it gave none."""
    params = ctx.session.client_params
    return params.client_info.name if params else ""
