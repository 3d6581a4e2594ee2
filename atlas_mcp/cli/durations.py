"""Lengths of time as people write them on the command line: 30m, 12h, 7d, 4w."""

from __future__ import annotations

import re
from datetime import timedelta

from atlas_mcp.errors import InvalidInput

_WRITTEN = re.compile(r"([0-9]{1,6})([mhdw])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_LONGEST = timedelta(days=3_660)


def looks_like_one(text: str) -> bool:
    """Whether it is written as a length of time."""
    return _WRITTEN.fullmatch(text) is not None


def length(text: str, argument: str, *, or_none_at_all: bool = False, longest: timedelta = _LONGEST) -> timedelta:
    """The length of time; InvalidInput for what is none, is over `longest`, or is nothing where that is no length."""
    match = _WRITTEN.fullmatch(text)
    found = int(match[1]) * _UNITS[match[2]] if match else None
    if found is None or found > longest or not (found or or_none_at_all):
        step = f"Give a number with m (minutes), h (hours), d (days) or w (weeks), at most {longest.days}d: 12h, 30d."
        raise InvalidInput(f"{text!r} is not a length of time.", argument=argument, next_step=step)
    return found
