"""The ledger: what turns cost, and what is reserved for those under way, in the record and so for all processes.

Promise: before a turn is sent what it will probably take is reserved, in the transaction that notes the turn, and only
if that stays within the limits of its run and of its caller's day. A caller's writes follow one another, so turns that
begin at once, in several processes, cannot go beyond a limit by more than their estimates were wrong. When the turn is
over its entry is put right in the transaction that notes its end. Nothing is ever changed here, only added: what a
turn's entries come to is what it costs. A reservation that a process left when it died is that of its turn when that is
taken up again; if it never is, it stands, for the turn may have cost as much.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
from sqlalchemy import bindparam, func, insert, literal, select

from atlas_mcp.errors import BudgetSpent
from atlas_mcp.store.tables import ledger
from atlas_mcp.watch.limits import Account, Nearly, Stand, Turn, again, check, check_cost, out_of_time

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.budget import Budget
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.usage import Usage

# Built once, as every turn runs them. What only inserts rides along with the transaction's other statements.
_ENTER = insert(ledger).inline()
_MINE = ledger.c.caller == bindparam("mine")
_IN_RUN = ledger.c.run_id.is_not_distinct_from(bindparam("run"))
_SUMS = [func.coalesce(func.sum(column), 0) for column in (ledger.c.turns, ledger.c.tokens, ledger.c.usd)]
_DAY = select(_SUMS[2]).where(_MINE, ledger.c.day == bindparam("today")).scalar_subquery()
_OF_RUN = select(*_SUMS, literal(0.0)).where(_MINE, _IN_RUN)
_OF_DAY = select(literal(0), literal(0), literal(0.0), _DAY)
_OF_BOTH = select(*_SUMS, _DAY).where(_MINE, _IN_RUN)
_TOOL = "tool:"
_OF_TOOLS = ledger.c.model.startswith(_TOOL, autoescape=True)
_TURN = ledger.c.turn == bindparam("called")
_OF_TURN = select(*_SUMS, func.max(ledger.c.day)).where(_MINE, _IN_RUN, _TURN, ~_OF_TOOLS)
_PAID = select(_SUMS[2]).where(_MINE, _TURN, _OF_TOOLS)


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a turn that is under way will probably take; `nearly` are limits that it brought near their end.

    It is `held` in the ledger where something is limited; else only what the turn did cost is entered.
    """

    turn: str
    caller: str
    run_id: str | None
    day: str
    model: str
    tokens: int
    usd: float | None
    held: bool = True
    nearly: tuple[Nearly, ...] = ()


class Ledger:
    """The ledger of a home as this process sees to it; `daily_usd` is what each caller may spend in a day of UTC."""

    def __init__(self, daily_usd: float | None = None) -> None:
        self.daily_usd = daily_usd
        self._accounts: dict[str, Account] = {}

    @contextmanager
    def account(self, run_id: str, budget: Budget, worked: float = 0.0) -> Generator[Account]:
        """Keep the run within its budget while the body executes it; `worked` are seconds of earlier attempts."""
        self._accounts[run_id] = account = Account(budget, worked)
        try:
            yield account
        finally:
            if self._accounts.get(run_id) is account:  # else a later attempt has its own
                del self._accounts[run_id]

    @contextmanager
    def under_way(self, reserved: Reservation) -> Generator[None]:
        """The turn runs while the body does: its run's other turns may wait for what it leaves of its reservation."""
        account = self._accounts.get(reserved.run_id or "") or Account()
        account.under_way += 1
        try:
            yield
        finally:
            account.under_way -= 1
            account.freed.set()
            account.freed = anyio.Event()

    async def room_comes(self, run_id: str | None, refused: BudgetSpent) -> bool:
        """Whether a turn that was refused is to be tried again: then one of the run's other turns has ended.

        Estimates are high; while others are under way nobody knows yet that the budget is spent.
        """
        account = self._accounts.get(run_id or "")
        if account is None:
            return False
        if account.under_way and not account.refused and refused.limit != "seconds":
            await account.freed.wait()
            return True
        account.refused = account.refused or refused
        return False

    def time_left(self, run_id: str | None) -> float | None:
        """Seconds that a turn of the run may take, or None."""
        account = self._accounts.get(run_id or "")
        return account.time_left if account else None

    def is_over_in(self, run_id: str | None, seconds: float | None) -> bool:
        """Whether the run's time will be over in so many seconds, if any are given."""
        left = self.time_left(run_id)
        return left is not None and seconds is not None and seconds >= left

    def out_of_time(self, reserved: Reservation) -> BudgetSpent:
        """Why a turn was cancelled: its run's time was over."""
        return out_of_time(self._accounts[reserved.run_id or ""], _turn(reserved))

    async def reserve(
        self,
        db: AsyncConnection,
        caller: Caller,
        *,
        turn: str,
        run_id: str | None,
        model: str,
        estimate: Usage,
        known: bool = False,
    ) -> Reservation:
        """Reserve what the turn will probably take, if anything is limited here.

        BudgetSpent or UnpricedModel: then it must not be sent.

        A turn that is `known` may have its reservation from an earlier attempt; then that stands.
        """
        place = {"mine": caller.id, "run": run_id}
        if known:
            stood: Any = (await db.execute(_OF_TURN, {**place, "called": turn})).one()
            turns, tokens, usd, day = stood
            if turns > 0:
                priced = None if estimate.cost_usd is None else float(usd)
                return Reservation(turn, caller.id, run_id, day, model, int(tokens), priced)
        today = datetime.now(UTC).date().isoformat()
        tokens = estimate.input_tokens + estimate.output_tokens
        account = self._accounts.get(run_id or "")
        limited = self.daily_usd is not None or (account is not None and account.counts)
        made = Reservation(turn, caller.id, run_id, today, model, tokens, estimate.cost_usd, held=limited)
        nearly = await self._admit(db, {**place, "today": today}, made, account)
        if limited:
            await _enter(db, made, 1, tokens, estimate.cost_usd)
        return replace(made, nearly=tuple(nearly)) if nearly else made

    async def settle(self, db: AsyncConnection, reserved: Reservation, used: Usage) -> None:
        """Put what the turn did cost in the place of what was reserved for it; no turn and nothing frees all of it."""
        tokens = used.input_tokens + used.output_tokens
        if not reserved.held:
            if used.turns:
                await _enter(db, reserved, used.turns, tokens, used.cost_usd)
            return
        usd = None if used.cost_usd is None or reserved.usd is None else used.cost_usd - reserved.usd
        await _enter(db, reserved, used.turns - 1, tokens - reserved.tokens, usd)

    async def pay(
        self, db: AsyncConnection, caller: Caller, *, turn: str, run_id: str | None, service: str, usd: float
    ) -> None:
        """Enter what a call of that service costs, which a tool of the turn is about to make.

        BudgetSpent where a limit in dollars has no room for it: then nothing was entered, and it must not be made.
        """
        today = datetime.now(UTC).date().isoformat()
        account = self._accounts.get(run_id or "")
        if usd > 0 and (self.daily_usd is not None or (account is not None and account.budget.usd is not None)):
            stand = await self._stand(db, {"mine": caller.id, "run": run_id, "today": today}, account)
            check_cost(account, self.daily_usd, stand, Turn(_TOOL + service, 0, usd))
        await _enter(db, Reservation(turn, caller.id, run_id, today, _TOOL + service, 0, usd), 0, 0, usd)

    async def paid(self, db: AsyncConnection, caller: Caller, turn: str) -> float:
        """What tools of the turn paid, in dollars."""
        return float((await db.execute(_PAID, {"mine": caller.id, "called": turn})).scalar_one())

    async def _admit(
        self, db: AsyncConnection, place: dict[str, Any], made: Reservation, account: Account | None
    ) -> list[Nearly]:
        if account and account.refused:
            raise again(account, _turn(made))
        stand = await self._stand(db, place, account) if made.held else Stand()
        return check(account, self.daily_usd, stand, _turn(made))

    async def _stand(self, db: AsyncConnection, place: dict[str, Any], account: Account | None) -> Stand:
        daily, counts = self.daily_usd is not None, account is not None and account.counts
        query = _OF_BOTH if daily and counts else _OF_DAY if daily else _OF_RUN
        turns, tokens, usd, day_usd = (await db.execute(query, place)).one()
        return Stand(int(turns), int(tokens), float(usd), float(day_usd))


async def _enter(db: AsyncConnection, reserved: Reservation, turns: int, tokens: int, usd: float | None) -> None:
    entry = {
        "turn": reserved.turn,
        "caller": reserved.caller,
        "run_id": reserved.run_id,
        "day": reserved.day,
        "model": reserved.model,
        "turns": turns,
        "tokens": tokens,
        "usd": usd,
    }
    await db.execute(_ENTER, entry)


def _turn(reserved: Reservation) -> Turn:
    return Turn(reserved.model, reserved.tokens, reserved.usd)
