"""The record's rows of alerts: raised once, cleared when over, and what the webhook still is to be told.

Promise: for one rule and subject at most one alert stands, whoever looks and how many at once: of two that raise it
together the record's unique index lets one. A change is in the record before anybody is told of it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import bindparam, or_, select, update

from atlas_mcp.model.alert import Alert
from atlas_mcp.store.quality_tables import alert
from atlas_mcp.store.tables import run

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.alert import RuleName
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.record import Record
    from atlas_mcp.watch.alerts.rules import Finding

What = Literal["raised", "cleared"]
OWNER = "alerts"
"""Whose rows these are to the record: one writes them at a time."""
TELL_FOR = timedelta(days=3)
"""What the webhook could not be told for so long is told no more, unless it still stands."""
_AT_ONCE = 50
_STANDS = alert.c.cleared_at.is_(None)
_SENT = update(alert).where(alert.c.id == bindparam("told"))


@dataclass(frozen=True, slots=True)
class Changes:
    """What came of a look: alerts that were raised just now, and those that are over."""

    raised: list[Alert]
    cleared: list[Alert]


@dataclass(frozen=True, slots=True)
class Message:
    """Something that the webhook is to be told."""

    what: What
    alert: Alert
    caller: str | None
    sent: tuple[What, ...]


async def settle(record: Record, found: Sequence[Finding], looked_for: Collection[RuleName], now: datetime) -> Changes:
    """Raise what was found and does not stand, clear what stands and was not found; of those rules only."""
    wanted = {(one.rule, one.subject): one for one in found}
    async with record.look() as db:
        standing = await _standing(db, looked_for)
    if standing.keys() == wanted.keys():
        return Changes([], [])
    async with record.write(OWNER) as db:
        standing = await _standing(db, looked_for)  # somebody else may have looked meanwhile
        over = [row for key, row in standing.items() if key not in wanted]
        for row in over:
            await db.execute(update(alert).where(alert.c.id == row.id).values(cleared_at=now))
        new = [one for key, one in wanted.items() if key not in standing]
        raised = [made for one in new if (made := await _raise(db, one, now)) is not None]
    return Changes(raised, [_alert(row, cleared_at=now) for row in over])


async def outage(record: Record, one: Finding, since: datetime, now: datetime) -> list[Alert]:
    """Raise what could not be kept while the record was gone, and is over; nothing where another process did."""
    same = (alert.c.rule == one.rule, alert.c.subject == one.subject, alert.c.cleared_at >= since)
    async with record.write(OWNER) as db:
        known = (await db.execute(select(alert.c.id).where(*same).limit(1))).first()
        made = None if known else await _raise(db, one, since)
        if made is None:
            return []
        await db.execute(update(alert).where(alert.c.id == made.id).values(cleared_at=now))
    return [made.model_copy(update={"cleared_at": now})]


async def standing(db: AsyncConnection, caller: Caller) -> list[Alert]:
    """What stands and concerns this caller: what is theirs and what is the house's, newest first."""
    theirs = or_(alert.c.caller == caller.id, alert.c.caller.is_(None))
    query = select(alert, run.c.caller.label("of")).outerjoin_from(alert, run, run.c.id == alert.c.run_id)
    rows = await db.execute(query.where(_STANDS, theirs).order_by(alert.c.raised_at.desc(), alert.c.id))
    return [_alert(row, hidden=row.of != caller.id) for row in rows]


async def raised_since(db: AsyncConnection, since: datetime) -> list[Alert]:
    """All that stood at any time since that moment, of everybody, newest first."""
    query = select(alert).where(or_(_STANDS, alert.c.cleared_at >= since, alert.c.raised_at >= since))
    return [_alert(row) for row in await db.execute(query.order_by(alert.c.raised_at.desc(), alert.c.id))]


async def untold(db: AsyncConnection, now: datetime) -> list[Message]:
    """What the webhook is to be told next, oldest first; of each alert that it was raised before that it is over."""
    query = select(alert).where(or_(_STANDS, alert.c.raised_at >= now - TELL_FOR))
    messages: list[Message] = []
    for row in await db.execute(query.order_by(alert.c.raised_at, alert.c.id)):
        sent = tuple(row.sent or ())
        due: list[What] = ["raised"] if row.cleared_at is None else ["raised", "cleared"]
        for what in due:
            if what not in sent:
                messages.append(Message(what, _alert(row), row.caller, sent))
                sent = (*sent, what)
    return messages[:_AT_ONCE]


async def told(record: Record, message: Message) -> None:
    """Note that the webhook has taken the message."""
    async with record.write(OWNER) as db:
        await db.execute(_SENT, {"told": message.alert.id, "sent": [*message.sent, message.what]})


async def _standing(db: AsyncConnection, rules: Collection[RuleName]) -> dict[tuple[str, str], Any]:
    rows = await db.execute(select(alert).where(_STANDS, alert.c.rule.in_(sorted(rules))))
    return {(row.rule, row.subject): row for row in rows}


async def _raise(db: AsyncConnection, one: Finding, now: datetime) -> Alert | None:
    """The alert; None where somebody has just raised it."""
    values: dict[str, Any] = {
        "id": f"alert_{secrets.token_hex(10)}",
        "caller": one.caller,
        "rule": one.rule,
        "subject": one.subject,
        "text": one.text,
        "value": one.value,
        "threshold": one.threshold,
        "run_id": one.run_id,
        "trace_id": one.trace_id,
        "raised_at": now,
        "sent": [],
    }
    if db.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert
    done = await db.execute(insert(alert).values(values).on_conflict_do_nothing().returning(alert.c.id))
    if done.first() is None:
        return None
    shown = {name: value for name, value in values.items() if name in Alert.model_fields}
    return Alert.model_validate(shown)


def _alert(row: Any, *, hidden: bool = False, cleared_at: datetime | None = None) -> Alert:
    """The row for people; where it is `hidden` whose run it was, without the run and its trace."""
    return Alert(
        id=row.id,
        rule=row.rule,
        subject=row.subject,
        text=row.text,
        value=row.value,
        threshold=row.threshold,
        run_id=None if hidden else row.run_id,
        trace_id=None if hidden else row.trace_id,
        raised_at=row.raised_at,
        cleared_at=cleared_at or row.cleared_at,
    )
