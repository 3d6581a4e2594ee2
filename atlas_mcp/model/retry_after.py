"""When somebody who refused a request wants to be asked again: the header Retry-After and its kin, and words."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST = 1e9
"""Seconds; what is longer than thirty years is not meant."""
_WORDS = re.compile(
    r"\b(?:try again|retry) (?:in|after) (?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?) ?(ms|s|seconds?)\b)?",
    re.IGNORECASE,
)
"""As OpenAI, Google and Azure write it: "try again in 1m30.5s", "retry in 34.07s", "retry after 20 seconds"."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """In how many seconds, by an answer's headers, whose names are in small letters; None if they say nothing that can
    be meant."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        said = headers.get(name, "").strip()
        try:
            seconds = float(said) * unit
        except ValueError:
            seconds = _until(said, headers.get("date", ""))
        if seconds is not None and seconds < _LONGEST:
            return max(0.0, seconds)
    return None


def retry_after_said(text: str) -> float | None:
    """In how many seconds, by what a message says; None if it does not."""
    found = _WORDS.search(text)
    if found is None or not any(found.groups()):
        return None
    hours, minutes, seconds, unit = found.groups(default="0")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds) * (0.001 if unit.lower() == "ms" else 1.0)


def _until(date: str, now: str) -> float | None:
    """The seconds to that date, by the clock of who says it where that is told."""
    when = _date(date)
    return (when - (_date(now) or datetime.now(UTC))).total_seconds() if when else None


def _date(text: str) -> datetime | None:
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
