"""A text of the caller's, rated by the rules of the rating loop: one round, nothing is revised.

The raters work at the same time. There are no checkpoints: every turn has a key by which it is found again, so that a
rating whose process died is taken up without repeating a finished one.
"""

from __future__ import annotations

import re
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import anyio

from atlas_mcp.errors import ConfigurationError, Unavailable
from atlas_mcp.model.result import Result
from atlas_mcp.model.task import MAX_GOAL, TeamTask
from atlas_mcp.model.work import MAX_SECTIONS, Draft, DraftSection
from atlas_mcp.runs.changes import Entry
from atlas_mcp.runs.outcome import RunOutcome
from atlas_mcp.teamwork.closing import in_words, result_of
from atlas_mcp.teamwork.inspection import inspect_in, kept_checks
from atlas_mcp.teamwork.job import RESULT, Job, kept
from atlas_mcp.teamwork.rating import NO_RATINGS, judge, kept_line_up, line_up, rate
from atlas_mcp.teamwork.state import RaterState, State, merge
from atlas_mcp.teamwork.stopping import stopped
from atlas_mcp.watch.spans import outputs, span

if TYPE_CHECKING:
    from atlas_mcp.guard.leaving import Leaving
    from atlas_mcp.model.rating import TextTask
    from atlas_mcp.teamwork.contract import Agents, Journal

GOAL = "It should do what it is for."
_HEADING = re.compile(r"^#{1,6} +\S", re.MULTILINE)
_MERGED = ("rated", "unfit", "models", "means")


async def run_text_rating(run: Journal, agents: Agents, task: TextTask, guard: Leaving | None = None) -> RunOutcome:
    """Rate it, or go on where an earlier process left it.

    ConfigurationError when nobody can rate, Unavailable when no rating counts, BudgetSpent when that is why; then what
    was checked stays in the run.
    """
    goal = task.goal[:MAX_GOAL] or GOAL
    asked = TeamTask(goal=goal, materials=task.materials, criteria=task.criteria, max_rounds=1)
    job = Job(run, agents, asked, guard=guard)
    with span("rate_text", kind="WORKFLOW", inputs={"criteria": task.criteria}, run_id=run.run_id) as opened:
        done = await job.find(RESULT) if run.resumed else None
        result = Result.model_validate_json(done) if done else await _rated(job, task.text)
        outputs(opened, result)
    if not result.ratings and (stop := await stopped(job)):
        raise stop.error()
    if not result.ratings:
        reasons = "; ".join(f"{m.agent}: {m.why}" for m in result.missing if m != NO_RATINGS)
        raise Unavailable(f"nobody gave ratings that count: {reasons}.")
    return RunOutcome(result=result)


def as_draft(text: str) -> Draft:
    """The text in sections, by its headings."""
    marks = list(_HEADING.finditer(text))[: MAX_SECTIONS - 1]
    pieces = [text[a:b].strip() for a, b in pairwise([0, *(m.start() for m in marks), len(text)])]
    return Draft(sections=tuple(_section(f"s{n}", piece) for n, piece in enumerate(filter(None, pieces), 1)))


def _section(name: str, piece: str) -> DraftSection:
    first, _, rest = piece.partition("\n")
    if _HEADING.match(first) and rest.strip():
        return DraftSection(id=name, heading=first.strip("# "), text=rest.strip())
    return DraftSection(id=name, text=piece)


async def _rated(job: Job, text: str) -> Result:
    state = cast("State", {"round": 1, "parts": [], "missing": []})
    draft, chosen = as_draft(text), line_up(job, state, frozenset(), 1)
    if not chosen:
        raise ConfigurationError("no rater can work here.", next_step="Call get_status: it says what they need.")
    job.note(kept("draft/1", draft), kept_checks(1, await inspect_in(job, draft, {})), kept_line_up(1, chosen))
    job.expect(len(chosen))
    node = f"{job.run.run_id}:text"
    for update in await _all_at_once(job, node, list(chosen)):
        state = _with(state, update)
    state = _with(state, await judge(job, f"{node}:judge", state))
    result = (await result_of(job, state, {})).model_copy(update={"output": text})
    told = Entry("atlas", "run_finished", in_words(result), key="run_finished")
    job.note(kept(RESULT, result), result, told)
    return result


async def _all_at_once(job: Job, node: str, raters: list[str]) -> list[dict[str, Any]]:
    """What each rater's work changes, in the order of the raters."""
    found: dict[str, dict[str, Any]] = {}

    async def one(rater: str) -> None:
        found[rater] = await rate(job, f"{node}:{rater}", RaterState(rater=rater, round=1, parts=[], done={}))

    try:
        async with anyio.create_task_group() as group:
            for rater in raters:
                group.start_soon(partial(one, rater))
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0]  # noqa: B904  # the run was lost to all of them alike
    return [found[rater] for rater in raters]


def _with(state: State, update: dict[str, Any]) -> State:
    merged = {key: merge(cast("Any", state.get(key)), update.get(key)) for key in _MERGED}
    return cast("State", {**state, **merged, "missing": [*state.get("missing", []), *update["missing"]]})
