"""Vectors from a server: any that speaks OpenAI's `/v1/embeddings`, and Voyage's, which is told what a text is for.

Promise: a call ends within its deadline, however slowly the server speaks, and takes no more than MOST_BYTES of it.
It is sent again, within the deadline, only where the server did not take it: no connection, a connection that was
closed before any answer, or a server that asks to wait (429, 503). Redirects are not followed: the key goes to the
configured address and nowhere else. Neither key nor texts are in any error.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import anyio

from atlas_mcp.errors import ConfigurationError, EmbedderFailed
from atlas_mcp.memory.embedders.contract import PROBE, checked, fingerprint
from atlas_mcp.model.retry_after import retry_after

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    import httpx
    import numpy as np
    from numpy.typing import NDArray

    from atlas_mcp.model.stores import StoresConfig

CALL_SECONDS = 60.0
AT_ONCE = 64
MOST_BYTES = 64_000_000
_FIRST_PAUSE = 0.2
_VOYAGE = "https://api.voyageai.com/v1"
_REFUSED = {400, 413, 422}
_MAY_BE_A_TEXT = {*_REFUSED, 500}
"""Some servers answer with 500 when a model makes no vector of some text."""
_STEPS = {
    401: "Check ATLAS_EMBEDDING_KEY.",
    403: "Check ATLAS_EMBEDDING_KEY, and whether it may use ATLAS_EMBEDDING_MODEL.",
    404: "Check ATLAS_EMBEDDING_URL, which ends before /embeddings, and ATLAS_EMBEDDING_MODEL.",
}

Dialect = Literal["openai-compatible", "voyage"]


class RemoteEmbedder:
    """See `contract.Embedder`. Its dimension is what the server first answered with, and never another."""

    ranks = True

    def __init__(self, http: httpx.AsyncClient, dialect: Dialect, url: str, model: str, dimension: int) -> None:
        self.dimension = dimension
        self.fingerprint = fingerprint(dialect, model, "", dimension)
        self._http = http
        self._dialect: Dialect = dialect
        self._url = url
        self._model = model

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        """A row for each text, by as many calls as that takes, each of them within CALL_SECONDS."""
        import numpy as np

        made = [np.zeros((0, self.dimension), np.float32)]
        for first in range(0, len(texts), AT_ONCE):
            some = [_sendable(text) for text in texts[first : first + AT_ONCE]]
            rows = await self._ask(some, query=query)
            made.append(checked(rows, len(some), self.dimension))
        return np.concatenate(made)

    async def _ask(self, texts: list[str], *, query: bool) -> list[Any]:
        return await _ask(self._http, self._url, _body(self._dialect, self._model, texts, query=query))


@asynccontextmanager
async def open_remote(dialect: Dialect, config: StoresConfig) -> AsyncGenerator[RemoteEmbedder]:
    """The embedder, until the block is left; it is asked once, for what its vectors are like.

    Raises ConfigurationError where address, model or key are missing; EmbedderFailed as every call.
    """
    import httpx

    url, model, key = _address(dialect, config), config.embedding_model, config.embedding_key
    if not model:
        raise ConfigurationError(
            f"the embedder {dialect} needs to know which model makes the vectors.",
            argument="ATLAS_EMBEDDING_MODEL",
            next_step="Set ATLAS_EMBEDDING_MODEL to a model that the server has.",
        )
    headers = {"authorization": f"Bearer {key.get_secret_value()}"} if key else {}
    local = (urlsplit(url).hostname or "") in {"127.0.0.1", "localhost", "::1"}
    async with httpx.AsyncClient(
        headers=headers,
        timeout=CALL_SECONDS,
        trust_env=not local,  # a proxy of the environment is not meant for this machine
    ) as http:
        rows = await _ask(http, url, _body(dialect, model, [PROBE], query=False))
        dimension = checked(rows, 1).shape[1]
        yield RemoteEmbedder(http, dialect, url, model, dimension)


def _address(dialect: Dialect, config: StoresConfig) -> str:
    url = config.embedding_url.get_secret_value() if config.embedding_url else ""
    if dialect == "voyage":
        if config.embedding_key is None:
            raise ConfigurationError(
                "Voyage needs a key.", argument="ATLAS_EMBEDDING_KEY", next_step="Set ATLAS_EMBEDDING_KEY to it."
            )
        url = url or _VOYAGE
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(
            "it is no address of a server." if url else "the embedder openai-compatible needs a server's address.",
            argument="ATLAS_EMBEDDING_URL",
            next_step="Set ATLAS_EMBEDDING_URL to its address as far as /v1, such as http://127.0.0.1:11434/v1.",
        )
    return url.rstrip("/") + "/embeddings"


def _sendable(text: str) -> str:
    """The text as JSON can carry it; half a character is none."""
    return text.encode("utf-8", "replace").decode() or " "


def _body(dialect: Dialect, model: str, texts: list[str], *, query: bool) -> dict[str, Any]:
    if dialect == "voyage":
        return {"model": model, "input": texts, "input_type": "query" if query else "document"}
    return {"model": model, "input": texts, "encoding_format": "float"}


async def _ask(http: httpx.AsyncClient, url: str, body: dict[str, Any]) -> list[Any]:
    """The vectors, as the server gave them, in the order of the texts."""
    pause = _FIRST_PAUSE
    try:
        with anyio.fail_after(CALL_SECONDS):
            while True:
                try:
                    return _vectors(await _post(http, url, body))
                except _NotTaken as failure:
                    wait = failure.retry_after or pause
                    if anyio.current_time() + wait >= anyio.current_effective_deadline():
                        raise
                    await anyio.sleep(wait)
                    pause *= 2
    except TimeoutError:
        raise EmbedderFailed(f"it did not answer within {CALL_SECONDS:g} s.") from None


class _NotTaken(EmbedderFailed):
    """Raised when the server did not take the call, so that it may be sent again."""


async def _post(http: httpx.AsyncClient, url: str, body: dict[str, Any]) -> bytes:
    import httpx

    content = bytearray()
    try:
        async with http.stream("POST", url, json=body) as answer:
            async for piece in answer.aiter_bytes():
                content += piece
                if len(content) > MOST_BYTES:
                    raise EmbedderFailed(f"it answered with more than {MOST_BYTES:,} bytes.")
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise _NotTaken(_said("it cannot be reached", error)) from error
    except httpx.RemoteProtocolError as error:
        broken = "it closed the connection" if not content else "it broke off its answer"
        raise (EmbedderFailed if content else _NotTaken)(_said(broken, error)) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise EmbedderFailed(_said("it cannot be asked", error)) from error
    if answer.status_code != 200:
        # A server may quote what it refuses, and a caller's text is not for whoever reads this.
        raise _refusal(answer, _reason(bytes(content)) if body["input"] == [PROBE] else "")
    return bytes(content)


def _said(what: str, error: Exception) -> str:
    return f"{what}: {str(error) or type(error).__name__}."


def _refusal(answer: httpx.Response, reason: str) -> EmbedderFailed:
    status = answer.status_code
    message = f"it answered with status {status}{reason}."
    if status in {429, 503}:
        return _NotTaken(message, retry_after=retry_after(answer.headers))
    return EmbedderFailed(message, of_texts=status in _MAY_BE_A_TEXT, next_step=_STEPS.get(status))


def _reason(content: bytes) -> str:
    """What the server says went wrong, as far as it says so in the way of OpenAI, Voyage or Ollama."""
    try:
        answer: Any = json.loads(content)
        said: Any = answer.get("error", answer.get("detail"))
        said = said if isinstance(said, str) else said.get("message")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return f": {' '.join(said.split())[:200].rstrip('.')}" if isinstance(said, str) else ""


def _vectors(content: bytes) -> list[Any]:
    try:
        data = json.loads(content)["data"]
        return [item["embedding"] for item in sorted(data, key=lambda item: item["index"])]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise EmbedderFailed(
            "it did not answer with vectors.",
            next_step="Check ATLAS_EMBEDDING_URL: it is an address of an OpenAI-compatible server, as far as /v1.",
        ) from None
