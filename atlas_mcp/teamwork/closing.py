"""The result: the best round's text with its evidence, ratings and disagreements, and what is missing.

It can be had at any point of a task, so that a run that is cancelled or fails keeps the best there was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlas_mcp.model.result import Evidence, Missing, Result
from atlas_mcp.model.work import Draft, Findings
from atlas_mcp.runs.changes import Entry
from atlas_mcp.teamwork import quality, scores
from atlas_mcp.teamwork.comparing import compare
from atlas_mcp.teamwork.debate import outcome_of
from atlas_mcp.teamwork.guarding import whole
from atlas_mcp.teamwork.inspection import failed, load_checks
from atlas_mcp.teamwork.job import RESULT, Job, kept
from atlas_mcp.teamwork.learning import learn
from atlas_mcp.teamwork.noting import notes
from atlas_mcp.teamwork.planning import count
from atlas_mcp.teamwork.proving import certify
from atlas_mcp.teamwork.rating import NO_RATINGS, load_verdicts
from atlas_mcp.teamwork.stopping import stopped
from atlas_mcp.teamwork.team import reports_as_text, team_reports

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlas_mcp.teamwork.state import State

NOT_WRITTEN = Missing(agent="writing", what="the text", why="it was not written yet: these are the teams' reports")
NOT_RATED = Missing(agent="rating", what="the ratings", why="the text was not rated yet")


async def gather(job: Job, state: State, first: Draft | None = None) -> Result | None:
    """The result as far as the task has come; None while no part is done. `first` is a text that is not kept yet.

    What is not rated yet is neither met nor unmet: it is missing, as is a text that is not written yet.
    """
    reports = await team_reports(job, state)
    return await result_of(job, state, reports, first) if reports else None


async def result_of(job: Job, state: State, reports: Mapping[str, str], first: Draft | None = None) -> Result:
    """The same, from these reports; there may be none where there is a text."""
    rounds = state.get("round", 0)
    numbers = range(1, rounds + 1)
    checks = {n: await load_checks(job, n) for n in numbers}
    faults = {n: len(failed(found)) for n, found in checks.items()}
    best = scores.best_round(state.get("means", {}), job.task.criteria, faults) if rounds else 1
    verdicts = {n: await load_verdicts(job, state, n) for n in numbers}
    drafts = {n: await job.value(f"draft/{n}", Draft) for n in numbers}
    draft = drafts.get(best, first)
    means = state.get("means", {}).get(str(best), {})
    missing = [Missing.model_validate(m) for m in state.get("missing", [])]
    rated = job.task.max_rounds > 0
    waiting = rated and not means and NO_RATINGS not in missing
    missing += [NOT_WRITTEN] * (draft is None) + [NOT_RATED] * waiting
    unmet = [] if waiting or not rated else scores.unmet(means, job.task.criteria)
    stop = await stopped(job)
    debated = await outcome_of(job) if state.get("mode") == "debate" else None
    evidence: dict[tuple[str, str, str], Evidence] = {}
    for text in reports.values():
        evidence.update({(e.claim, e.source, e.quote): e for e in Findings.model_validate_json(text).evidence})
    proven, lost = await certify(job, list(evidence.values()))
    result = Result(
        output=(draft or reports_as_text(reports)).text(),
        evidence=proven,
        ratings=[r for n, given in verdicts.items() for r in scores.ratings(given, job.task.criteria, n)],
        rounds=max(rounds, 1),
        best_round=best,
        passed=rated and not unmet and not waiting and not faults.get(best),
        agreement=debated.agreement if debated else None,
        disagreements=[
            *(debated.disagreements if debated else []),
            *scores.disagreements(verdicts.get(best, {}), job.task.criteria),
        ],
        unmet=unmet,
        missing=[*missing, *lost],
        checks=checks.get(best, []),
        compared=compare(drafts, state.get("means", {}), checks),
        notes=await notes(job, state.get("models", {}), verdicts.get(best, {})),
        stopped=stop.told() if stop else None,
    )
    return await whole(job, result)


async def keep_best(job: Job, state: State) -> None:
    """Show the result as far as the task has come, after all that was told of it."""
    result = await gather(job, state)
    job.note(*([result] if result else []))


async def finish(job: Job, node: str, state: State) -> dict[str, Any]:
    """Close the task: the result is kept and shown before the librarian is asked what it teaches, and is worth."""
    result = await gather(job, state)
    if result is None:
        raise LookupError("a task without any finished part cannot be closed")
    job.note(kept(RESULT, result), result)
    learned, told, marks = await learn(job, node, result)
    result, short = quality.check(job, node, result.model_copy(update={"learned": learned}), marks)
    ended = Entry("atlas", "run_finished", in_words(result), key="run_finished")
    job.note(kept(RESULT, result), result, told, *short, ended)
    return {"turns": job.counted(node)}


def in_words(result: Result) -> str:
    """How it ended, in a sentence."""
    short = [*map(repr, result.unmet), *(f"the check of {c.name}" for c in failed(result.checks))]
    end = (
        "it passes"
        if result.passed
        else "nobody rated it"
        if not short
        else f"it does not pass: {', '.join(dict.fromkeys(short))}"
    )
    text = f"done after {count(result.rounds, 'rating round')}, the best is round {result.best_round}; {end}"
    text += f"; {count(len(result.missing), 'thing')} missing" if result.missing else ""
    return f"{text}; a budget ended it early" if result.stopped else text
