"""Several who want the same at once: one gets it, and all have it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


@dataclass
class _Flight(Generic[T]):
    """One who gets it; `outcome` is None where it was cancelled meanwhile."""

    landed: anyio.Event = field(default_factory=anyio.Event)
    outcome: tuple[T | None, Exception | None] | None = None


class Flights(Generic[T]):
    """What is being got just now, by its key."""

    def __init__(self) -> None:
        self._open: dict[str, _Flight[T]] = {}

    async def share(self, key: str, get: Callable[[], Awaitable[T]]) -> T:
        """What `get` gives or raises; for those who come while it runs, the same. One who is cancelled takes nobody
        along: another of those who wait gets it then."""
        while (flight := self._open.get(key)) is not None:
            await flight.landed.wait()
            if flight.outcome is not None:
                return _taken(flight.outcome)
        flight = self._open[key] = _Flight[T]()
        try:
            flight.outcome = (await get(), None)
        except Exception as error:  # noqa: BLE001 - raised below, in this task and in those that wait
            flight.outcome = (None, error)
        finally:
            del self._open[key]
            flight.landed.set()
        return _taken(flight.outcome)


def _taken(outcome: tuple[T | None, Exception | None]) -> T:
    value, error = outcome
    if error is not None:
        raise error
    return value  # pyright: ignore[reportReturnType]  # one of the two is there, and T may itself allow None
