"""Telling the webhook of alerts, from the record: what it was not told yet is told by whoever comes next.

Promise: each message is sent until the webhook has taken it, over restarts, by one process at a time; of one alert it
hears that it was raised before it hears that it is over. It may hear something twice, under the same id. A webhook that
hangs or fails is tried again after pauses that grow to LONGEST_PAUSE, and holds up nothing but later messages.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from atlas_mcp.watch.alerts import rows
from atlas_mcp.watch.alerts.looking import utc_now
from atlas_mcp.watch.calls import hashed_caller
from atlas_mcp.watch.webhook import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record
    from atlas_mcp.watch.webhook import Sender

FIRST_PAUSE = 2.0
LONGEST_PAUSE = 300.0
LOCK = "webhook"
_log = logging.getLogger(__name__)


class Telling:
    """One process's part in telling the webhook. `shown` is how logs call that."""

    def __init__(
        self,
        record: Record,
        locks: Locks,
        sender: Sender,
        shown: str,
        *,
        deadline: float = DEADLINE,
        now: Callable[[], datetime] = utc_now,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._record = record
        self._locks = locks
        self._sender = sender
        self._shown = shown
        self._deadline = deadline
        self._now = now
        self._steady = steady
        self._failures = 0
        self._not_before = -float("inf")

    async def tell(self) -> int:
        """Send what waits, until all is told or something is refused; how many messages were taken.

        Nothing while another process does it, or a pause after a failure is not over.
        """
        if self._steady() < self._not_before:
            return 0
        held = self._locks.try_hold(LOCK)
        if held is None:
            return 0
        with held:
            return await self._tell_all()

    async def _tell_all(self) -> int:
        told = 0
        while True:
            async with self._record.read() as db:
                messages = await rows.untold(db, self._now())
            if not messages:
                return told
            for message in messages:
                name = f"{message.alert.id}.{message.what}"
                refusal = await self._sender.send(name, _content(message), deadline=self._deadline)
                if refusal is not None:
                    self._refused(refusal)
                    return told
                self._taken()
                await rows.told(self._record, message)
                told += 1

    def _refused(self, reason: str) -> None:
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures, 20))
        self._not_before = self._steady() + pause
        self._failures += 1
        if self._failures == 1:
            _log.warning("the webhook %s was not told of an alert: %s. It is tried again.", self._shown, reason)

    def _taken(self) -> None:
        if self._failures:
            _log.warning("the webhook %s is told of alerts again", self._shown)
        self._failures = 0


def _content(message: rows.Message) -> dict[str, Any]:
    one = message.alert if message.what == "cleared" else message.alert.model_copy(update={"cleared_at": None})
    data = one.model_dump(mode="json")
    data["caller"] = hashed_caller(message.caller) if message.caller else None
    return {"type": f"alert.{message.what}", "timestamp": data[f"{message.what}_at"], "data": data}
