"""An identity provider on loopback: it publishes keys, signs tokens with them, and lets everybody log in."""

from __future__ import annotations

import json
import secrets
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from mcp.server.auth.provider import AuthorizationCode, AuthorizationParams, construct_redirect_uri
from mcp.server.auth.routes import create_auth_routes
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.access.serving import free_socket, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request


@dataclass
class Provider:
    """It can rotate its keys, hang, and count what is asked of it."""

    issuer: str
    audience: str = ""
    keys: dict[str, Any] = field(default_factory=dict[str, Any])
    asked: list[str] = field(default_factory=list[str])
    silent: bool = False
    speaks_for: str | None = None
    logins: Any = field(init=False)

    def __post_init__(self) -> None:
        self.rotate()
        self.logins = _Logins(self)

    def rotate(self, kind: str = "rsa") -> str:
        """Sign with a new key from now on; the old one is published no more."""
        kid = secrets.token_hex(4)
        key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
        self.keys = {kid: key}
        return kid

    def token(self, **other: Any) -> str:
        """A token for `ada` that may read; claims can be given otherwise, or taken out with None."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": "ada",
            "aud": self.audience,
            "iat": now,
            "exp": now + 600,
            "scope": "openid read chat write",
        }
        kept = {name: value for name, value in (claims | other).items() if value is not None}
        kid, key = next(iter(self.keys.items()))
        algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
        return jwt.encode(kept, key, algorithm=algorithm, headers={"kid": kid})

    def app(self) -> Starlette:
        """All that it serves."""
        options = ClientRegistrationOptions(enabled=True, valid_scopes=["read", "chat", "write", "admin"])
        settings = AuthSettings.model_validate({"issuer_url": self.issuer, "resource_server_url": None})
        oauth = create_auth_routes(self.logins, settings.issuer_url, client_registration_options=options)
        routes = [Route("/.well-known/openid-configuration", self._metadata), Route("/keys", self._keys), *oauth]
        return Starlette(routes=routes)

    async def _metadata(self, _: Request) -> Response:
        return await self._answer(
            "metadata", {"issuer": self.speaks_for or self.issuer, "jwks_uri": f"{self.issuer}/keys"}
        )

    async def _keys(self, _: Request) -> Response:
        return await self._answer("keys", {"keys": [_public(kid, key) for kid, key in self.keys.items()]})

    async def _answer(self, what: str, document: dict[str, Any]) -> Response:
        self.asked.append(what)
        if self.silent:
            await anyio.sleep_forever()
        return JSONResponse(document)


def _public(kid: str, key: Any) -> dict[str, Any]:
    rsa_key = isinstance(key, rsa.RSAPrivateKey)
    algorithm: Any = RSAAlgorithm if rsa_key else ECAlgorithm
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"}


class _Logins:
    """Everybody who comes is let in as `ada`, with the scopes that were asked for."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._clients: dict[str, OAuthClientInformationFull] = {}
        self._codes: dict[str, AuthorizationCode] = {}
        self.resources: list[str | None] = []

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self._clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        assert client_info.client_id
        self._clients[client_info.client_id] = client_info

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        assert client.client_id
        code = AuthorizationCode(
            code=secrets.token_hex(16),
            scopes=params.scopes or [],
            expires_at=time.time() + 60,
            client_id=client.client_id,
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
        )
        self._codes[code.code] = code
        return construct_redirect_uri(str(params.redirect_uri), code=code.code, state=params.state)

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        return self._codes.get(authorization_code)

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        self.resources.append(authorization_code.resource)
        scope = " ".join(authorization_code.scopes)
        token = self._provider.token(aud=authorization_code.resource, scope=scope)
        return OAuthToken(access_token=token, token_type="Bearer", expires_in=600, scope=scope)

    async def load_refresh_token(self, client: Any, refresh_token: str) -> None:
        return None

    async def exchange_refresh_token(self, client: Any, refresh_token: Any, scopes: list[str]) -> OAuthToken:
        raise NotImplementedError

    async def load_access_token(self, token: str) -> None:
        return None

    async def revoke_token(self, token: Any) -> None:
        return None


@asynccontextmanager
async def open_provider() -> AsyncIterator[Provider]:
    """A provider that answers, until the block is left."""
    listener = free_socket()
    provider = Provider(f"http://127.0.0.1:{listener.getsockname()[1]}")
    async with served(provider.app(), listener):
        yield provider
