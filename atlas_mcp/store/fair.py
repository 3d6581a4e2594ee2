"""Slots that are given out in turns: whoever wants one waits behind one of each other name at most, not behind all that
somebody else has asked for before.

Promise: at most `slots` are taken at once, `of_one` of them under one name. One who is cancelled while waiting takes
none. Under one name it is first come, first served.
"""

from __future__ import annotations

from collections import Counter, deque
from contextvars import ContextVar

import anyio

on_behalf: ContextVar[str] = ContextVar("on_behalf", default="")
"""The caller for whom this task works, where that is known: it waits under that name where it gives none."""


class FairSlots:
    """The slots of one process."""

    def __init__(self, slots: int, of_one: int) -> None:
        self._free = slots
        self._of_one = of_one
        self._taken: Counter[str] = Counter()
        self._waiting: dict[str, deque[anyio.Event]] = {}  # whose turn is next stands first

    def slot(self, of: str | None) -> _Slot:
        """To be held while the body of `async with` runs, under that name, or that of whoever this task works for."""
        return _Slot(self, of or on_behalf.get())

    async def take(self, of: str) -> None:
        """Wait for a slot; at once, without letting others go on, where one is free."""
        if self._free and self._taken[of] < self._of_one:  # then nobody waits who could have it
            self._give(of)
            return
        given = anyio.Event()
        self._waiting.setdefault(of, deque()).append(given)
        try:
            await given.wait()
        except BaseException:
            if given.is_set():
                self.give_back(of)
            else:
                self._waiting[of].remove(given)
                self._tidy(of)
            raise

    def give_back(self, of: str) -> None:
        """The slot is free for the next."""
        self._free += 1
        self._taken[of] -= 1
        if not self._taken[of]:
            del self._taken[of]
        for name, waiting in self._waiting.items():
            if self._taken[name] < self._of_one:
                self._give(name)
                waiting.popleft().set()
                del self._waiting[name]
                if waiting:
                    self._waiting[name] = waiting  # behind all others
                return

    def _give(self, of: str) -> None:
        self._free -= 1
        self._taken[of] += 1

    def _tidy(self, of: str) -> None:
        if not self._waiting[of]:
            del self._waiting[of]


class _Slot:
    __slots__ = ("_of", "_slots")

    def __init__(self, slots: FairSlots, of: str) -> None:
        self._slots = slots
        self._of = of

    async def __aenter__(self) -> None:
        await self._slots.take(self._of)

    async def __aexit__(self, *_: object) -> None:
        self._slots.give_back(self._of)
