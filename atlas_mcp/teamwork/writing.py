"""The text: the writing team writes it from the reports, and revises what the ratings name.

Its supervisor says who writes; the writers it names work on the text in turn, the first on an empty page. A revision
changes only the sections that the feedback names. A writer that fails leaves the text as it was. With nothing written
at all the reports themselves are the text, and the result says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from atlas_mcp.errors import Unavailable
from atlas_mcp.model.result import Missing
from atlas_mcp.model.work import MAX_DRAFT, Assignment, Delegation, Draft
from atlas_mcp.runs.changes import Entry
from atlas_mcp.teamwork import prompts
from atlas_mcp.teamwork.asking import Failed, Question, try_ask
from atlas_mcp.teamwork.closing import gather
from atlas_mcp.teamwork.inspection import inspect_in, kept_checks, load_checks
from atlas_mcp.teamwork.job import kept
from atlas_mcp.teamwork.planning import able_workers, count, why_nothing
from atlas_mcp.teamwork.rating import kept_line_up, line_up, load_verdicts, rated_key
from atlas_mcp.teamwork.recalling import focused, fuller, recalled_for
from atlas_mcp.teamwork.scores import feedback
from atlas_mcp.teamwork.stopping import stopped
from atlas_mcp.teamwork.team import refuse, reports_as_text, team_reports

if TYPE_CHECKING:
    from atlas_mcp.model.agent import TeamSpec
    from atlas_mcp.teamwork.job import Job
    from atlas_mcp.teamwork.state import State

MAX_WRITERS = 3
WRITE = (
    "Have the text written that reaches the goal, from the teams' reports. Give the writing to the one worker best "
    "suited to it, as the first assignment. Further assignments edit that text afterwards, one after the other: make "
    "one only where the goal demands that worker's eye."
)
REVISE = (
    "The text was rated and fell short, as the feedback says. Give its revision to the one worker best suited to "
    "mend those faults."
)

REVISE_OWN = "The text that you answer for was rated and fell short, as the feedback says. Revise it."


@dataclass
class Page:
    """The text under work: as it stands, who worked on it, and what was not delivered."""

    reports: Mapping[str, str]
    text: Draft | None = None
    remarks: str = ""
    named: frozenset[str] = frozenset()
    authors: list[str] = field(default_factory=list[str])
    models: dict[str, str] = field(default_factory=dict[str, str])
    missing: list[Missing] = field(default_factory=list[Missing])


async def write(job: Job, node: str, state: State) -> dict[str, Any]:
    """Write the text, or revise it after a rating: then a new round begins, unless nothing was changed.

    The first text is the best there is until it is rated, and is shown as such. A revision has to be rated first.
    Raises Unavailable when no part delivered anything, BudgetSpent when that is why.
    """
    before = state.get("round", 0)
    page = await _open_page(job, state, before)
    old = page.text
    team = next((t for t in job.agents.roster.teams if t.kind == "writing"), None)
    lead = state.get("lead", "")
    if lead:
        assigned = [Assignment(worker=lead, task=REVISE_OWN)] if before else []
    else:
        assigned = await _assign(job, f"{node}:assign", team, page) if team else []
    for index, given in enumerate(assigned):
        await _let_write(job, f"{node}:{index}", given, page)
    new = page.text or reports_as_text(page.reports)
    changed, chosen = new != old, dict[str, str]()
    if changed:
        missing = [*state.get("missing", []), *(m.model_dump() for m in page.missing)]
        shown = None if before else await gather(job, {**state, "missing": missing}, first=new)
        told = _told(node, page, new, before)
        if job.task.max_rounds:
            chosen = line_up(job, state, {*state.get("authors", []), *page.authors}, before + 1)
        checks = kept_checks(before + 1, await inspect_in(job, new, page.reports))
        begun = (kept(f"draft/{before + 1}", new), checks, kept_line_up(before + 1, chosen))
        job.note(*begun, *([shown] if shown else []), *told)
    judges = list(chosen)
    job.expect(len(judges))
    return {
        "round": before + 1 if changed else before,
        "again": changed and job.task.max_rounds > 0,
        "raters": judges,
        "authors": [*page.authors, *([team.supervisor] if team and not lead and page.authors else [])],
        "models": page.models,
        "missing": [m.model_dump() for m in page.missing],
        "turns": job.counted(node),
    }


async def _open_page(job: Job, state: State, before: int) -> Page:
    page = Page(await team_reports(job, state))
    if not page.reports and (stop := await stopped(job)):
        raise stop.error()
    if not page.reports:
        raise Unavailable(
            f"no part of the plan was done: {why_nothing(state.get('missing', []))}.",
            next_step="Mend what is named there, and set the task again.",
        )
    if before:
        page.text = await job.value(f"draft/{before}", Draft)
        verdicts = await load_verdicts(job, state, before)
        page.remarks, page.named = feedback(verdicts, page.text, job.task.criteria, await load_checks(job, before))
    return page


async def _assign(job: Job, node: str, team: TeamSpec, page: Page) -> list[Assignment]:
    """Who writes, in order; the first able writer when the supervisor does not say."""
    workers = able_workers(job, team.name)
    if not workers:
        page.missing.append(Missing(agent=team.name, what="the text", why="no writer can work here"))
        return []
    task = REVISE if page.text else WRITE
    job.expect(2)
    given = fuller(job, team.supervisor, job.task.goal, await recalled_for(job))
    question = Question(
        agent=team.supervisor,
        prompt=prompts.delegation(
            job.task.goal, task, workers, job.task.materials, page.reports, page.remarks, given.text
        ),
        part="delegation",
        answer=Delegation,
        doing=f"{team.supervisor} chooses who {'revises' if page.text else 'writes'}",
        done=lambda d: f"{team.supervisor} chose {', '.join(_names(d))}",
        check=lambda d: refuse(d, list(workers)),
        recalled=given.ids,
    )
    asked = await try_ask(job, node, question)
    if isinstance(asked, Failed):
        page.missing.append(Missing(agent=team.supervisor, what="delegating the writing", why=asked.why))
        return [Assignment(worker=next(iter(workers)), task=task)]
    writers = list(asked.answer.assignments[:MAX_WRITERS])
    job.expect(len(writers) - 1)
    line = (
        f"{team.supervisor} delegated the {'revision' if page.text else 'writing'}: {', '.join(_names(asked.answer))}"
    )
    job.note(Entry(team.supervisor, "delegated", line, key=f"{node}:delegated"))
    return writers


def _told(node: str, page: Page, text: Draft, before: int) -> list[Entry]:
    """Who wrote, or revised after the rating of round `before`; nobody where the reports are the text."""
    if not page.authors:
        return []
    event, verb = ("revised", "revised") if before else ("drafted", "wrote")
    line = f"{', '.join(page.authors)} {verb} the text: {count(len(text.sections), 'section')}"
    return [Entry(page.authors[0], event, line, key=f"{node}:{event}", cause_key=rated_key(before))]


def _names(delegation: Delegation) -> list[str]:
    return [a.worker for a in delegation.assignments[:MAX_WRITERS]]


async def _let_write(job: Job, node: str, given: Assignment, page: Page) -> None:
    """One writer's turn at the page."""
    verb = "revises" if page.remarks else "edits" if page.text else "writes"
    about = f"{job.task.goal} {given.task} {given.context}"
    recalled = focused(job, given.worker, about, await recalled_for(job))
    question = Question(
        agent=given.worker,
        prompt=prompts.draft(job.task, given, page.reports, page.text, page.remarks, recalled.text),
        part=prompts.writing(page.text, page.remarks),
        answer=Draft,
        doing=f"{given.worker} {verb} the text",
        done=lambda d: f"{given.worker} handed in {count(len(d.sections), 'section')}",
        check=lambda d: _refuse(d, page),
        tools=True,
        recalled=recalled.ids,
    )
    asked = await try_ask(job, node, question)
    if isinstance(asked, Failed):
        page.missing.append(Missing(agent=given.worker, what=f"its work on the text ({verb})", why=asked.why))
        return
    page.text = _put_in(asked.answer, page)
    page.authors.append(given.worker)
    page.models |= {f"writer/{given.worker}": asked.model} if asked.model else {}


def _refuse(draft: Draft, page: Page) -> str | None:
    """Why the sections cannot be used, or None."""
    length = sum(len(s.text) for s in draft.sections)
    if length > MAX_DRAFT:
        return f"the text has {length:,} characters; at most {MAX_DRAFT:,} can be rated"
    ids = [s.id for s in draft.sections]
    if len(set(ids)) != len(ids):
        return f"every section needs an id of its own: {ids}"
    if page.text and page.named and not page.named.intersection(ids):
        return f"none of the sections to revise came back ({', '.join(sorted(page.named))}), but {', '.join(ids)}"
    return None


def _put_in(draft: Draft, page: Page) -> Draft:
    """The page with the writer's sections; in a revision sections that nobody named stay as they were."""
    if page.text is None:
        return draft
    untouchable = {s.id for s in page.text.sections} - page.named if page.remarks else set[str]()
    allowed = tuple(s for s in draft.sections if s.id not in untouchable)
    return page.text.revised(draft.model_copy(update={"sections": allowed})) if allowed else page.text
