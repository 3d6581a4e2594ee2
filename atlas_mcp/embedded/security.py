"""Who may speak to the app: a bearer key, and the hosts and origins that are allowed.

The host check keeps a web page that the user visits from reaching a server on loopback under another name; the origin
check keeps it from doing so from a browser at all. `/v1/health/` needs no key, but the right host.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_HEALTH = frozenset({"/v1/health", "/v1/health/"})


class Guard:
    """An ASGI app in front of another. `hosts` are names as in the Host header, with or without a port."""

    def __init__(self, app: ASGIApp, *, key: str | None, hosts: Sequence[str] | None) -> None:
        self._app = app
        self._key = None if key is None else f"Bearer {key}".encode()
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await refusal(scope, receive, send)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if self._hosts is not None:
            if not self._allowed(headers.get(b"host", b"").decode("latin-1")):
                return JSONResponse({"detail": "Misdirected request: this host name is not served here"}, 421)
            origin = headers.get(b"origin")
            if origin is not None and not self._allowed(urlsplit(origin.decode("latin-1")).netloc):
                return JSONResponse({"detail": "Forbidden: this origin is not allowed"}, 403)
        if self._key is None or scope["path"] in _HEALTH:
            return None
        given = headers.get(b"authorization", b"")
        return None if hmac.compare_digest(given, self._key) else JSONResponse({"detail": "Unauthorized"}, 401)

    def _allowed(self, host: str) -> bool:
        name, hosts = host.lower(), self._hosts or frozenset[str]()
        bare = name.rsplit(":", 1)[0] if not name.endswith("]") else name
        return bool(name) and (name in hosts or bare in hosts)
