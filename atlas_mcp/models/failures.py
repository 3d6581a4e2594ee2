"""What went wrong when a provider was asked: put into words, without secrets, and sorted by what may help.

A *bad request* is our own doing (a conversation no model would take): another model is not asked. Everything else is
the provider's, for a while (`transient`) or until somebody mends it (a key, a name, a quota).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from typing import Any

from atlas_mcp.errors import ModelFailed
from atlas_mcp.model.retry_after import retry_after, retry_after_said
from atlas_mcp.models.catalog import ModelName

_BAD_REQUEST = {400, 413, 422}
_TRANSIENT = {408, 409, 425, 429}
_LOOKS_SECRET = re.compile(r"\b(?:sk|pk|rk)[-_][A-Za-z0-9*_-]{6,}|\bAIza[A-Za-z0-9*_-]{6,}|Bearer\s+\S+")
_LONGEST = 240
_SHORTEST_SECRET = 6  # a shorter one would be found inside ordinary words


@dataclass(frozen=True)
class Failure:
    """One failed attempt: what happened in a few words, what the provider said, and what to do next.

    `retry_after` is in how many seconds the provider wants to be asked again, if it said so.
    """

    model: str
    what: str
    detail: str = ""
    advice: str = ""
    transient: bool = False
    bad_request: bool = False
    retry_after: float | None = None

    def __str__(self) -> str:
        return f"{self.model}: {self.what}" + (f" ({self.detail})" if self.detail else "")


def understand(model: ModelName, error: Exception, secrets: Iterable[str] = ()) -> Failure:
    """The failure that a provider's exception means."""
    detail = _detail(error, secrets)
    status = _status(error)
    kinds = {cls.__name__ for cls in type(error).__mro__}
    if "ContextOverflowError" in kinds:
        return Failure(
            model.text, "the conversation is longer than the model can read", detail, "Start a new conversation.",
            bad_request=True,
        )  # fmt: skip
    if status in _BAD_REQUEST:
        return Failure(model.text, f"the request was refused as invalid (HTTP {status})", detail, bad_request=True)
    if status in {401, 403}:
        key = model.provider.keys[0] if model.provider.keys else "the server's access rules"
        return Failure(model.text, f"the key was refused (HTTP {status})", detail, f"Check {key}.")
    if status == 404:
        return Failure(
            model.text, "there is no such model, or not at this address (HTTP 404)", detail,
            f"Check the name {model.text!r}" + (f" and {model.provider.address}." if model.provider.address else "."),
        )  # fmt: skip
    again = _retry_after(error)
    if status == 429:
        return Failure(
            model.text, "too many requests, or the quota is used up (HTTP 429)", detail,
            f"Try again in {_in_words(again)}, raise the limit with the provider, or set ATLAS_MODEL_FALLBACKS.",
            transient=True, retry_after=again,
        )  # fmt: skip
    if status is not None:
        advice = f"Try again in {_in_words(again)}, or set ATLAS_MODEL_FALLBACKS." if again else _AGAIN
        transient = status >= 500 or status in _TRANSIENT
        what = f"the provider failed (HTTP {status})"
        return Failure(model.text, what, detail, advice, transient=transient, retry_after=again)
    return _without_status(model, error, kinds, detail)


def raise_failed(failures: list[Failure]) -> ModelFailed:
    """The error to raise when every model that was asked failed; `failures` is in the order they were asked.

    That a model failed is not said in the text: whoever shows it says so, as the embedded Letta does.
    """
    text = "; then ".join(str(failure) for failure in failures)
    advice = " ".join(dict.fromkeys(f.advice for f in failures if f.advice))
    failed = ModelFailed(f"{text}.", transient=any(f.transient for f in failures), next_step=advice or None)
    failed.retry_after = min((f.retry_after or 0.0 for f in failures if f.transient), default=0.0) or None
    return failed


_AGAIN = "Try again, or set ATLAS_MODEL_FALLBACKS."


def _without_status(model: ModelName, error: Exception, kinds: set[str], detail: str) -> Failure:
    if any("Timeout" in kind for kind in kinds):
        return Failure(model.text, "no answer in time", detail, _AGAIN, transient=True)
    if isinstance(error, OSError) or kinds & {"APIConnectionError", "ConnectError", "TransportError", "NetworkError"}:
        where = f"Check the network and {model.provider.address}." if model.provider.address else "Check the network."
        return Failure(model.text, "the provider cannot be reached", detail, where, transient=True)
    if isinstance(error, json.JSONDecodeError):
        return Failure(model.text, "the answer was no JSON", detail, _AGAIN, transient=True)
    if isinstance(error, EOFError):
        return Failure(model.text, "the answer was empty", "", _AGAIN, transient=True)
    what = f"the answer could not be read ({type(error).__name__})"
    return Failure(model.text, what, detail, _AGAIN, transient=True)


def _status(error: Exception) -> int | None:
    """The HTTP status, as the providers' own exceptions and langchain's carry it, or what these were raised for."""
    for said in (error, error.__cause__):
        for name in ("status_code", "code"):
            value = getattr(said, name, None)
            if isinstance(value, int) and 400 <= value < 600:
                return value
    by_kind = {
        "ModelAuthenticationError": 401,
        "ModelPermissionDeniedError": 403,
        "ModelInvalidRequestError": 400,
        "ModelNotFoundError": 404,
        "ModelRateLimitError": 429,
        "ModelAPIError": 500,
    }
    return next((by_kind[cls.__name__] for cls in type(error).__mro__ if cls.__name__ in by_kind), None)


def _retry_after(error: Exception) -> float | None:
    """In how many seconds the provider wants to be asked again: by its answer's headers, else by its words."""
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    headers: Any = getattr(response, "headers", None) or {}
    said = retry_after({str(name).lower(): str(value) for name, value in headers.items()})
    return retry_after_said(str(error)) if said is None else said


def _in_words(seconds: float | None) -> str:
    if seconds is None:
        return "a minute"  # which is what most providers count requests by
    whole = max(1, ceil(seconds))
    return f"{whole:,} second{'s' if whole > 1 else ''}"


def _detail(error: Exception, secrets: Iterable[str]) -> str:
    """What the provider said, in one bounded line without anything that looks like a key."""
    body = getattr(error, "body", None)
    said = body.get("message") if isinstance(body, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]  # providers' own JSON
    text = said if isinstance(said, str) else str(error)
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "[key]")
    text = _LOOKS_SECRET.sub("[key]", " ".join(text.split()))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
