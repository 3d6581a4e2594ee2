"""To what a search among vectors is narrowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class VectorFilter:
    """Which of a caller's passages count: all that fulfil every condition that is given.

    `kinds` and `scopes` name those that may be; `project` is empty for passages of none; `since` and `until` are when
    the passage was learned, both ends included.
    """

    kinds: tuple[str, ...] | None = None
    scopes: tuple[str, ...] | None = None
    project: str | None = None
    author: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    min_trust: float | None = None
