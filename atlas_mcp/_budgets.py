"""Budgets at the door: what cannot be kept is refused before anything is stored, and what is left is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.errors import AtlasError, BudgetSpent, ConfigurationError, ModelFailed, UnpricedModel
from atlas_mcp.watch.limits import WARN_AT, money, priced

if TYPE_CHECKING:
    from atlas_mcp._keeper import RoomsKeeper
    from atlas_mcp.model.budget import Budget, Spending
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.run import Run


def check_prices(keeper: RoomsKeeper, budget: Budget) -> None:
    """Raise UnpricedModel where dollars are limited and what one of the models costs is not known."""
    if unknown := _unpriced(keeper):
        if budget.usd is not None:
            raise UnpricedModel(unknown, "budget_usd", instead="Set budget_tokens instead")
        if keeper.settings.daily_usd is not None:
            raise UnpricedModel(unknown, "ATLAS_DAILY_USD", instead="Unset it")


def price_note(keeper: RoomsKeeper) -> str | None:
    """What runs and the status say while costs are not wholly known."""
    unknown = ", ".join(_unpriced(keeper))
    return f"What {unknown} costs is not known: its turns are counted in tokens only." if unknown else None


async def describe_spending(keeper: RoomsKeeper, caller: Caller) -> Spending | None:
    """What the caller spent today, and what is left; None while the record was not needed yet and nothing is limited.

    Where the day is limited the record is opened for it: what is left matters before the first turn.
    """
    limit = keeper.settings.daily_usd
    if keeper.opened is None and limit is None:
        return None
    try:
        rooms = await keeper.rooms()
        from atlas_mcp.watch.spending import spending

        async with rooms.record.read() as db:
            return await spending(db, caller, limit)
    except (AtlasError, OSError):
        return None  # the status tells what is wrong with the record


def spending_note(found: Spending | None) -> str | None:
    """What is to be said of a day's limit that is nearly reached."""
    if found is None or found.limit_usd is None or found.usd < WARN_AT * found.limit_usd:
        return None
    if not found.usd:
        return "ATLAS_DAILY_USD is 0: only models that cost nothing answer."
    return (
        f"{money(found.usd)} of the day's limit of {money(found.limit_usd)} is spent or reserved. "
        "Raise ATLAS_DAILY_USD, or wait until 00:00 UTC."
    )


def failure_of(run: Run, what: str) -> AtlasError:
    """What a turn or talk failed with whose run failed: a limit without room for it, or its model."""
    failed = next((event for event in reversed(run.events) if event.type == "run_failed"), None)
    text = run.error or f"the {what} was {run.status}."
    known = {BudgetSpent.__name__: BudgetSpent, UnpricedModel.__name__: ConfigurationError}
    return known.get(failed.data.get("error", "") if failed else "", ModelFailed)(text)


def _unpriced(keeper: RoomsKeeper) -> list[str]:
    return [priced(handle) for handle in keeper.models.handles() if keeper.models.cost(handle, 1, 1) is None]
