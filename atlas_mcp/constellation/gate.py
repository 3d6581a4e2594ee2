"""The gate that every turn passes before it begins, so that a process which is to end can wait for those under way."""

from __future__ import annotations

from typing import Self

import anyio


class Gate:
    """Entered for the length of a turn. Once it is shut nobody passes any more: who comes waits to be cancelled."""

    def __init__(self) -> None:
        self._inside = 0
        self._shut = False
        self._news = anyio.Event()

    async def __aenter__(self) -> Self:
        if self._shut:
            await anyio.sleep_forever()
        self._inside += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self._inside -= 1
        self._news.set()

    @property
    def inside(self) -> int:
        """How many turns are under way."""
        return self._inside

    def shut(self) -> None:
        """Let no more turns begin."""
        self._shut = True

    async def empty(self) -> None:
        """Return when no turn is under way."""
        while self._inside:
            self._news = anyio.Event()
            await self._news.wait()
