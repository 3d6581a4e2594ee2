"""What an identity provider publishes (RFC 8414, OpenID discovery): where its keys lie and people sign in, and the keys
themselves."""

from __future__ import annotations

import json
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit, urlunsplit

import anyio
import anyio.to_thread

from atlas_mcp.errors import ConfigurationError, Unavailable

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Mapping

    import httpx

    from atlas_mcp.model.access import LoginRules

PublicKey = Any
"""What PyJWT checks a signature by; it and what it stands on are imported with the first login."""

FETCH_SECONDS: Final = 5.0
MOST_BYTES: Final = 1_000_000
_SIGN_IN: Final = ("authorization_endpoint", "token_endpoint")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
log = logging.getLogger("atlas.access")


def check_address(address: str, setting: str) -> None:
    """Raises ConfigurationError unless it is an address of https, or of this machine."""
    try:
        parts = urlsplit(address)
        known = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        if known and parts.hostname and not (parts.query or parts.fragment or parts.username):
            return
    except ValueError:
        pass
    raise ConfigurationError(
        f"{address!r} is no address for it.",
        argument=setting,
        next_step="Give it with https:// and without ? and #; http:// only for this machine.",
    )


def discovery_addresses(issuer: str) -> list[str]:
    """Where an issuer's metadata may lie, in the order in which they are tried."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    wells = [
        f"/.well-known/oauth-authorization-server{path}",
        f"/.well-known/openid-configuration{path}",
        f"{path}/.well-known/openid-configuration",
    ]
    return [urlunsplit((parts.scheme, parts.netloc, well, "", "")) for well in dict.fromkeys(wells)]


@dataclass(frozen=True)
class Published:
    """The keys that a provider signs with, by their ids; and where people sign in and codes are changed for tokens, as
    far as it was asked for that and says it."""

    keys: dict[str, PublicKey] = field(default_factory=dict[str, PublicKey])
    sign_in_url: str = ""
    token_url: str = ""


async def published(rules: LoginRules) -> Published:
    """What the provider publishes. Unavailable when it cannot be had within FETCH_SECONDS."""
    async with asking(rules) as http:
        told = await _metadata(http, rules) if rules.client_id or not rules.jwks_url else {}
        if not (address := rules.jwks_url or told.get("jwks_uri")):
            raise Unavailable("its metadata names no keys (jwks_uri).")
        document = await answered(http, address)
    if document is None:
        raise Unavailable(f"{address} has no keys.")
    return Published(_usable(document, address), *(told.get(name, "") for name in _SIGN_IN))


@asynccontextmanager
async def asking(rules: LoginRules) -> AsyncGenerator[httpx.AsyncClient]:
    """What the provider is asked by, within FETCH_SECONDS; Unavailable when it does not answer."""
    import httpx

    try:
        with anyio.fail_after(FETCH_SECONDS):
            verify = await anyio.to_thread.run_sync(_certificates)
            away = rules.issuer.startswith("https:")  # on this machine there is no proxy between
            async with httpx.AsyncClient(
                verify=verify, trust_env=away, follow_redirects=False, timeout=FETCH_SECONDS
            ) as http:
                yield http
    except (TimeoutError, httpx.TimeoutException):
        raise Unavailable(f"it did not answer within {FETCH_SECONDS:g} s.") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise Unavailable(f"it could not be reached ({type(error).__name__}).") from None


@cache
def _certificates() -> ssl.SSLContext:
    import httpx

    return httpx.create_ssl_context()


async def _metadata(http: httpx.AsyncClient, rules: LoginRules) -> dict[str, str]:
    """The addresses that the issuer's metadata name, from the first documents that have them."""
    found: dict[str, str] = {}
    wanted = {"jwks_uri", *(_SIGN_IN if rules.client_id else ())}
    for address in discovery_addresses(rules.issuer):
        if (document := await answered(http, address)) is None:
            continue
        if document.get("issuer") != rules.issuer:
            raise Unavailable(
                f"{address} speaks for the issuer {document.get('issuer')!r} and not for {rules.issuer!r}: "
                "ATLAS_OAUTH_ISSUER must be the very same text."
            )
        found = {name: where for name in wanted if isinstance(where := document.get(name), str)} | found
        if wanted <= found.keys():
            break
    try:
        for name, where in found.items():
            check_address(where, name)
    except ConfigurationError as error:
        raise Unavailable(str(error)) from None
    return found


async def answered(
    http: httpx.AsyncClient, address: str, form: Mapping[str, str] | None = None
) -> dict[str, Any] | None:
    """The document that is got from that address, or for that form; None where it is refused, or there is none."""
    body = bytearray()
    method = "GET" if form is None else "POST"
    async with http.stream(method, address, data=form, headers={"accept": "application/json"}) as answer:
        if 400 <= answer.status_code < 500:
            return None
        if answer.status_code != 200:
            raise Unavailable(f"{address} answered with status {answer.status_code}.")
        async for part in answer.aiter_bytes():
            body += part
            if len(body) > MOST_BYTES:
                raise Unavailable(f"what {address} answers is too long.")
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return cast("dict[str, Any]", document) if isinstance(document, dict) else None


def _usable(document: dict[str, Any], address: str) -> dict[str, PublicKey]:
    """Its public keys for signatures; those of other kinds are left out."""
    import jwt

    found: dict[str, PublicKey] = {}
    listed = document.get("keys")
    for number, given in enumerate(cast("list[Any]", listed) if isinstance(listed, list) else []):
        if not isinstance(given, dict):
            continue
        key = cast("dict[str, Any]", given)
        if key.get("kty") not in {"RSA", "EC", "OKP"} or key.get("use", "sig") != "sig":
            continue
        try:
            made = jwt.PyJWK(key)
            # One with an algorithm is held to it; one without fits all that are of its kind.
            found[str(key.get("kid", f"#{number}"))] = made if "alg" in key else made.key
        except jwt.PyJWTError as error:
            log.warning("a key of %s cannot be used: %s", address, type(error).__name__)
    if not found:
        raise Unavailable(f"{address} has no keys that signatures can be checked by.")
    return found
