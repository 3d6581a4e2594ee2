"""Attempts at examples: several at once, each by a constellation of its own, and their rating by the common raters.

Promise: no attempt sees another's memory, and none is counted that the evaluation's budget cut. Whatever fails of an
attempt is told in it; only what would fail all others too ends the evaluation.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio

from atlas_mcp._ratings import rate
from atlas_mcp._variants import AT_ONCE
from atlas_mcp.atlas import Atlas
from atlas_mcp.errors import AtlasError, BudgetSpent, Unavailable
from atlas_mcp.model.budget import Budget
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.evaluated import Attempt
from atlas_mcp.model.rating import MAX_TEXT, TextRating, TextTask
from atlas_mcp.model.run import ENDED, Run
from atlas_mcp.model.task import TeamTask
from atlas_mcp.model.turn import ChatReply
from atlas_mcp.watch.evaluation.scoring import criteria_means

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from atlas_mcp._keeper import RoomsKeeper
    from atlas_mcp._purse import Purse
    from atlas_mcp._variants import Plan
    from atlas_mcp.model.example import Example

ATTEMPT_SECONDS = 3600.0
"""After this an attempt is cancelled, and has failed."""
HOPELESS = 3
"""Attempts that failed while none succeeded: then the others would too, and nothing more is spent."""


async def attempt_all(
    keeper: RoomsKeeper,
    plan: Plan,
    name: str,
    todo: Sequence[tuple[Example, int]],
    purse: Purse,
    done: Callable[[Attempt], Awaitable[None]],
) -> None:
    """Attempt each of these, the second being the repeat; `done` hears of each as it ends. Unavailable if all fail.

    `name` is the evaluation's.
    """
    atlas, limit = Atlas(keeper.settings, keeper), anyio.Semaphore(AT_ONCE)
    outcomes: list[Attempt] = []
    left = len(todo)

    async def one(example: Example, repeat: int) -> None:
        key = f"{name} {example.id} {repeat}"
        async with limit:
            if _hopeless(outcomes):
                return
            nonlocal left
            try:
                share = await purse.take(key, plan, example, left, name)
            except BudgetSpent as spent:
                await done(Attempt(example=example.id, repeat=repeat, status="cut", error=spent.message))
                return
            finally:
                left -= 1
            made = await _attempt(atlas, example, repeat, share)
            await purse.attempted(key, made.usage, rate=made.status == "completed")
            outcomes.append(made)
            await done(made)

    async with anyio.create_task_group() as tasks:
        for example, repeat in todo:
            tasks.start_soon(one, example, repeat)
    if _hopeless(outcomes):
        raise Unavailable(
            f"{len(outcomes)} attempts failed, and none succeeded: {outcomes[-1].error}",
            next_step="Mend that and start the evaluation again under its name: what failed is done again.",
        )


async def rate_all(
    keeper: RoomsKeeper,
    name: str,
    todo: Sequence[tuple[Example, Attempt]],
    purse: Purse,
    done: Callable[[Attempt], Awaitable[None]],
) -> None:
    """Have what each attempt came to rated by raters who know only the goal, the materials and the text."""
    limit = anyio.Semaphore(AT_ONCE)

    async def one(example: Example, attempt: Attempt) -> None:
        key = f"{name} {example.id} {attempt.repeat}"
        async with limit:
            try:
                await purse.take_rating(key, example, name)
            except BudgetSpent as spent:
                await done(attempt.model_copy(update={"unrated": spent.message}))
                return
            rated = await _rated(keeper, name, example, attempt)
            await purse.rated(key, rated.rating_usage)
            await done(rated)

    async with anyio.create_task_group() as tasks:
        for example, attempt in todo:
            tasks.start_soon(one, example, attempt)


def _hopeless(outcomes: Sequence[Attempt]) -> bool:
    return len(outcomes) >= HOPELESS and all(one.status == "failed" for one in outcomes)


async def _attempt(atlas: Atlas, example: Example, repeat: int, share: float | None) -> Attempt:
    caller = Caller(id=f"eval:{example.id}:{repeat}", client="atlas-mcp eval")
    work = _task if example.work.kind == "team_task" else _turn
    began, started = time.monotonic(), list[str]()
    made = Attempt(example=example.id, status="failed", error=f"it took longer than {ATTEMPT_SECONDS:g} s")
    with anyio.move_on_after(ATTEMPT_SECONDS) as deadline:
        try:
            made = await work(atlas, caller, example, share, started.append)
        except BudgetSpent as error:
            made = Attempt(example=example.id, status="cut", error=str(error))
        except AtlasError as error:
            made = Attempt(example=example.id, status="failed", error=str(error))
    if deadline.cancelled_caught:
        for run_id in started:
            await atlas.cancel_run(caller, run_id)
    return made.model_copy(update={"repeat": repeat, "seconds": round(time.monotonic() - began, 3)})


async def _task(
    atlas: Atlas, caller: Caller, example: Example, share: float | None, on_run: Callable[[str], None]
) -> Attempt:
    work = example.work
    task = TeamTask(
        goal=work.goal,
        materials=work.materials,
        teams=work.teams,
        criteria=work.criteria,
        max_rounds=work.max_rounds,
        mode=work.mode,
        budget=Budget(usd=share),
    )
    run = await atlas.run_team_task(caller, task, on_run=on_run, patient=True)
    while run.status not in ENDED:
        run = await atlas.follow_run(caller, run.run_id, patient=True)
    result = run.result
    if run.status != "completed" or result is None:
        cut = share is not None and _by_budget(run)
        return Attempt(
            example=example.id,
            status="cut" if cut else "failed",
            error=run.error or f"the run was {run.status}",
            usage=run.usage,
            trace_id=run.trace_id,
        )
    return Attempt(
        example=example.id,
        status="cut" if share is not None and result.stopped else "completed",
        output=result.output,
        error=result.stopped,
        checks=result.checks,
        sources=sorted({evidence.source for evidence in result.evidence}),
        usage=run.usage,
        trace_id=run.trace_id,
    )


async def _turn(
    atlas: Atlas, caller: Caller, example: Example, share: float | None, on_run: Callable[[str], None]
) -> Attempt:
    """A turn has no budget of its own: its share was reserved, and is not enforced."""
    reply = await atlas.chat(caller, example.work.agent or "", example.work.goal, on_run=on_run)
    while reply.status == "working" and reply.run_id:
        run = await atlas.follow_run(caller, reply.run_id, patient=True)
        if run.status in ENDED:
            told = await atlas.outcome(caller, reply.run_id)
            reply = told if isinstance(told, ChatReply) else reply
    return Attempt(
        example=example.id,
        status="completed",
        output=reply.reply or "",
        usage=reply.usage,
        trace_id=reply.trace_id,
    )


def _by_budget(run: Run) -> bool:
    return any(e.type == "run_failed" and e.data.get("error") == BudgetSpent.__name__ for e in run.events)


async def _rated(keeper: RoomsKeeper, name: str, example: Example, attempt: Attempt) -> Attempt:
    caller = Caller(id=f"eval:{name}:{example.id}:{attempt.repeat}", client="atlas-mcp eval")  # each a house of raters
    if not attempt.output.strip():
        return attempt.model_copy(update={"ratings": dict.fromkeys(example.work.criteria, 1.0)})
    work, atlas = example.work, Atlas(keeper.settings, keeper)
    task = TextTask(text=attempt.output[:MAX_TEXT], goal=work.goal, materials=work.materials, criteria=work.criteria)
    try:
        rating = await rate(keeper, caller, task)
        while rating.status == "working":
            run = await atlas.follow_run(caller, rating.run_id, patient=True)
            if run.status in ENDED:
                told = await atlas.outcome(caller, rating.run_id)
                rating = told if isinstance(told, TextRating) else rating
    except AtlasError as error:
        return attempt.model_copy(update={"unrated": str(error)})
    ratings = criteria_means(rating.ratings)
    return attempt.model_copy(update={"ratings": ratings, "rating_usage": rating.usage, "unrated": None})
