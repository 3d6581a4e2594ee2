"""letta-client's errors in ATLAS' words: the one place where they are translated.

Promise: inside `translated()` nothing of letta-client or httpx is raised: what comes out is an AtlasError whose text a
person can act on. A model's failure is told apart from Letta's own by Letta's error shape.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import anyio

from atlas_mcp.errors import AtlasError, LettaLost, LettaUnavailable, ModelFailed, OverLimit, UnknownModel
from atlas_mcp.model.retry_after import retry_after, retry_after_said

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    import httpx
    from letta_client import APIStatusError

_LENGTHS = re.compile(r"length \((\d+) characters\).*?limit \((\d+)", re.DOTALL)
_HANDLES = re.compile(r"Handle .* must be one of|model handle should be in the format", re.DOTALL)
_EMBEDDINGS = re.compile(r"Embedding model .* not found", re.DOTALL)
_PENDING = re.compile(r"PENDING_APPROVAL|waiting for approval on a tool call", re.IGNORECASE)
_PROVIDERS = re.compile(r".*Error code: (\d{3})|.*\b(?:API error|LLM)\b", re.DOTALL)
"""How an error of the model's provider reads inside Letta's own internal errors."""
_VANISHED = re.compile(r"\b(step|agent|conversation|run) with id \S+ does not exist|NoResultFound", re.IGNORECASE)
"""What Letta says in mid stream when the turn's agent was deleted meanwhile."""
_INNARDS = re.compile(r",? access level in \[.*|\n\[SQL: .*", re.DOTALL)
_TRANSIENT = ("rate_limit", "timeout", "connection", "overloaded", "unavailable", "server_error", "empty_response")
_PASSES = re.compile(r"overloaded|failed to connect|connection error|upstream connect", re.IGNORECASE)
"""How a failure that passes reads where Letta's type of it says no more than that the model failed."""
_SEE_ADDRESS = "See that LETTA_BASE_URL is the address that Letta itself listens on (atlas-mcp doctor)."
MAX_DETAIL = 2_000
CALL_SECONDS = 60.0
NOT_THERE = 404
"""The status of a refusal by what has no such address: a thing that is gone raises LettaLost."""
_REFUSALS = frozenset({400, 403, 409, 413, 422})


class PendingApproval(LettaUnavailable):
    """Raised when a thread waits for the answer of a tool that somebody else owes it. Stays within this room."""


class NotBegun(LettaUnavailable):
    """Raised when Letta surely began nothing of what was asked: it was not reached, or sent the call away unread."""


class Busy(NotBegun):
    """Raised when Letta asks to come again later; `seconds` is when, if it says so."""

    def __init__(self, message: str, seconds: float | None, *, next_step: str | None = None) -> None:
        super().__init__(message, next_step=next_step)
        self.seconds = seconds


class LettaRefused(NotBegun):
    """Raised when Letta understood a call and will not do it; `status` is that of its answer."""

    def __init__(self, message: str, status: int, *, next_step: str | None = None) -> None:
        super().__init__(message, next_step=next_step)
        self.status = status


@contextmanager
def exchange() -> Generator[None]:
    """A deadline, and errors translated, around one short exchange with Letta."""
    with translated(), anyio.fail_after(CALL_SECONDS):
        yield


@contextmanager
def translated() -> Generator[None]:
    """Raise what goes wrong inside as one of ATLAS' errors."""
    import httpx
    import letta_client

    try:
        yield
    except letta_client.APIStatusError as error:
        raise translate_status(error) from error
    except (letta_client.APIError, httpx.HTTPError, httpx.StreamError, json.JSONDecodeError, TimeoutError) as error:
        raise unreachable(error) from error


def unreachable(error: Exception) -> LettaUnavailable:
    """Letta was not reached, hung, or was cut off. What the breaker says of it needs no other words."""
    if isinstance(error.__cause__, LettaUnavailable):
        return error.__cause__
    reason = str(error) or type(error).__name__
    cause = f" ({error.__cause__})" if error.__cause__ and str(error.__cause__) else ""
    return (NotBegun if _never_sent(error) else LettaUnavailable)(
        f"Letta did not answer: {_short(reason)}{_short(cause)}.",
        next_step="See whether it runs and can be reached (get_status), and try again.",
    )


def check_kind(response: httpx.Response) -> None:
    """LettaUnavailable for an answer that is none of Letta's: a log-in page, say, that stands in its place."""
    kind = response.headers.get("content-type", "").partition(";")[0]
    if response.status_code < 400 and kind and not kind.endswith(("json", "event-stream")):
        raise LettaUnavailable(
            f"what answers at {response.request.url.host} is not Letta's: {kind} ({response.status_code}). "
            f"{_SEE_ADDRESS}"
        )


def _never_sent(error: BaseException) -> bool:
    """Whether there was no connection on which anything could have been sent."""
    import httpx

    cause = error.__cause__ or error
    return isinstance(cause, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.UnsupportedProtocol)


def translate_status(error: APIStatusError) -> AtlasError:
    """An answer of Letta that is an error; one in mid stream comes with the stream's own status of 200."""
    status, body = error.status_code, _mapping(error.body)
    if _PENDING.search(json.dumps(error.body, default=str)):
        return PendingApproval("the conversation waits for the answer of a tool that an earlier turn called.")
    if status != 404 and (fault := _mapping(body.get("error"))):
        kind, text = str(fault.get("type", "")), _sentence(fault)
        return model_failed(kind, text, status, fault) if status >= 400 else turn_failed(kind, text, fault)
    if body.get("message_type") == "error_message":
        return turn_failed(str(body.get("error_type") or ""), _sentence(body))
    detail = _INNARDS.sub("", _detail(body) or error.message)
    if lengths := _LENGTHS.search(detail):
        return OverLimit("value", int(lengths[1]), int(lengths[2]))
    if _HANDLES.search(detail):
        return UnknownModel(_short(detail), argument="ATLAS_MODEL")
    if _EMBEDDINGS.search(detail):
        return UnknownModel(_short(detail), argument="LETTA_EMBEDDING_MODEL")
    if status == 404:
        return LettaLost(f"Letta has no such thing: {_short(detail)}") if _names_a_thing(body) else _no_letta(error)
    if status in {401, 403}:
        text = f"Letta refuses the call ({status}): {_short(detail)}"
        step = "Set the key that this Letta server expects, in LETTA_API_KEY."
        return LettaRefused(text, status, next_step=step) if status == 403 else NotBegun(text, next_step=step)
    if status in {429, 503}:
        step = "Try again in a moment."
        return Busy(f"Letta is busy ({status}): {_short(detail)}.", retry_after(error.response.headers), next_step=step)
    if status in _REFUSALS:
        return LettaRefused(f"Letta answered with an error ({status}): {_short(detail)}", status)
    shown = f" ({status})" if status >= 400 else ""  # an error in mid stream comes with the stream's own 200
    return LettaUnavailable(f"Letta answered with an error{shown}: {_short(detail)}")


def _names_a_thing(body: dict[str, Any]) -> bool:
    """Whether a 404 is Letta's own about a thing that it does not have, and not about an address that it does not."""
    return _detail(body) not in {"", "Not Found"}


def _no_letta(error: APIStatusError) -> LettaRefused:
    return LettaRefused(
        f"what answers at {error.request.url.host} is no Letta that ATLAS can work with: it has no "
        f"{error.request.url.path}.",
        404,
        next_step=_SEE_ADDRESS,
    )


def turn_failed(kind: str, text: str, fault: Mapping[str, Any] | None = None) -> AtlasError:
    """A turn that Letta gave up in mid stream; a provider's failure is sometimes one of its own internal errors."""
    provider = None if _VANISHED.search(text) else _PROVIDERS.search(text)
    if not kind.startswith("llm") and not provider:
        return LettaUnavailable(f"Letta gave the turn up ({kind or 'no reason'}): {_short(text)}")
    return model_failed(kind, text, int(provider[1]) if provider and provider[1] else 0, fault)


def run_failed(metadata: object) -> ModelFailed:
    """A run that Letta keeps as failed; why stands in its metadata."""
    error = _mapping(_mapping(metadata).get("error"))
    error = _mapping(error.get("error")) or error  # the embedded Letta's has one more wrapping
    kind = str(error.get("error_type") or error.get("type") or "")
    provider = _PROVIDERS.search(_sentence(error))
    return model_failed(kind, _sentence(error), int(provider[1]) if provider and provider[1] else 0, error)


def model_failed(kind: str, text: str, status: int = 0, fault: Mapping[str, Any] | None = None) -> ModelFailed:
    """A model call that failed inside Letta; `kind` is Letta's type of it, such as llm_rate_limit.

    Only the embedded Letta tells in the `fault` whether it passes, and when.
    """
    told = fault or {}
    passes = status == 429 or status >= 500 or any(word in kind for word in _TRANSIENT) or _PASSES.search(text)
    failed = ModelFailed(_short(text) or "the model call failed.", transient=bool(told.get("transient", passes)))
    seconds = told.get("retry_after")
    failed.retry_after = float(seconds) if isinstance(seconds, int | float) else retry_after_said(text)
    return failed


def _sentence(fault: dict[str, Any]) -> str:
    message, detail = str(fault.get("message") or ""), str(fault.get("detail") or "")
    return message if not detail or detail in message else f"{message} {detail}".strip()


def _detail(body: dict[str, Any]) -> str:
    detail = body.get("detail", body.get("message", ""))
    return detail if isinstance(detail, str) else json.dumps(detail, default=str)


def _mapping(body: object) -> dict[str, Any]:
    return cast("dict[str, Any]", body) if isinstance(body, dict) else {}


def _short(text: str) -> str:
    return text if len(text) <= MAX_DETAIL else text[:MAX_DETAIL] + "…"
