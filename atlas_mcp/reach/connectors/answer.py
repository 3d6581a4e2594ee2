"""What a service answered, and what it says beside its content: that it was asked too often, and what went wrong."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, cast

from atlas_mcp.model.retry_after import retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping

UNSAID_SECONDS = 60.0
"""How long a service is left alone that does not say how long: GitHub asks for a minute, and Tavily counts by it."""


@dataclass(frozen=True)
class Answer:
    """What the service answered; `headers` by their names in small letters."""

    status: int
    headers: Mapping[str, str]
    content: bytes


def is_limit(answer: Answer) -> bool:
    """Whether it says that it was asked too often. GitHub says so with 403, too."""
    if answer.status == 429:
        return True
    if answer.status == 503:
        return "retry-after" in answer.headers
    exhausted = answer.headers.get("x-ratelimit-remaining") == "0" or "retry-after" in answer.headers
    return answer.status == 403 and (exhausted or "rate limit" in reason_of(answer.content).lower())


def wait_of(answer: Answer) -> float:
    """The seconds that it asks to be left alone."""
    seconds = retry_after(answer.headers)
    if seconds is None:
        seconds = exhausted_for(answer)
    return UNSAID_SECONDS if seconds is None else seconds


def exhausted_for(answer: Answer) -> float | None:
    """The seconds until calls are left again, where this was the last one; by the service's own clock."""
    reset = number_in(answer, "x-ratelimit-reset")
    if answer.headers.get("x-ratelimit-remaining") != "0" or reset is None:
        return None
    return max(0.0, reset - (_time_in(answer, "date") or time.time()))


def number_in(answer: Answer, header: str) -> float | None:
    """The number in that header, if there is one that can be meant."""
    try:
        number = float(answer.headers.get(header, ""))
    except ValueError:
        return None
    return number if 0 <= number < 1e11 else None


def _time_in(answer: Answer, header: str) -> float | None:
    try:
        return parsedate_to_datetime(answer.headers.get(header, "")).timestamp()
    except (ValueError, OverflowError):
        return None


def reason_of(content: bytes) -> str:
    """What it says went wrong, as far as it says so in one of the usual ways."""
    try:
        told: Any = json.loads(content)
        for name in ("error_description", "error", "message", "detail"):
            said: Any = told.get(name)
            if isinstance(said, dict):
                mapping = cast("dict[str, Any]", said)
                said = mapping.get("message", mapping.get("error"))
            if isinstance(said, str) and said.strip():
                return said
    except (ValueError, AttributeError, RecursionError):
        pass
    return ""


def objects(told: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects of that list; none where there is no such list."""
    found: object = told.get(name)
    if not isinstance(found, list):
        return []
    return [one for one in cast("list[Any]", found) if isinstance(one, dict)]


def inner(told: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The object within the object, and so on; empty where there is none."""
    found: Any = told
    for name in names:
        found = cast("dict[str, Any]", found).get(name) if isinstance(found, dict) else None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def text_in(told: Mapping[str, Any], name: str) -> str:
    """That text without blanks around it; empty where there is none."""
    found: object = told.get(name)
    return found.strip() if isinstance(found, str) else ""


def line_in(told: Mapping[str, Any], name: str) -> str:
    """That text on one line."""
    return " ".join(text_in(told, name).split())


def number_of(told: Mapping[str, Any], name: str) -> int:
    """That number; 0 where there is none."""
    found: object = told.get(name)
    return found if isinstance(found, int) else 0
