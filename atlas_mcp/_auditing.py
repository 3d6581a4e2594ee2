"""Who did what to what: `Atlas.audit`, and the audit log of a home for whoever may start ATLAS on it.

Targets are names and ids, cut short and without what looks like a secret; texts are never among them.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from atlas_mcp.access import audit_rows
from atlas_mcp.access.audit import WRITE_SECONDS, AuditLog
from atlas_mcp.errors import Unavailable
from atlas_mcp.model.audited import Audited
from atlas_mcp.model.status import Room
from atlas_mcp.watch.payload import clean
from atlas_mcp.watch.spans import current_trace_id

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from atlas_mcp._keeper import RoomsKeeper
    from atlas_mcp.model.audited import AuditOutcome, AuditQuery
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.record import Record

_LONGEST = 200
_LOOK_SECONDS = 1.0
_LATE_SECONDS = 2 * WRITE_SECONDS


def open_log(keeper: RoomsKeeper) -> AuditLog:
    """The log of the keeper's home; it opens no room, and makes the record where there is none."""

    async def write(entries: Sequence[Audited]) -> None:
        if keeper.opened is None and keeper.database is None:
            await anyio.to_thread.run_sync(audit_rows.add_to_file, keeper.home, entries)
            return
        rooms = await keeper.rooms()
        async with rooms.record.jot(f"audit {rooms.runs.executor}") as db:
            await audit_rows.add(db, entries)

    return AuditLog(write)


def entry_of(
    caller: Caller,
    action: str,
    target: str = "",
    *,
    via: str,
    address: str = "",
    at: datetime | None = None,
    outcome: AuditOutcome = "done",
    detail: str = "",
) -> Audited:
    """An entry, with the trace that is just being recorded; what cannot be shown on one line is made so."""
    return Audited(
        at=at or datetime.now(UTC),
        caller=_shown(caller.id),
        via=_shown(via),
        client=_shown(caller.client),
        address=_shown(address),
        action=_shown(action),
        target=_shown(target),
        outcome=outcome,
        detail=_shown(detail),
        trace_id=current_trace_id(),
    )


class Auditing:
    """What is written into the audit log of one home. Made by `open_atlas`, as `atlas.audit`."""

    entry = staticmethod(entry_of)

    def __init__(self, keeper: RoomsKeeper) -> None:
        self._log = keeper.audit

    def note(self, entry: Audited) -> None:
        """Have it written within a second; for what changes nothing."""
        self._log.note(entry)

    async def keep(self, entry: Audited) -> None:
        """Return when it is in the record, or cannot be just now: then `get_status` says so, and it is tried again."""
        await self._log.keep(entry)

    def refused(self, status: int, address: str) -> None:
        """Note that a request was not let in, with that status of HTTP; of many within a minute their number."""
        self._log.refused(status, _shown(address))

    @asynccontextmanager
    async def command(self, caller: Caller, action: str, target: str = "") -> AsyncGenerator[None]:
        """Keep that this command of the command line was done, or failed with what the body raises."""
        async with _commanded(self.keep, caller, action, target):
            yield


@asynccontextmanager
async def _commanded(
    keep: Callable[[Audited], Awaitable[None]], caller: Caller, action: str, target: str
) -> AsyncGenerator[None]:
    begun = entry_of(caller, action, target, via="cli").model_copy(update={"outcome": "failed"})
    try:
        yield
        begun = begun.model_copy(update={"outcome": "done"})
    except BaseException as error:
        begun = begun.model_copy(update={"detail": type(error).__name__})
        raise
    finally:
        with anyio.CancelScope(shield=True):
            await keep(begun)


def describe_audit(log: AuditLog) -> list[Room]:
    """How the audit log is, where it is not well."""
    if log.problem is None and not log.lost:
        return []
    stands = "is written" if log.problem is None else f"cannot be written ({log.problem}); {log.waiting:,} entries wait"
    lost = f"; {log.lost:,} were lost" if log.lost else ""
    step = "Mend what keeps the record from being written. Calls go on meanwhile."
    return [Room(name="audit", health="warning", text=f"The audit log {stands}{lost}.", next_step=step)]


class AuditTrail:
    """The entries of all callers, to be read; and what `me` does to the home by the command line, to be kept."""

    def __init__(self, record: Record, me: Caller) -> None:
        self._record = record
        self._me = me

    @asynccontextmanager
    async def command(self, action: str, target: str = "") -> AsyncGenerator[None]:
        """As `Auditing.command`, where no more of ATLAS is open than the record."""

        async def keep(entry: Audited) -> None:
            async with self._record.jot("audit") as db:
                await audit_rows.add(db, [entry])

        async with _commanded(keep, self._me, action, target):
            yield

    async def list(self, query: AuditQuery) -> list[Audited]:
        """The newest that are asked for, oldest first."""
        async with self._record.read() as db:
            return [entry for _, entry in await audit_rows.found(db, query)]

    async def follow(self, query: AuditQuery) -> AsyncGenerator[Audited]:
        """As `list`, and from then on all that are written, within about a second; without end."""
        after: int | None = None
        told: dict[int, float] = {}
        while True:
            try:
                async with self._record.read() as db:
                    new = await audit_rows.found(db, query, after=after)
            except Unavailable:  # it is tried again
                new = []
            else:
                after = (new[0][0] - 1 if new else 0) if after is None else after
            for number, entry in new:
                if number not in told:
                    told[number] = anyio.current_time()
                    yield entry
            # Of two processes that write at once, the one with the later number may be the first to be done.
            over = [number for number, at in told.items() if at < anyio.current_time() - _LATE_SECONDS]
            after = max(over, default=after)
            told = {number: at for number, at in told.items() if number not in over}
            await anyio.sleep(_LOOK_SECONDS)


def _shown(text: str) -> str:
    """One short line of printable characters, without what looks like a secret."""
    return _made_plain(text[: 4 * _LONGEST]) if text else ""


@lru_cache(1_024)  # the same callers do the same things all the time
def _made_plain(text: str) -> str:
    text = clean(text, _LONGEST)
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
