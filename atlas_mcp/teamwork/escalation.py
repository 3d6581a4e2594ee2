"""An assignment seen through: when its worker fails, one level after the other decides what becomes of it.

What passes is tried again by `attempts`, and an answer that cannot be used is asked for once more; what fails after
that goes to the team's supervisor, from there to the global supervisor, and from there to the person who set the task.
Each decides in a typed Decision: another worker, without it, or ask the next. A level decides ATTEMPTS times at most;
then, or when it cannot decide, the next one is asked; a person is asked only by a decision of the global supervisor or
when its attempts are used up. The person is waited for once nobody else of the run is at work, so that a question costs
the others nothing. A spent budget is nobody's fault, and is never escalated.

All keys follow from the node's, and what failed is kept: a node that runs again after a crash or an answer takes up its
escalation where it was, with the same failures and the same decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from atlas_mcp.model.question import Asking
from atlas_mcp.model.work import Assignment, Decision, Findings
from atlas_mcp.runs.changes import Entry, Kept
from atlas_mcp.teamwork import prompts
from atlas_mcp.teamwork.asking import Answered, Failed, Question, try_ask
from atlas_mcp.teamwork.checks import shorten
from atlas_mcp.teamwork.planning import THEN, able_workers
from atlas_mcp.watch.spans import outputs, span

if TYPE_CHECKING:
    from atlas_mcp.teamwork.job import Job

T = TypeVar("T", bound=BaseModel)

ATTEMPTS = 3
WITHOUT = "go on without it"


@dataclass
class Errand:
    """An assignment on its way: who tried and why they failed, the key of the `last` of them, and who gave it up."""

    assignment: Assignment
    team: str
    ask: Callable[[str], Question[Findings]]
    failed: dict[str, str] = field(default_factory=dict[str, str])
    given_up: str = ""
    last: str = ""

    @property
    def why(self) -> str:
        """Why it was not done, for the result."""
        first, *others = self.failed.items()
        then = [f"{who} had it next: {why}" for who, why in others] + [self.given_up] * bool(self.given_up)
        return f"{first[1]}{THEN}{'; '.join(then)})" if then else first[1]


@dataclass(frozen=True)
class Level:
    """Somebody who decides: an agent, or the person where `agent` is empty; and whom it can give the work to."""

    name: str
    agent: str
    able: Mapping[str, str]


async def see_through(job: Job, node: str, errand: Errand) -> tuple[str, Answered[Findings] | None]:
    """Have it done, by whoever it takes: who did it, and the findings; None if nobody did: `errand.why` says why."""
    worker = errand.assignment.worker
    found = await _try(job, node, worker, errand)
    if not isinstance(found, Failed):
        return worker, found
    if found.stopped:
        return worker, None
    with span(f"escalate {worker}", "CHAIN", {"why": found.why}, atlas__team=errand.team) as opened:
        done = await _escalate(job, node, errand)
        outputs(opened, {"done_by": done[0]} if done else {"given_up": errand.given_up})
    return done or (worker, None)


async def _escalate(job: Job, node: str, errand: Errand) -> tuple[str, Answered[Findings]] | None:
    for level in _levels(job, errand.team):
        for number in range(1, ATTEMPTS + 1):
            key = f"{node}:{level.name}:{number}"
            with span(f"decision of {level.agent or 'the caller'}", "GUARDRAIL", {"failed": errand.failed}) as opened:
                decision = await (_decide if level.agent else _ask_person)(job, key, level, errand)
                outputs(opened, decision)
            if decision is None:
                if level.name == "global":
                    errand.given_up = f"{level.agent} could not decide what to do"
                    return None
                break
            if decision.action == "ask":
                break
            if decision.action == "without":
                errand.given_up = f"{level.agent or 'the caller'} decided to go on without it: {decision.reason}"
                return None
            text = f"{level.agent or 'the caller'} gives {_who_failed(errand)}'s assignment to {decision.worker}"
            job.run.tell(
                Entry(level.agent or "caller", "reassigned", text, key=f"{key}:reassigned", cause_key=f"{key}:decided")
            )
            found = await _try(job, f"{key}:work", decision.worker, errand)
            if not isinstance(found, Failed):
                return decision.worker, found
            if found.stopped:
                return None
    errand.given_up = errand.given_up or "nobody else was found who could do it"
    return None


def _levels(job: Job, team: str) -> list[Level]:
    roster = job.agents.roster
    everybody = {w: about for t in roster.teams if t.kind == "work" for w, about in able_workers(job, t.name).items()}
    return [
        Level("supervisor", roster.team(team).supervisor, able_workers(job, team)),
        Level("global", roster.with_role("global_supervisor").name, everybody),
        Level("person", "", everybody),
    ]


async def _try(job: Job, key: str, worker: str, errand: Errand) -> Answered[Findings] | Failed:
    """One worker's try."""
    found = await _ask(job, key, errand.ask(worker))
    if isinstance(found, Failed):
        errand.failed[worker], errand.last = found.why, key
    return found


async def _ask(job: Job, key: str, question: Question[T]) -> Answered[T] | Failed:
    """Ask. A failure is kept before anything follows from it, and stands when the node runs again."""
    name = f"failed/{key}"
    if job.run.resumed and (why := await job.find(name)) is not None:
        return Failed(why)
    asked = await try_ask(job, key, question)
    if isinstance(asked, Failed) and not asked.stopped:
        job.note(Kept(name, asked.why))
    return asked


async def _decide(job: Job, key: str, level: Level, errand: Errand) -> Decision | None:
    """The agent's decision; None if it could not make one."""
    untried = {w: about for w, about in level.able.items() if w not in errand.failed}
    text = f"{level.agent} is asked what to do: {shorten(_last_failure(errand), 300)}"
    why = f"{errand.last}:failed"
    job.run.tell(Entry(_who_failed(errand), "escalated", text, key=f"{key}:escalated", cause_key=why))
    job.expect(1)
    question = Question(
        agent=level.agent,
        prompt=prompts.decision(job.task.goal, errand.assignment, errand.failed, untried, last=level.name == "global"),
        part="decision",
        answer=Decision,
        doing=f"{level.agent} decides what becomes of {_who_failed(errand)}'s assignment",
        done=lambda d: f"{level.agent} decided: {_in_words(d)}",
        check=lambda d: _refuse(d, untried),
    )
    asked = await _ask(job, key, question)
    if isinstance(asked, Failed):
        return None
    told = f"{level.agent}: {_in_words(asked.answer)}: {shorten(asked.answer.reason, 300)}"
    job.run.tell(Entry(level.agent, "decided", told, key=f"{key}:decided", cause_key=f"{key}:escalated"))
    return asked.answer


async def _ask_person(job: Job, key: str, level: Level, errand: Errand) -> Decision | None:
    """What the person who set the task says; without an answer in time, to go on without it."""
    untried = [w for w in level.able if w not in errand.failed]
    asking = Asking(
        asked_by="atlas",
        kind="choice",
        text=f"{_last_failure(errand)}. The assignment was: {shorten(errand.assignment.task, 500)} Who should do it?",
        options=(WITHOUT, *untried),
        safe=WITHOUT,
    )
    await job.run.put(asking, key=key)
    await job.quiet()
    answer = await job.run.ask(asking, key=key)
    told = f"the caller decided: {answer}"
    job.run.tell(Entry("caller", "decided", told, key=f"{key}:decided"))
    if answer == WITHOUT:
        return Decision(action="without", reason="the answer to the question what to do")
    return Decision(action="another", worker=answer, reason="the caller's choice")


def _refuse(decision: Decision, untried: Mapping[str, str]) -> str | None:
    """Why the decision cannot be carried out, or None."""
    if decision.action != "another" or decision.worker in untried:
        return None
    able = ", ".join(untried) or "nobody: decide `without` or `ask`"
    return f"{decision.worker!r} cannot be given this work; these can: {able}"


def _who_failed(errand: Errand) -> str:
    return next(reversed(errand.failed))


def _last_failure(errand: Errand) -> str:
    who = _who_failed(errand)
    return f"{who} delivered nothing: {errand.failed[who]}".rstrip(". ")


def _in_words(decision: Decision) -> str:
    match decision.action:
        case "another":
            return f"{decision.worker} does it"
        case "without":
            return "the work goes on without it"
        case _:
            return "the next level is to decide"
