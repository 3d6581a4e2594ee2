"""Looking for what is beyond its threshold: all rules at once, against one moment of the record.

Promise: a look changes nothing but rows of alerts, holds nobody up, and says in the log what it raised and what is
over. While the record is gone nothing can be kept: the log tells it at once, and once the record is back the outage is
an alert like any other, from when it was noticed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

from atlas_mcp.errors import LockTimeout, StoreUnavailable
from atlas_mcp.model.alert import Alert, RuleName
from atlas_mcp.watch.alerts import rows
from atlas_mcp.watch.alerts.house import of_days, of_errors, of_stores
from atlas_mcp.watch.alerts.rules import Finding
from atlas_mcp.watch.alerts.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from atlas_mcp.model.status import Room
    from atlas_mcp.store.record import Record
    from atlas_mcp.watch.alerts.ages import Ages
    from atlas_mcp.watch.alerts.rules import Thresholds

_log = logging.getLogger(__name__)


def utc_now() -> datetime:
    """The moment, by the clock on the wall."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _Outage:
    since: datetime
    reason: str


class Lookout:
    """One process's lookout on a record; `daily_usd` is what each caller may spend in a day."""

    def __init__(
        self,
        record: Record,
        thresholds: Thresholds,
        *,
        daily_usd: float | None = None,
        now: Callable[[], datetime] = utc_now,
        ages: Ages | None = None,
    ) -> None:
        self._record = record
        self._beyond = thresholds
        self._daily_usd = daily_usd
        self._now = now
        self._tasks = Tasks(thresholds, ages)
        self._outage: _Outage | None = None

    async def look(self, stores: Callable[[], Awaitable[Sequence[Room]]] | None = None) -> rows.Changes:
        """Raise and clear what there is to be; without `stores` what was said of them stands as it is."""
        now = self._now()
        rooms = await stores() if stores is not None and self._beyond.stores else ()
        rules: set[RuleName] = set(get_args(RuleName)) - (set() if stores is not None else {"store"})
        try:
            found = [*await self._found(now), *of_stores(rooms)]
            changes = await rows.settle(self._record, found, rules, now)
            await self._end_outage(now)
        except (StoreUnavailable, LockTimeout) as error:
            self._begin_outage(now, error)
            return rows.Changes([], [])
        for one in changes.raised:
            _say("raised", one)
        for one in changes.cleared:
            _say("over", one)
        return changes

    async def _found(self, now: datetime) -> list[Finding]:
        beyond = self._beyond
        async with self._record.read() as db:
            found = await self._tasks.look(db, now)
            if beyond.error_rate is not None:
                found += await of_errors(db, beyond.error_rate, now)
            if beyond.budget is not None:
                found += await of_days(db, beyond.budget, self._daily_usd, now)
        return found

    def _begin_outage(self, now: datetime, error: StoreUnavailable | LockTimeout) -> None:
        if self._outage is None and self._beyond.stores:
            self._outage = _Outage(now, error.message)
            _log.error("alert raised: record is not well: %s", error.message, extra={"data": {"rule": "store"}})

    async def _end_outage(self, now: datetime) -> None:
        if self._outage is not None:
            text = f"record was not well: {self._outage.reason}"
            one = Finding("store", "record", text, 1.0, 0.0)
            for told in await rows.outage(self._record, one, self._outage.since, now):
                _say("over", told)
            self._outage = None


def _say(what: str, one: Alert) -> None:
    data: dict[str, Any] = one.model_dump(mode="json", exclude_none=True)
    _log.warning("alert %s: %s", what, one.text, extra={"data": data})
