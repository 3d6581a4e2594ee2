"""How much each caller may ask for: requests in a minute, turns under way at once, runs that have not ended.

Promise: what one caller asks for takes nothing from what another may. A minute's requests may come all at once; after
that, as many as the minute gives. The counts are this process's own: several processes allow as much each, but of runs,
which are counted in the record. Over stdio only runs are limited: the process is the caller's own.

A key's own limits go before the settings', and hold for its caller from the first request with it.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from atlas_mcp.errors import LimitReached
from atlas_mcp.model.access import HOME_KEY
from atlas_mcp.store.fair import on_behalf

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from atlas_mcp.model.access import Grant

REQUESTS_PER_MINUTE = 6_000
TURNS = 64
"""What keys and logins may where neither they nor the settings say anything; whoever has the home's own key has no such
limit, as nobody over stdio has."""

_TURN_SECONDS = 5.0
_MOST_KNOWN = 10_000


class Limiter:
    """The limits of one process; None is the default, 0 no limit."""

    def __init__(
        self,
        *,
        requests_per_minute: int | None,
        turns: int | None,
        open_runs: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._requests = requests_per_minute
        self._turns = turns
        self._open_runs = open_runs
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}  # of each caller: requests left, and when that was
        self._under_way: Counter[str] = Counter()
        self._own_runs: dict[str, int] = {}

    def admit(self, grant: Grant) -> None:
        """Count a request, on whose caller's behalf this task works from now on. LimitReached where there is none left,
        which says when there is again."""
        caller = grant.caller.id
        on_behalf.set(caller)
        if grant.limits.runs is None:
            self._own_runs.pop(caller, None)
        else:
            self._own_runs[caller] = grant.limits.runs
        most = _limit(grant, grant.limits.requests_per_minute, self._requests, REQUESTS_PER_MINUTE)
        if not most:
            return
        now, each = self._clock(), 60.0 / most
        left, at = self._left.get(caller, (float(most), now))
        left = min(float(most), left + (now - at) / each)
        if left < 1.0:
            raise LimitReached(
                f"you asked more than {most:,} times within a minute, which is your limit.",
                retry_after=(1.0 - left) * each,
            )
        self._left[caller] = left - 1.0, now
        if len(self._left) > _MOST_KNOWN:
            self._forget(now)

    @contextmanager
    def turn(self, grant: Grant) -> Generator[None]:
        """Count a turn while the body runs. LimitReached where as many are under way as may be."""
        caller = grant.caller.id
        most = _limit(grant, grant.limits.turns, self._turns, TURNS)
        if most and self._under_way[caller] >= most:
            raise LimitReached(
                f"{most:,} of your turns are under way, and no more may be at once.", retry_after=_TURN_SECONDS
            )
        self._under_way[caller] += 1
        try:
            yield
        finally:
            self._under_way[caller] -= 1
            if not self._under_way[caller]:
                del self._under_way[caller]

    def open_runs(self, caller: str) -> int:
        """How many runs that have not ended that caller may have."""
        return self._own_runs.get(caller, self._open_runs)

    def _forget(self, now: float) -> None:
        """Drop those who asked nothing for a minute: they have all their requests again."""
        self._left = {caller: kept for caller, kept in self._left.items() if now - kept[1] < 60.0}


def _limit(grant: Grant, own: int | None, setting: int | None, usual: int) -> int:
    """What holds for that request; 0 for no limit."""
    if grant.via == "stdio":
        return 0
    if own is not None:
        return own
    if setting is not None:
        return setting
    return 0 if grant.via == HOME_KEY else usual
