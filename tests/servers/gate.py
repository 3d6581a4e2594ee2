"""A server over HTTP that lets in only who is logged in, with the login server that goes with it: those of the SDK."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mcp.server import MCPServer
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    construct_redirect_uri,
)
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

if TYPE_CHECKING:
    from starlette.types import ASGIApp


@dataclass
class Gate(OAuthAuthorizationServerProvider[AuthorizationCode, RefreshToken, AccessToken]):
    """Who may come in. Each token for renewal is good for once, as it ought to be; `seconds` is how long others are."""

    seconds: int = 3600
    denies: bool = False
    clients: dict[str, OAuthClientInformationFull] = field(default_factory=dict[str, OAuthClientInformationFull])
    codes: dict[str, AuthorizationCode] = field(default_factory=dict[str, AuthorizationCode])
    tokens: dict[str, AccessToken] = field(default_factory=dict[str, AccessToken])
    renewals: dict[str, RefreshToken] = field(default_factory=dict[str, RefreshToken])
    renewed: int = 0

    def app(self, address: str) -> ASGIApp:
        """The server of one tool at that address, and the login server beside it."""
        auth = AuthSettings.model_validate(
            {
                "issuer_url": address,
                "resource_server_url": f"{address}/mcp",
                "client_registration_options": ClientRegistrationOptions(enabled=True),
                "validate_token_resource": True,
            }
        )
        server = MCPServer("gated", auth_server_provider=self, auth=auth)

        @server.tool()
        async def enter() -> str:
            """Come in."""
            return "come in"

        return server.streamable_http_app()

    def forget_all(self) -> None:
        """Let nobody in any more who is logged in now."""
        self.tokens.clear()
        self.renewals.clear()

    @property
    def secrets(self) -> list[str]:
        """All that nobody else may see."""
        return [*self.codes, *self.tokens, *self.renewals]

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        self.clients[client_info.client_id] = client_info

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        if self.denies:
            said = {"error": "access_denied", "error_description": "Ann said no", "state": params.state}
            return construct_redirect_uri(str(params.redirect_uri), **said)
        code = secrets.token_urlsafe(32)
        self.codes[code] = AuthorizationCode(
            code=code,
            client_id=client.client_id,
            scopes=params.scopes or [],
            expires_at=time.time() + 60,
            **params.model_dump(include={"code_challenge", "redirect_uri", "resource"}),
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
        )
        return construct_redirect_uri(str(params.redirect_uri), code=code, state=params.state)

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        return self.codes.get(authorization_code)

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        return self._given(client, authorization_code.resource)

    async def load_refresh_token(self, client: OAuthClientInformationFull, refresh_token: str) -> RefreshToken | None:
        return self.renewals.get(refresh_token)

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        del self.renewals[refresh_token.token]
        self.renewed += 1
        return self._given(client, refresh_token.resource)

    async def load_access_token(self, token: str) -> AccessToken | None:
        return self.tokens.get(token)

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        raise NotImplementedError

    def _given(self, client: OAuthClientInformationFull, resource: str | None) -> OAuthToken:
        token, renewal = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        common = {"client_id": client.client_id, "scopes": list[str](), "resource": resource}
        self.tokens[token] = AccessToken(token=token, expires_at=int(time.time()) + self.seconds, **common)
        self.renewals[renewal] = RefreshToken(token=renewal, **common)
        return OAuthToken(access_token=token, refresh_token=renewal, expires_in=self.seconds)
