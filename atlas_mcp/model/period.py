"""A stretch of time, open at either end: since a moment (which belongs to it) until another (which does not)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from atlas_mcp.model._base import Frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class Period(Frozen):
    """`since` None is since ever, `until` None is for ever, as far as anybody knows."""

    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_one(self) -> bool:
        """Whether there is a moment in it."""
        return (self.since or _FIRST) < (self.until or _LAST)

    def overlaps(self, other: Period) -> bool:
        """Whether a moment belongs to both."""
        return self.both(other).is_one

    def both(self, other: Period) -> Period:
        """What belongs to both; it may be none."""
        since, until = max(self._since, other._since), min(self._until, other._until)
        return Period(since=None if since == _FIRST else since, until=None if until == _LAST else until)

    def within(self, other: Period) -> bool:
        """Whether all of it belongs to the other."""
        return other._since <= self._since and self._until <= other._until

    def minus(self, others: Iterable[Period]) -> list[Period]:
        """What is left of it without the others, earliest first."""
        left: list[Period] = [self]
        for other in others:
            left = [part for one in left for part in one._without(other)]
        return left

    def _without(self, other: Period) -> list[Period]:
        if not self.overlaps(other):
            return [self]
        parts = Period(since=self.since, until=other.since), Period(since=other.until, until=self.until)
        ends = other.since is not None, other.until is not None
        return [part for part, is_there in zip(parts, ends, strict=True) if is_there and part.is_one]

    @property
    def _since(self) -> datetime:
        return self.since or _FIRST

    @property
    def _until(self) -> datetime:
        return self.until or _LAST
