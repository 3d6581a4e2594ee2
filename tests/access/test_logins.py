"""Logins at an identity provider: whose tokens open the door, and what happens when it cannot be asked."""

from __future__ import annotations

import base64
import json
import logging
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from jwt.algorithms import HMACAlgorithm
from mcp.client import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from atlas_mcp.access.logins import AGAIN_SECONDS, KEYS_SECONDS, STALE_SECONDS, Logins
from atlas_mcp.access.provider import FETCH_SECONDS, discovery_addresses
from atlas_mcp.atlas import open_atlas
from atlas_mcp.errors import ConfigurationError, Unavailable
from atlas_mcp.model.access import LoginRules
from atlas_mcp.settings import load_settings
from tests.access.provider import Provider, open_provider
from tests.access.serving import free_socket, open_house
from tests.server.doors import call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio
AUDIENCE = "https://atlas.example.com/mcp"


class Clock:
    """Seconds, as a test says."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with open_provider() as opened:
        opened.audience = AUDIENCE
        yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def logins(provider: Provider, clock: Clock) -> Logins:
    return Logins(LoginRules(issuer=provider.issuer, resource=AUDIENCE, audience=AUDIENCE), clock)


async def test_a_token_of_the_provider_names_its_caller_and_scopes(provider: Provider, logins: Logins) -> None:
    grant = await logins.grant(provider.token())
    assert grant is not None
    assert grant.caller.kind == "login"
    assert grant.caller.id.startswith("login:")
    assert grant.caller.id.endswith(":ada")
    assert grant.scopes == {"read", "chat", "write"}
    assert grant.via == provider.issuer
    other = await logins.grant(provider.token(sub="bob", scope=["atlas:read", "email"]))
    assert other is not None
    assert other.caller.id != grant.caller.id
    assert other.scopes == {"read"}
    nothing = await logins.grant(provider.token(scope=None))
    assert nothing is not None
    assert nothing.scopes == frozenset()
    assert provider.asked == ["metadata", "keys"]


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example.com"},
        {"aud": "https://other.example.com/mcp"},
        {"aud": None},
        {"exp": 1_000_000_000},
        {"exp": None},
        {"nbf": 4_000_000_000},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"iss": None},
    ],
    ids=str,
)
async def test_a_token_that_is_not_for_us_opens_nothing(
    provider: Provider, logins: Logins, claims: dict[str, Any]
) -> None:
    assert await logins.grant(provider.token(**claims)) is None


async def test_clocks_may_differ_by_a_little(provider: Provider, logins: Logins) -> None:
    now = int(time.time())
    grant = await logins.grant(provider.token(exp=now - 5, nbf=now + 5))
    assert grant is not None
    assert not grant.expired()


async def test_tokens_that_are_not_signed_by_a_key_pair_open_nothing(provider: Provider, logins: Logins) -> None:
    good = provider.token()
    kid, key = next(iter(provider.keys.items()))
    claims = jwt.decode(good, options={"verify_signature": False})
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    none = jwt.encode(claims, "", algorithm="none", headers={"kid": kid})
    head = _part({"alg": "HS256", "typ": "JWT", "kid": kid})
    signed = f"{head}.{good.split('.')[1]}"
    hmac = HMACAlgorithm(HMACAlgorithm.SHA256)
    confused = f"{signed}.{_base64(hmac.sign(signed.encode(), pem))}"
    stolen = Provider(provider.issuer, AUDIENCE)
    forged = jwt.encode(claims, next(iter(stolen.keys.values())), algorithm="RS256", headers={"kid": kid})
    changed = f"{good.split('.')[0]}.{_part(claims | {'sub': 'bob'})}.{good.split('.')[2]}"
    for token in (none, confused, forged, changed, f"{good}x", "a.b.c", "..", f"{'x' * 20_000}.b.c"):
        assert await logins.grant(token) is None, token[:60]
    assert await logins.grant(good) is not None


def _part(claims: dict[str, Any]) -> str:
    return _base64(json.dumps(claims).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


async def test_keys_of_another_kind_count_as_well(provider: Provider, logins: Logins) -> None:
    provider.rotate("ec")
    assert await logins.grant(provider.token()) is not None


async def test_a_new_key_is_found_and_made_up_ones_cost_nothing(
    provider: Provider, logins: Logins, clock: Clock
) -> None:
    assert await logins.grant(provider.token()) is not None
    stranger = Provider(provider.issuer, AUDIENCE)
    for _ in range(5):
        stranger.rotate("ec")
        assert await logins.grant(stranger.token()) is None
    assert provider.asked.count("keys") == 1
    old = provider.token()
    provider.rotate()
    clock.now += AGAIN_SECONDS
    assert await logins.grant(provider.token()) is not None
    assert await logins.grant(old) is None, "its key is published no more"
    assert provider.asked.count("keys") == 2


async def test_keys_are_fetched_anew_after_a_while(provider: Provider, logins: Logins, clock: Clock) -> None:
    old = provider.token()
    assert await logins.grant(old) is not None
    provider.rotate()
    clock.now += KEYS_SECONDS
    assert await logins.grant(old) is None


async def test_many_logins_at_once_ask_the_provider_once(provider: Provider, logins: Logins) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(logins.grant, provider.token())
    assert provider.asked == ["metadata", "keys"]


async def test_a_provider_that_does_not_answer_refuses_new_logins_and_keeps_known_ones(
    provider: Provider,
    logins: Logins,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    usual = FETCH_SECONDS
    monkeypatch.setattr("atlas_mcp.access.provider.FETCH_SECONDS", 2.0)  # enough for the question to arrive
    provider.silent = True
    with caplog.at_level(logging.ERROR), pytest.raises(Unavailable, match="did not answer"):
        await logins.grant(provider.token())
    assert provider.issuer in caplog.text
    asked = len(provider.asked)
    with pytest.raises(Unavailable):
        await logins.grant(provider.token())
    assert len(provider.asked) == asked, "who comes meanwhile does not wait for it"
    provider.silent = False
    monkeypatch.setattr("atlas_mcp.access.provider.FETCH_SECONDS", usual)
    clock.now += AGAIN_SECONDS
    token = provider.token()
    assert await logins.grant(token) is not None
    monkeypatch.setattr("atlas_mcp.access.provider.FETCH_SECONDS", 0.3)
    provider.silent = True
    clock.now += KEYS_SECONDS
    assert await logins.grant(token) is not None
    clock.now += STALE_SECONDS
    with pytest.raises(Unavailable):
        await logins.grant(token)


async def test_a_provider_that_speaks_for_another_issuer_is_not_believed(provider: Provider, logins: Logins) -> None:
    provider.speaks_for = "https://evil.example.com"
    with pytest.raises(Unavailable, match="ATLAS_OAUTH_ISSUER"):
        await logins.grant(provider.token())


async def test_the_keys_may_lie_at_an_address_of_their_own(provider: Provider) -> None:
    rules = LoginRules(issuer=provider.issuer, resource=AUDIENCE, audience=AUDIENCE, jwks_url=f"{provider.issuer}/keys")
    assert await Logins(rules).grant(provider.token()) is not None
    assert provider.asked == ["keys"]


async def test_subjects_with_odd_signs_stay_apart(provider: Provider, logins: Logins) -> None:
    subjects = ["a b", "a\nb", "ä", "~x", "x" * 300, "x" * 301, "a:b"]
    grants = [await logins.grant(provider.token(sub=subject)) for subject in subjects]
    ids = [grant.caller.id for grant in grants if grant]
    assert len(set(ids)) == len(subjects)
    assert all(one.isascii() and one.isprintable() and " " not in one and len(one) < 160 for one in ids)


def test_metadata_is_looked_for_where_the_standards_say() -> None:
    assert discovery_addresses("https://a.example") == [
        "https://a.example/.well-known/oauth-authorization-server",
        "https://a.example/.well-known/openid-configuration",
    ]
    assert discovery_addresses("https://a.example/realms/home") == [
        "https://a.example/.well-known/oauth-authorization-server/realms/home",
        "https://a.example/.well-known/openid-configuration/realms/home",
        "https://a.example/realms/home/.well-known/openid-configuration",
    ]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"ATLAS_OAUTH_ISSUER": "https://a.example"}, "ATLAS_PUBLIC_URL"),
        ({"ATLAS_OAUTH_ISSUER": "http://a.example", "ATLAS_PUBLIC_URL": "https://b.example"}, "ATLAS_OAUTH_ISSUER"),
        ({"ATLAS_OAUTH_ISSUER": "https://[", "ATLAS_PUBLIC_URL": "https://b.example"}, "ATLAS_OAUTH_ISSUER"),
        ({"ATLAS_PUBLIC_URL": "atlas.example.com"}, "ATLAS_PUBLIC_URL"),
    ],
    ids=str,
)
async def test_half_a_configuration_is_refused(
    settings: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=named):
        async with open_atlas(load_settings()):
            pass


class Storage:
    """What a client keeps of its login."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


async def test_a_client_that_knows_only_our_address_logs_in_and_works(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = free_socket()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    monkeypatch.setenv("ATLAS_PUBLIC_URL", address)
    monkeypatch.setenv("ATLAS_OAUTH_ISSUER", provider.issuer)
    back: list[AuthorizationCodeResult] = []

    async def redirected(url: str) -> None:
        async with httpx2.AsyncClient(timeout=60) as browser:
            answer = await browser.get(url)
        query = parse_qs(urlsplit(answer.headers["location"]).query)
        back.append(AuthorizationCodeResult(code=query["code"][0], state=query["state"][0]))

    async def returned() -> AuthorizationCodeResult:
        return back.pop()

    wanted = OAuthClientMetadata(redirect_uris=[AnyUrl("http://127.0.0.1:1/callback")], client_name="host")
    async with open_house(listener=listener):
        storage = Storage()
        login = OAuthClientProvider(f"{address}/mcp", wanted, storage, redirected, returned)
        async with httpx2.AsyncClient(timeout=60) as http:
            refused = await http.post(f"{address}/mcp", json={})
            assert refused.status_code == 401
            named = f"{address}/.well-known/oauth-protected-resource/mcp"
            assert f'resource_metadata="{named}"' in refused.headers["www-authenticate"]
            told = (await http.get(named)).json()
        assert told["resource"] == f"{address}/mcp"
        assert told["authorization_servers"] == [provider.issuer]
        assert told["scopes_supported"] == ["read", "chat", "write", "admin"]
        async with (
            httpx2.AsyncClient(auth=login, timeout=60) as http,
            Client(streamable_http_client(f"{address}/mcp", http_client=http)) as client,
        ):
            await call(client, "update_agent_memory", agent="librarian", label="human", value="Ada, logged in.")
            [block] = (await call(client, "get_agent_memory", agent="librarian", label="human"))["blocks"]
            assert block["value"] == "Ada, logged in."
            assert provider.logins.resources == [f"{address}/mcp"]
            assert (await call(client, "get_status"))["caller"].startswith("login:")
