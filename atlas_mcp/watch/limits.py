"""Limits: whether one more turn stays within those of its run and of its caller's day, and the words for it.

A turn is refused when what is spent, what is reserved for turns under way and what it will probably take are more than
a limit together. A limit of zero allows nothing, but a day's in dollars does not concern models that cost nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import anyio

from atlas_mcp.errors import BudgetSpent, UnpricedModel
from atlas_mcp.model.budget import Budget

if TYPE_CHECKING:
    from collections.abc import Iterator

WARN_AT = 0.8
OVERTIME = 10.0
"""Seconds that a turn under way may go on after the run's time is over; then it is cancelled."""

_ROUNDING = 1e-9
_RUN = "the run's budget"
_RAISE_DAY = "Raise ATLAS_DAILY_USD and restart, or wait until 00:00 UTC"


@dataclass(frozen=True, slots=True)
class Stand:
    """What is spent or reserved: by the run, and by its caller since the day began."""

    turns: int = 0
    tokens: int = 0
    usd: float = 0.0
    day_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn to be taken: the model that answers, and what it will probably take; no dollars if that has no price."""

    model: str
    tokens: int
    usd: float | None


@dataclass(frozen=True, slots=True)
class Nearly:
    """A limit that is nearly reached, in words; `key` is the same for the same limit."""

    key: str
    text: str


@dataclass
class Account:
    """A run that this process executes: its budget, how long it was `worked` on before, and why it may spend no more.

    Once a turn was refused all others are: what is done is brought to an end without them. `under_way` counts turns,
    and `freed` is set when one of them ends, which may free what was reserved for it.
    """

    budget: Budget = field(default_factory=Budget)
    worked: float = 0.0
    begun: float = field(default_factory=time.monotonic)
    refused: BudgetSpent | None = None
    warned: set[str] = field(default_factory=set[str])
    under_way: int = 0
    freed: anyio.Event = field(default_factory=anyio.Event)

    @property
    def seconds(self) -> float:
        """How long the run has been at work."""
        return self.worked + time.monotonic() - self.begun

    @property
    def time_left(self) -> float | None:
        """Seconds until a turn that is under way is cancelled; None without such a limit."""
        limit = self.budget.seconds
        return None if limit is None else max(0.0, limit - self.seconds) + OVERTIME

    @property
    def counts(self) -> bool:
        """Whether the ledger is to be asked how the run stands."""
        return any(limit is not None for limit in (self.budget.usd, self.budget.tokens, self.budget.turns))


@dataclass(frozen=True, slots=True)
class _Limit:
    """One limit: what stands against it, what the turn would add, and how amounts of it read."""

    name: str
    most: float
    stands: float
    more: float
    whose: str
    unit: str
    next_step: str

    def reached(self) -> bool:
        return self.most <= 0 or self.stands + self.more > self.most + _ROUNDING

    def nearly(self) -> bool:
        return self.stands + self.more >= WARN_AT * self.most

    def shown(self, amount: float) -> str:
        if self.unit == "$":
            return money(amount)
        return f"{amount:,.0f} {self.unit if amount != 1 else self.unit.removesuffix('s')}"

    def refusal(self, turn: Turn, what: str = "turn") -> BudgetSpent:
        if self.most <= 0:
            text = f"{self.whose} of {self.shown(0)} allows no {what}."
        elif self.name == "seconds":
            text = f"{self.whose} of {self.most:g} seconds at work is over."
        elif self.name == "turns":
            text = f"{self.whose} of {self.shown(self.most)} is spent."
        else:
            stood, more = self.shown(self.stands), self.shown(self.more)
            text = f"{self.whose} of {self.shown(self.most)} has no room for another {what}: {stood} "
            text += f"{'is' if self.unit == '$' else 'are'} spent or reserved, and the {what} would take about {more}."
        return _refused(text, self.name, turn, self.next_step)


def check(account: Account | None, daily_usd: float | None, stand: Stand, turn: Turn) -> list[Nearly]:
    """The limits that this turn brings near their end and that were not told yet.

    Raises BudgetSpent where it would go beyond one, UnpricedModel where one in dollars cannot be kept.
    """
    near: list[Nearly] = []
    for limit in _limits(account, daily_usd, stand, turn):
        if limit.reached():
            raise limit.refusal(turn)
        if limit.nearly() and not (account and limit.name in account.warned):
            stood = limit.shown(limit.stands + limit.more)
            text = f"{limit.whose} of {limit.shown(limit.most)} is nearly used up: {stood} with the turn that begins"
            near.append(Nearly(f"budget:{limit.name}", text))
    if account:
        account.warned |= {one.key.removeprefix("budget:") for one in near}
    return near


def check_cost(account: Account | None, daily_usd: float | None, stand: Stand, call: Turn) -> None:
    """Raise BudgetSpent where the call of a service, which takes no turn and no tokens, would go beyond a limit."""
    for limit in _limits(account, daily_usd, stand, call):
        if limit.unit == "$" and limit.reached():
            raise limit.refusal(call, "call")


def again(account: Account, turn: Turn) -> BudgetSpent:
    """The refusal of a further turn, after the one that said why."""
    first = account.refused
    if first is None:
        raise LookupError("nothing was refused yet")
    return _refused(first.message, first.limit, turn, first.next_step)


def out_of_time(account: Account, turn: Turn) -> BudgetSpent:
    """The refusal of a turn that was cancelled because the run's time was over."""
    account.refused = account.refused or _seconds(account).refusal(turn)
    return again(account, turn)


def money(usd: float) -> str:
    """An amount in dollars as people read it: cents, and of less than a dollar as much as tells something."""
    if usd <= 0 or usd >= 1:
        return f"${usd:,.2f}"
    return (
        f"${usd:.2f}"
        if abs(round(usd, 2) - usd) < _ROUNDING
        else f"${usd:.2g}"
        if usd >= 0.0001
        else "less than $0.0001"
    )


def until_midnight(now: datetime) -> timedelta:
    """The time until the next day begins in UTC."""
    tomorrow = (now.astimezone(UTC) + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return tomorrow - now


def priced(model: str) -> str:
    """The model as people write it."""
    return model.replace("/", ":", 1)


def _limits(account: Account | None, daily_usd: float | None, stand: Stand, turn: Turn) -> Iterator[_Limit]:
    cost = turn.usd
    if daily_usd is not None:
        if cost is None:
            raise UnpricedModel([priced(turn.model)], "ATLAS_DAILY_USD", instead="Unset it")
        if cost > 0:
            yield _Limit("day", daily_usd, stand.day_usd, cost, "the day's limit", "$", _RAISE_DAY + _left_today())
    if account is None:
        return
    budget, whose = account.budget, _RUN
    if budget.usd is not None:
        if cost is None:
            raise UnpricedModel([priced(turn.model)], "budget_usd", instead="Set budget_tokens instead")
        yield _Limit("usd", budget.usd, stand.usd, cost, whose, "$", _larger("budget_usd"))
    if budget.tokens is not None:
        yield _Limit("tokens", budget.tokens, stand.tokens, turn.tokens, whose, "tokens", _larger("budget_tokens"))
    if budget.turns is not None:
        yield _Limit("turns", budget.turns, stand.turns, 1, whose, "turns", _larger("budget of turns"))
    if budget.seconds is not None:
        yield _seconds(account)


def _seconds(account: Account) -> _Limit:
    most = account.budget.seconds or 0.0
    return _Limit("seconds", most, account.seconds, 0, _RUN, "seconds", _larger("budget of seconds"))


def _larger(what: str) -> str:
    return f"Set the task again with a larger {what}."


def _left_today() -> str:
    minutes = int(until_midnight(datetime.now(UTC)).total_seconds() // 60)
    return f" (in {minutes // 60} h {minutes % 60} min)."


def _refused(text: str, limit: str, turn: Turn, next_step: str | None) -> BudgetSpent:
    return BudgetSpent(text, limit=limit, tokens=turn.tokens, usd=turn.usd, next_step=next_step)
