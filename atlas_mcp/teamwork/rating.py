"""The rating: agents that wrote nothing judge the text by every criterion, and decide whether it is revised.

A missing criterion, a missing score and a score outside 1 to 5 are errors: asked for once more, then the rater counts
as missing. A text without ratings never passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlas_mcp.model.result import PASS_MARK, Missing
from atlas_mcp.model.work import Draft, Verdict
from atlas_mcp.runs.changes import Entry
from atlas_mcp.teamwork import prompts, scores
from atlas_mcp.teamwork.asking import Failed, Question, try_ask
from atlas_mcp.teamwork.job import kept
from atlas_mcp.teamwork.planning import able_workers
from atlas_mcp.teamwork.team import team_reports

if TYPE_CHECKING:
    from atlas_mcp.teamwork.job import Job
    from atlas_mcp.teamwork.state import RaterState, State

NO_RATINGS = Missing(agent="rating", what="the ratings", why="no rater delivered any")


def raters(job: Job, authors: set[str]) -> list[str]:
    """Who may rate: the able workers of every rating team, except authors."""
    teams = [t.name for t in job.agents.roster.teams if t.kind == "rating"]
    return [w for w in dict.fromkeys(w for t in teams for w in able_workers(job, t)) if w not in authors]


async def rate(job: Job, node: str, state: RaterState) -> dict[str, Any]:
    """One rater judges the text as it stands, in a fresh conversation."""
    rater, number = state["rater"], state["round"]
    draft = Draft.model_validate_json(await job.text(f"draft/{number}"))
    question = Question(
        agent=rater,
        prompt=prompts.verdict(job.task, draft, await team_reports(job, state)),
        answer=Verdict,
        doing=f"{rater} rates the text (round {number})",
        done=lambda v: f"{rater} rated it: {', '.join(f'{s.score:g} for {s.criterion!r}' for s in v.scores)}",
        check=lambda v: refuse(v, job.task.criteria),
        tools=True,
    )
    asked = await try_ask(job, node, question)
    if isinstance(asked, Failed):
        lost = Missing(agent=rater, what=f"its rating in round {number}", why=asked.why)
        return {"missing": [lost.model_dump()]}
    await job.write(kept(f"verdict/{number}/{rater}", asked.answer))
    return {"rated": {f"{number}/{rater}": number}, "turns": job.counted(node)}


def refuse(verdict: Verdict, criteria: tuple[str, ...]) -> str | None:
    """Why the verdict does not count, or None."""
    left = scores.unrated(verdict, criteria)
    return f"these criteria are not rated: {'; '.join(map(repr, left))}" if left else None


async def load_verdicts(job: Job, state: State, number: int) -> dict[str, Verdict]:
    """The verdicts of a round, by rater."""
    names = sorted(k.split("/", 1)[1] for k, n in state.get("rated", {}).items() if n == number)
    return {name: Verdict.model_validate_json(await job.text(f"verdict/{number}/{name}")) for name in names}


async def judge(job: Job, node: str, state: State) -> dict[str, Any]:
    """What the round's ratings amount to, and whether the text is revised."""
    number = state["round"]
    verdicts = await load_verdicts(job, state, number)
    means = scores.means(verdicts, job.task.criteria)
    short = scores.unmet(means, job.task.criteria)
    again = bool(verdicts and short) and number < job.task.max_rounds
    job.run.tell(Entry("atlas", "rated", _in_words(number, means, short, again), key=f"{node}:rated"))
    lost = [] if verdicts else [NO_RATINGS.model_dump()]
    return {"means": {str(number): means} if means else {}, "again": again, "missing": lost}


def _in_words(number: int, means: dict[str, float], short: list[str], again: bool) -> str:
    if not means:
        return f"rating round {number}: no ratings; the text does not pass"
    mean = sum(means.values()) / len(means)
    if not short:
        return f"rating round {number}: {mean:.1f}, every criterion reached {PASS_MARK:.1f}"
    named = ", ".join(f"{c!r}" + (f" ({means[c]:.1f})" if c in means else " (not rated)") for c in short)
    end = "will be revised" if again else "and this was the last round"
    return f"rating round {number}: {mean:.1f}, below {PASS_MARK:.1f}: {named} {end}"
