"""How often a cache was asked, and had it."""

from __future__ import annotations


class Hits:
    """Counts since the start of this process."""

    __slots__ = ("asked", "found")

    def __init__(self) -> None:
        self.asked = 0
        self.found = 0

    def note(self, *, found: bool) -> None:
        """Count one question."""
        self.asked += 1
        self.found += found
