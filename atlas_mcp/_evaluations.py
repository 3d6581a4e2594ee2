"""Evaluations carried out: each variant attempts its examples in its house, then all attempts are rated in one.

Promise: every attempt is kept as soon as it has ended. One process at a time is at an evaluation; houses are taken away
afterwards, and those of a process that was killed by the next. MLflow hears of what came of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import anyio.to_thread

from atlas_mcp._attempts import attempt_all, rate_all
from atlas_mcp._config import destination
from atlas_mcp._purse import DAY_SPENT, SPENT, Purse, Tokens, attempt_tokens, cost, rating_tokens
from atlas_mcp._variants import Plan, open_house
from atlas_mcp.errors import BudgetSpent, IllegalChange
from atlas_mcp.model.evaluated import Attempt, Estimate, Evaluation
from atlas_mcp.watch.charging import Charging
from atlas_mcp.watch.evaluation import kept, scoring, telling
from atlas_mcp.watch.ledger import Ledger
from atlas_mcp.watch.spending import spending
from atlas_mcp.watch.tracing import open_tracing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence
    from pathlib import Path

    from atlas_mcp._keeper import RoomsKeeper
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.example import Example
    from atlas_mcp.settings import Settings
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record

Tell = Callable[[str, int, int], None]
"""Hears what was done just now, in words, and how much of how much that is."""


@dataclass(frozen=True)
class Job:
    """What is about to be done: each variant's plan and its evaluation as far as it is, and what it will take."""

    plans: tuple[Plan, ...]
    judge: Plan
    evaluations: tuple[Evaluation, ...]
    estimate: Estimate
    budget_usd: float | None = None


def estimate(plan: Plan, judge: Plan, evaluation: Evaluation) -> Estimate:
    """What is still to be done of the evaluation will probably take, its rating too, with the dearest models."""
    made = {attempt.key for attempt in evaluation.attempts}
    todo = [e for n in range(1, evaluation.repeat + 1) for e in evaluation.examples if (e.id, n) not in made]
    known = [tokens for example in todo if (tokens := attempt_tokens(example))]
    rated = [rating_tokens(judge, example) for example in todo]
    costs = [cost(plan, _sum(known)), cost(judge, _sum(rated))]
    return Estimate(
        attempts=len(todo),
        tokens=sum(map(sum, known)) + sum(map(sum, rated)),
        cost_usd=None if None in costs else sum(one for one in costs if one is not None),
        unknown=len(todo) - len(known),
        free=all(cost(one, (1, 1)) == 0 for one in (plan, judge)),
    )


async def perform(
    settings: Settings, record: Record, locks: Locks, caller: Caller, job: Job, tell: Tell
) -> list[Evaluation]:
    """See `Evaluating.run`."""
    work = _Work(settings, record, job, tell, await _purse(settings, record, caller, job))
    with _held(locks, [one.name for one in job.evaluations]):
        for number, plan in enumerate(job.plans):
            await work.attempt(number, plan)
        await work.rate()
        await anyio.to_thread.run_sync(work.finish)
    return work.made


def sweep(home: Path, locks: Locks) -> None:
    """Take away the houses of evaluations that nobody is at any more."""
    for left in (home / kept.FOLDER / kept.WORK).glob("*"):
        if not locks.is_held(_lock(left.name.rpartition("@")[0])):
            shutil.rmtree(left, ignore_errors=True)


class _Work:
    """The evaluations of a job while they are being made."""

    def __init__(self, settings: Settings, record: Record, job: Job, tell: Tell, purse: Purse) -> None:
        self.made = list(job.evaluations)
        self._settings = settings
        self._record = record
        self._job = job
        self._tell = tell
        self._purse = purse

    async def attempt(self, number: int, plan: Plan) -> None:
        """Have the variant do what it has not done yet."""
        now = self.made[number]
        made = {attempt.key for attempt in now.attempts}
        every = [(example, n) for n in range(1, now.repeat + 1) for example in now.examples]
        todo = [(example, n) for example, n in every if (example.id, n) not in made]

        async def done(attempt: Attempt) -> None:
            self._keep(number, (*self.made[number].attempts, attempt))
            why = f": {attempt.error}" if attempt.status == "failed" else ""
            count = len(self.made[number].attempts)
            self._tell(f"{plan.variant.name}: {attempt.example} {attempt.status}{why}", count, len(every))

        if todo:
            self._keep(number, now.attempts)
            async with self._house(plan, number) as keeper:
                await attempt_all(keeper, plan, now.name, todo, self._purse, done)

    async def rate(self) -> None:
        """Have what is not rated yet rated, of all variants in one house."""
        todo = [
            (number, example, attempt) for number, one in enumerate(self.made) for example, attempt in _unrated(one)
        ]
        ended = 0

        async def done(number: int, attempt: Attempt) -> None:
            nonlocal ended
            ended += 1
            self._keep(number, tuple(attempt if a.key == attempt.key else a for a in self.made[number].attempts))
            said = "rated" if attempt.ratings else f"not rated: {attempt.unrated}"
            self._tell(f"{self.made[number].variant.name}: {attempt.example} {said}", ended, len(todo))

        if todo:
            async with self._house(self._job.judge, len(self.made)) as keeper:
                for number in range(len(self.made)):
                    mine = [(example, attempt) for n, example, attempt in todo if n == number]
                    await rate_all(keeper, self.made[number].name, mine, self._purse, partial(done, number))

    def finish(self) -> None:
        """Score and keep them, and tell MLflow. Blocks until that is written, two seconds at most."""
        for number, one in enumerate(self.made):
            of = {example.id: example for example in one.examples}
            scored = [a.model_copy(update={"scores": scoring.scores(of[a.example], a)}) for a in one.attempts]
            whole = not any(attempt.status == "cut" or attempt.unrated for attempt in scored)
            ended = datetime.now(UTC) if whole else None
            self.made[number] = one.model_copy(update={"attempts": tuple(scored), "ended_at": ended})
            kept.write(self._settings.home, self.made[number])
        with open_tracing(self._settings.home, destination=destination(self._settings)):
            for one in self.made:
                telling.tell(one)

    def _keep(self, number: int, attempts: tuple[Attempt, ...]) -> None:
        self.made[number] = self.made[number].model_copy(update={"attempts": attempts})
        kept.write(self._settings.home, self.made[number])

    @asynccontextmanager
    async def _house(self, plan: Plan, number: int) -> AsyncGenerator[RoomsKeeper]:
        home = self._settings.home
        place = kept.folder(home) / kept.WORK / f"{self.made[0].name}@{number}"
        shutil.rmtree(place, ignore_errors=True)
        try:
            async with open_house(plan, place, self._record, home) as keeper:
                yield keeper
        finally:
            shutil.rmtree(place, ignore_errors=True)


async def _purse(settings: Settings, record: Record, caller: Caller, job: Job) -> Purse:
    """The job's budget, or what the caller's day still holds where that is less. BudgetSpent where that is nothing."""
    spent = sum(one.usage.cost_usd or 0.0 for one in job.evaluations)
    purse = Purse(job.budget_usd, job.judge, Charging(record, Ledger(settings.daily_usd)), caller, spent)
    if settings.daily_usd is None or job.estimate.free:
        return purse
    async with record.look() as db:
        left = (await spending(db, caller, settings.daily_usd)).left_usd or 0.0
    if left <= 0:
        raise BudgetSpent(f"{DAY_SPENT}.", limit="day")
    own = job.budget_usd is not None and job.budget_usd <= spent + left
    purse.usd, purse.refusal = (job.budget_usd, SPENT) if own else (spent + left, DAY_SPENT)
    return purse


def _unrated(evaluation: Evaluation) -> list[tuple[Example, Attempt]]:
    of = {example.id: example for example in evaluation.examples}
    return [(of[a.example], a) for a in evaluation.attempts if a.status == "completed" and a.ratings is None]


def _sum(tokens: Sequence[Tokens]) -> Tokens:
    return sum(given for given, _ in tokens), sum(got for _, got in tokens)


def _lock(name: str) -> str:
    return f"evaluation-{name}"


@contextmanager
def _held(locks: Locks, names: Sequence[str]) -> Generator[None]:
    with ExitStack() as stack:
        for name in names:
            if (held := locks.try_hold(_lock(name))) is None:
                raise IllegalChange(f"another process is at the evaluation {name!r}.", argument="--name")
            stack.enter_context(held)
        yield
