"""The webhook: an address of the user's own that is told of alerts, signed in the way of Standard Webhooks.

Each message is a POST of JSON with the headers `webhook-id`, `webhook-timestamp` and `webhook-signature`: `v1,` and the
base64 of HMAC-SHA256 over `id.timestamp.body`. The id of a message is the same at every attempt, so who gets it twice
can tell; timestamp and signature are of the attempt. A secret that begins with `whsec_` is base64, any other is taken
as it is written.

Promise: any answer but 2xx, and none within DEADLINE seconds, is a failure, to be tried again. Redirections are not
followed. Private and loopback addresses are reached: the user names the address, nobody else can. The address is never
written to a log beyond its host: its path may be a secret.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from atlas_mcp import __version__
from atlas_mcp.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    import httpx

DEADLINE = 10.0
FEWEST_CHARACTERS = 16
_PREFIX = "whsec_"
_MAKE_ONE = "Make one: python3 -c \"import base64, os; print('whsec_' + base64.b64encode(os.urandom(32)).decode())\""


@dataclass(frozen=True)
class Webhook:
    """An address, and the key that messages to it are signed with; made by `webhook`."""

    url: str = field(repr=False)
    key: bytes = field(repr=False)

    @property
    def shown(self) -> str:
        """The address as logs may have it."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")

    def headers(self, message_id: str, body: bytes, at: int) -> dict[str, str]:
        """The headers of an attempt made at that second since 1970."""
        return {
            "content-type": "application/json",
            "user-agent": f"atlas-mcp/{__version__}",
            "webhook-id": message_id,
            "webhook-timestamp": str(at),
            "webhook-signature": sign(self.key, message_id, at, body),
        }


def webhook(url: str | None, secret: str | None) -> Webhook | None:
    """The webhook of the settings; None without an address.

    ConfigurationError for an address that is none of HTTP, and for a secret that is missing, too short or no base64.
    """
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise ConfigurationError(
            "it is no address of HTTP.", argument="ATLAS_WEBHOOK_URL", next_step="Give one as https://host/path."
        )
    return Webhook(url, _key(secret))


def sign(key: bytes, message_id: str, at: int, body: bytes) -> str:
    """The signature of a message's attempt at that second."""
    signed = hmac.new(key, f"{message_id}.{at}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


@asynccontextmanager
async def sending(hook: Webhook, clock: Callable[[], float] = time.time) -> AsyncGenerator[Sender]:
    """What sends messages to it, until the block is left."""
    import httpx

    secure = hook.url.startswith("https:")
    verify: Any = await anyio.to_thread.run_sync(httpx.create_ssl_context) if secure else False
    async with httpx.AsyncClient(verify=verify, follow_redirects=False, trust_env=secure) as client:
        yield Sender(hook, client, clock)


class Sender:
    """Sends to one webhook; `clock` is what timestamps are of."""

    def __init__(self, hook: Webhook, client: httpx.AsyncClient, clock: Callable[[], float]) -> None:
        self._hook = hook
        self._client = client
        self._clock = clock

    async def send(self, message_id: str, content: Mapping[str, Any], *, deadline: float = DEADLINE) -> str | None:
        """Send it once: None if it was taken within the deadline, in seconds, else why not, without the address."""
        import httpx

        body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        headers = self._hook.headers(message_id, body, int(self._clock()))
        try:
            with anyio.fail_after(deadline):
                sent = self._client.stream("POST", self._hook.url, content=body, headers=headers, timeout=deadline)
                async with sent as answer:  # what it says beside its status is not waited for
                    status = answer.status_code
        except (TimeoutError, httpx.TimeoutException):
            return f"it did not answer within {deadline:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return f"it could not be reached ({type(error).__name__})"
        return None if 200 <= status < 300 else f"it answered {status}"


def _key(secret: str | None) -> bytes:
    named = "ATLAS_WEBHOOK_SECRET"
    if not secret:
        raise ConfigurationError("messages to the webhook are signed with it.", argument=named, next_step=_MAKE_ONE)
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True) if secret.startswith(_PREFIX) else None
    except (binascii.Error, ValueError):
        raise ConfigurationError(f"after {_PREFIX} it is no base64.", argument=named, next_step=_MAKE_ONE) from None
    key = secret.encode() if key is None else key
    if len(key) < FEWEST_CHARACTERS:
        text = f"it is shorter than {FEWEST_CHARACTERS} bytes, and could be guessed."
        raise ConfigurationError(text, argument=named, next_step=_MAKE_ONE)
    return key
