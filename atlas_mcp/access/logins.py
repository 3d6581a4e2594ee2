"""Logins at an identity provider: which of its tokens (JWTs) open the door, and as whom.

Promise: a token counts if its signature is by a key that the provider publishes, by an asymmetric algorithm, if it is
of that issuer, for this audience, and within its time (LEEWAY_SECONDS are granted to clocks). Everything else is no
login. The provider's keys are fetched when first needed, again when they are KEYS_SECONDS old, and for a key nobody
knows at most every AGAIN_SECONDS, so that new keys are found and made-up ones cost nothing. Each fetch has a deadline.
While the provider does not answer, keys that are known go on for STALE_SECONDS; who would need others is told to
try again, and the log says why.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

import anyio

from atlas_mcp.access.provider import Published, published
from atlas_mcp.errors import Unavailable
from atlas_mcp.model.access import SCOPES, Grant
from atlas_mcp.model.caller import Caller

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from atlas_mcp.access.provider import PublicKey
    from atlas_mcp.model.access import LoginRules, Scope

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
LEEWAY_SECONDS: Final = 30
KEYS_SECONDS: Final = 600.0
STALE_SECONDS: Final = 3_600.0
AGAIN_SECONDS: Final = 15.0
_REQUIRED: Final = ("exp", "iss", "sub", "aud")
_PLAIN: Final = re.compile(r"[A-Za-z0-9._@|-]{1,128}")
_LONGEST: Final = 16_384
log = logging.getLogger("atlas.access")


class Logins:
    """The logins of one identity provider. `clock` counts seconds, for how old keys are."""

    def __init__(self, rules: LoginRules, clock: Callable[[], float] = time.monotonic) -> None:
        self._rules = rules
        self._clock = clock
        self._published = Published()
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._failure = ""
        self._fetching = anyio.Lock()

    async def grant(self, token: str) -> Grant | None:
        """What a token grants, or None. Unavailable when the provider would have to be asked and does not answer."""
        import jwt

        try:
            header = jwt.get_unverified_header(token) if len(token) <= _LONGEST else {}
        except jwt.PyJWTError:
            return None
        if header.get("alg") not in ALGORITHMS or (key := await self._key(header.get("kid"))) is None:
            return None
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self._rules.audience,
                issuer=self._rules.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": list(_REQUIRED)},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            log.info("a token of %s was refused: %s", self._rules.issuer, type(error).__name__)
            return None
        return self._granted(claims) if claims["sub"] else None

    def _granted(self, claims: Mapping[str, Any]) -> Grant:
        issuer = self._rules.issuer
        return Grant(
            caller=Caller(id=f"login:{_short_hash(issuer)}:{_plain(claims['sub'])}", kind="login"),
            scopes=_scopes(claims.get(self._rules.scope_claim)),
            via=issuer,
            expires_at=datetime.fromtimestamp(float(claims["exp"]) + LEEWAY_SECONDS, UTC),
        )

    async def published(self) -> Published:
        """What the provider publishes, as it was fetched last. Unavailable when it would have to be asked and does not
        answer."""
        return await self._enough(lambda: True)

    async def _key(self, kid: str | None) -> PublicKey | None:
        """The provider's key of that id, or its only one where a token names none."""
        await self._enough(lambda: self._picked(kid) is not None)
        return self._picked(kid)

    async def _enough(self, enough: Callable[[], bool]) -> Published:
        """What is published, fetched if it is old or not enough, and the provider may be asked."""
        if not (self._fresh() and enough()):
            async with self._fetching:
                if not (self._fresh() and enough()) and self._may_try():
                    await self._fetch()
        if not self._usable() or (self._failure and not enough()):
            raise Unavailable(
                f"the identity provider cannot be asked: {self._failure}",
                next_step=f"Try again in {AGAIN_SECONDS:g} seconds.",
            )
        return self._published

    def _picked(self, kid: str | None) -> PublicKey | None:
        keys = self._published.keys
        if kid is None:
            return next(iter(keys.values())) if len(keys) == 1 else None
        return keys.get(kid)

    def _fresh(self) -> bool:
        return self._fetched_at is not None and self._clock() - self._fetched_at < KEYS_SECONDS

    def _usable(self) -> bool:
        return self._fetched_at is not None and self._clock() - self._fetched_at < STALE_SECONDS

    def _may_try(self) -> bool:
        return self._tried_at is None or self._clock() - self._tried_at >= AGAIN_SECONDS

    async def _fetch(self) -> None:
        before, self._tried_at = self._tried_at, self._clock()
        try:
            self._published = await published(self._rules)
        except anyio.get_cancelled_exc_class():
            self._tried_at = before  # nothing was learned: the next one asks
            raise
        except Unavailable as error:
            self._failure = error.message
            log.error("logins of %s cannot be checked: %s", self._rules.issuer, error.message)  # noqa: TRY400
        else:
            self._fetched_at, self._failure = self._clock(), ""


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(subject: str) -> str:
    """The subject, or a hash of it where it has signs that are not everywhere only themselves."""
    return subject if _PLAIN.fullmatch(subject) else f"~{_short_hash(subject)}"


def _scopes(claim: object) -> frozenset[Scope]:
    """The scopes of ours that a claim names: `read` or `atlas:read`, in one text or in a list."""
    named = claim.split() if isinstance(claim, str) else cast("list[object]", claim) if isinstance(claim, list) else []
    plain = {name.removeprefix("atlas:") for name in named if isinstance(name, str)}
    return frozenset(scope for scope in SCOPES if scope in plain)
