"""The end of a budget in the middle of a task: what was refused is kept with the run, and told in its result.

Once a turn is refused all further ones are, so that what is done is brought to an end without them: workers that got
none are missing, reports are joined as they are, and of several rounds the best is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.errors import BudgetSpent
from atlas_mcp.model._base import Tolerant
from atlas_mcp.runs.changes import Entry
from atlas_mcp.teamwork.job import kept
from atlas_mcp.watch.limits import money

if TYPE_CHECKING:
    from atlas_mcp.teamwork.job import Job

_STOP = "stopped"


class Stop(Tolerant):
    """Why the task was stopped, what to do about it, and the turns that were refused, by estimate."""

    reason: str
    next_step: str = ""
    limit: str = ""
    turns: int = 0
    tokens: int = 0
    usd: float | None = 0.0

    def and_refused(self, spent: BudgetSpent) -> Stop:
        """The same, with one more turn that was refused."""
        usd = None if self.usd is None or spent.usd is None else self.usd + spent.usd
        return self.model_copy(update={"turns": self.turns + 1, "tokens": self.tokens + spent.tokens, "usd": usd})

    def error(self) -> BudgetSpent:
        """What a run fails with of which nothing was done."""
        return BudgetSpent(self.reason, limit=self.limit, next_step=self.next_step)

    def told(self) -> str:
        """All of it in words."""
        dollars = f", {money(self.usd)}" if self.usd else ""
        refused = f"Refused: {self.turns} turn{'s' if self.turns > 1 else ''}, about {self.tokens:,} tokens{dollars}."
        return f"{self.reason[:1].upper()}{self.reason[1:]} {refused} {self.next_step}".rstrip()


async def stopped(job: Job) -> Stop | None:
    """Why the task was stopped, if it was."""
    text = await job.find(_STOP)
    return Stop.model_validate_json(text) if text else None


async def note_refusal(job: Job, spent: BudgetSpent) -> None:
    """Keep that a turn was refused; the journal tells the first."""
    first = Stop(reason=spent.message, next_step=spent.next_step or "", limit=spent.limit)
    stop = (await stopped(job) or first).and_refused(spent)
    text = f"{stop.reason} What is done is brought to an end without further turns."
    job.note(kept(_STOP, stop), Entry("atlas", "budget_spent", text, key="budget_spent"))
