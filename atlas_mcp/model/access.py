"""What a request may do, and how much: the grant of whoever asks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, get_args

from pydantic import Field

from atlas_mcp.model._base import Frozen
from atlas_mcp.model.caller import HOME_KEY as HOME_KEY  # where others look for it
from atlas_mcp.model.caller import Caller

Scope = Literal["read", "chat", "write", "admin"]
"""What a caller may do; none of them implies another. `read`: look at agents, runs, memories and resources. `chat`:
have agents work, which spends. `write`: change and forget what is remembered. `admin`: add and delete agents, groups.
"""

SCOPES: tuple[Scope, ...] = get_args(Scope)
ALL: frozenset[Scope] = frozenset(SCOPES)
SESSION_HOURS = 12
"""How long people stay signed in at the board, at most."""


class Limits(Frozen):
    """How much one caller may ask; what is None is as the settings have it."""

    requests_per_minute: int | None = Field(default=None, ge=1, description="Requests in a minute.")
    turns: int | None = Field(default=None, ge=1, description="Turns of agents under way at once.")
    runs: int | None = Field(default=None, ge=1, description="Runs under way at once.")
    message_chars: int | None = Field(default=None, ge=1, description="Characters of one message or goal.")
    material_chars: int | None = Field(default=None, ge=1, description="Characters of one material or document.")


class Grant(Frozen):
    """Who asks, and what for. `via` says how they came in: `stdio`, `http` with the home's own key, a key's id, or a
    login's issuer. After `expires_at` it is worth nothing."""

    caller: Caller
    scopes: frozenset[Scope] = ALL
    via: str
    limits: Limits = Limits()
    expires_at: datetime | None = None

    def expired(self, now: datetime | None = None) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= (now or datetime.now(UTC))


class AccessKey(Frozen):
    """A key by which its holder comes in over HTTP, without its secret. `caller` is whose constellation they speak to;
    `used_at` is right to about a minute."""

    id: str
    name: str
    caller: str
    scopes: frozenset[Scope]
    limits: Limits
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    used_at: datetime | None = None

    def state(self, now: datetime | None = None) -> Literal["active", "expired", "revoked"]:
        """Whether it opens the door."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.grant().expired(now) else "active"

    def grant(self) -> Grant:
        """What it grants while it is active."""
        caller = Caller(id=self.caller, kind="key")
        return Grant(caller=caller, scopes=self.scopes, via=self.id, limits=self.limits, expires_at=self.expires_at)


class NewKey(Frozen):
    """A key just made: `token` is what its holder sends. It is told this once and kept nowhere."""

    key: AccessKey
    token: str


class LoginRules(Frozen):
    """Whose logins are accepted, and for what they must have been made. `resource` is what clients are told to log in
    for: our own address. `client_id` is by what name the provider knows the board."""

    issuer: str
    resource: str
    audience: str
    jwks_url: str | None = None
    scope_claim: str = "scope"
    client_id: str | None = None


def resource_url(public_url: str) -> str:
    """What logins are made for, where ATLAS is at that address."""
    return f"{public_url.rstrip('/')}/mcp"


def board_url(resource: str) -> str:
    """Where the board is, beside what logins are made for."""
    return f"{resource.removesuffix('/mcp')}/board"
