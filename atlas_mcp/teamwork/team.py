"""One part of the plan in its team's hands: delegated, worked on by all at once, merged into one report.

A worker that fails costs its siblings nothing: `escalation` sees its assignment through, and what nobody delivered
stands in `missing`. A supervisor that cannot merge leaves the findings joined as they are. Only a part without any
findings is missing as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlas_mcp.model.plan import Part, Plan
from atlas_mcp.model.result import Missing
from atlas_mcp.model.work import Delegation, Draft, DraftSection, Findings
from atlas_mcp.runs.changes import Entry
from atlas_mcp.teamwork import prompts
from atlas_mcp.teamwork.asking import Failed, Question, try_ask
from atlas_mcp.teamwork.checks import shorten
from atlas_mcp.teamwork.escalation import Errand, see_through
from atlas_mcp.teamwork.heard import heard
from atlas_mcp.teamwork.job import kept
from atlas_mcp.teamwork.planning import NOBODY_DELIVERED, able_members, count
from atlas_mcp.teamwork.proving import prove
from atlas_mcp.teamwork.recalling import focused, fuller, recall_for, recalled_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlas_mcp.teamwork.job import Job
    from atlas_mcp.teamwork.state import PartState, RaterState, State, TeamState, WorkerState

MAX_ASSIGNMENTS = 8


async def delegate(job: Job, node: str, state: TeamState) -> dict[str, Any]:
    """The supervisor splits the part among its workers."""
    place = state["part"]
    team = job.agents.roster.team(place["team"])
    part = await _part(job, place)
    workers = able_members(job, team.name)
    text = f"{named(place)} starts: {shorten(part.task, 160)}"
    job.run.tell(Entry(team.supervisor, "part_started", text, data={"part": place["id"]}, key=_started(place)))
    job.expect((1 if "inside" in place else 2) + len(workers))  # the part that it is made of counted it as one turn
    found = await recall_for(job, part.id, part.task)
    recalled = fuller(job, team.supervisor, part.task, found)
    reports = await _reports(job, place["depends_on"])
    question = Question(
        agent=team.supervisor,
        prompt=prompts.delegation(
            job.task.goal, part.task, workers, job.task.materials, reports, recalled=recalled.text
        ),
        part="delegation",
        answer=Delegation,
        doing=f"{team.supervisor} splits the work",
        done=lambda d: f"{team.supervisor} made {count(len(d.assignments), 'assignment')}",
        check=lambda d: refuse(d, list(workers)),
        asks=True,
        recalled=recalled.ids,
    )
    given = await try_ask(job, node, question)
    if isinstance(given, Failed):
        return await _lose_part(job, node, place, team.supervisor, given.why)
    job.expect(len(given.answer.assignments) - len(workers))
    who = "; ".join(f"{a.worker}: {shorten(a.task, 100)}" for a in given.answer.assignments)
    told = Entry(team.supervisor, "delegated", f"{team.supervisor} delegated: {who}", key=f"{node}:delegated")
    job.note(kept(f"part/{part.id}/delegation", given.answer), told)
    assigned = [a.worker for a in given.answer.assignments]
    nested = [i for i, name in enumerate(assigned) if name in team.teams]
    return {"thread": given.conversation, "assigned": assigned, "nested": nested, "asked": list(given.asked)}


async def work(job: Job, node: str, state: WorkerState) -> dict[str, Any]:
    """One assignment, by the worker it was given to or, where that one fails, by whoever gets it instead."""
    place = state["part"]
    delegation = await job.value(f"part/{place['id']}/delegation", Delegation)
    assignment = delegation.assignments[state["index"]]
    reports, found = await _reports(job, place["depends_on"]), await recalled_for(job, place["id"])

    def ask(worker: str) -> Question[Findings]:
        given = focused(job, worker, f"{assignment.task} {assignment.context}", found)
        return Question(
            agent=worker,
            prompt=prompts.findings(job.task.goal, assignment, job.task.materials, reports, given.text),
            part="findings",
            answer=Findings,
            doing=f"{worker} works on: {shorten(assignment.task, 120)}",
            done=lambda f: (
                f"{worker} found {count(len(f.evidence), 'quotation')}"
                + (f", {count(len(f.gaps), 'gap')}" if f.gaps else "")
            ),
            tools=True,
            recalled=given.ids,
        )

    errand = Errand(assignment, place["team"], ask)
    report = str(state["index"])
    worker, done = await see_through(job, node, errand)
    if done is None:
        lost = Missing(agent=assignment.worker, what=shorten(assignment.task, 300), why=errand.why)
        return {"reports": {report: ""}, "missing": [lost.model_dump()], "turns": job.counted(node)}
    evidence, refused = await prove(job, worker, (*done.answer.evidence, *done.cited))
    refused += [Missing(agent=worker, what="escalated", why=shorten(r, 300)) for r in done.escalated]
    proven = done.answer.model_copy(update={"evidence": tuple(evidence)})
    job.note(kept(f"part/{place['id']}/{report}", proven))
    return {
        "reports": {report: worker},
        "authors": [worker],
        "missing": [m.model_dump() for m in refused],
        "turns": job.counted(node),
    }


async def merge(job: Job, node: str, state: TeamState) -> dict[str, Any]:
    """The supervisor merges what was delivered."""
    place = state["part"]
    team = job.agents.roster.team(place["team"])
    delivered = {i: w for i in range(len(state["assigned"])) if (w := _who_delivered(state, i))}
    if not delivered:
        return await _lose_part(job, node, place, team.name, NOBODY_DELIVERED)
    reports = {i: await job.value(f"part/{place['id']}/{i}", Findings) for i in delivered}
    labels = labelled(delivered)
    absent = [w for i, w in enumerate(state["assigned"]) if i not in delivered]
    part = await _part(job, place)
    given = {labels[i]: f.model_dump_json() for i, f in reports.items()}
    said = await heard(job, state.get("asked", []))
    question = Question(
        agent=team.supervisor,
        prompt=prompts.merging(job.task.goal, part.task, given, absent, said),
        part="merging",
        answer=Findings,
        doing=f"{team.supervisor} merges {count(len(reports), 'report')}",
        done=lambda f: f"{team.supervisor} merged them, with {count(len(f.evidence), 'quotation')}",
        conversation=state["thread"],
    )
    asked = await try_ask(job, node, question)
    if isinstance(asked, Failed):
        merged = joined(list(reports.values()))
        missing = [Missing(agent=team.supervisor, what="merging its team's findings", why=asked.why)]
    else:
        evidence, missing = await prove(job, team.supervisor, asked.answer.evidence)
        # A supervisor that forgot the evidence has not made it untrue.
        merged = asked.answer.model_copy(
            update={"evidence": tuple(evidence) or joined(list(reports.values())).evidence}
        )
    found, gaps = count(len(merged.evidence), "quotation"), count(len(merged.gaps), "open question")
    text = f"{named(place)} is done: {found}, {gaps}"
    said = {"part": place["id"], "delivered": True}
    told = Entry(team.supervisor, "part_finished", text, data=said, key=f"{node}:part", cause_key=_started(place))
    job.note(kept(f"part/{part.id}", merged), told)
    return {
        "done": {part.id: "done"},
        "authors": [team.supervisor],
        "missing": [m.model_dump() for m in missing],
        "turns": job.counted(node),
    }


def part_of(place: PartState, number: int, team: str) -> PartState:
    """An assignment of a part as a part of its own, for a team that belongs to the one that has the part."""
    return {
        "id": f"{place['id']}/{number}",
        "team": team,
        "depends_on": place["depends_on"],
        "inside": place["id"],
    }


def _who_delivered(state: TeamState, number: int) -> str:
    """The worker or the team whose findings on that assignment are there; nobody's name is empty."""
    if number in state.get("nested", []):
        done = state.get("done", {}).get(part_of(state["part"], number, "")["id"])
        return state["assigned"][number] if done == "done" else ""
    return state.get("reports", {}).get(str(number), "")


def refuse(delegation: Delegation, workers: list[str]) -> str | None:
    """Why the delegation cannot be carried out, or None."""
    if unknown := [a.worker for a in delegation.assignments if a.worker not in workers]:
        return f"{', '.join(map(repr, unknown))} cannot be given work here; these can: {', '.join(workers)}"
    if len(delegation.assignments) > MAX_ASSIGNMENTS:
        return f"{len(delegation.assignments)} assignments are too many: at most {MAX_ASSIGNMENTS}"
    return None


def named(place: PartState) -> str:
    """The part for people: its team, with the part's own id where that says something else."""
    return place["team"] if place["id"] == place["team"] else f"{place['team']} ({place['id']})"


def labelled(workers: dict[int, str]) -> dict[int, str]:
    """A name for each report: the worker's, with a number where one worker reports more than once."""
    names = list(workers.values())
    return {i: w if names.count(w) == 1 else f"{w} ({i + 1})" for i, w in workers.items()}


def joined(found: list[Findings]) -> Findings:
    """Findings one after the other, as they are."""
    return Findings(
        text="\n\n".join(f.text for f in found),
        evidence=tuple(e for f in found for e in f.evidence),
        gaps=tuple(g for f in found for g in f.gaps),
    )


def reports_as_text(reports: Mapping[str, str]) -> Draft:
    """The teams' reports as they are, one section each; a single one needs no heading."""
    found = {name: Findings.model_validate_json(text) for name, text in reports.items()}
    return Draft(
        sections=tuple(
            DraftSection(id=f"s{n}", heading=name if len(found) > 1 else "", text=f.text)
            for n, (name, f) in enumerate(found.items(), 1)
        )
    )


async def team_reports(job: Job, state: State | RaterState) -> dict[str, str]:
    """Every finished part's findings, by its team; by team and part where a team had several."""
    ready = [p for p in state["parts"] if state.get("done", {}).get(p["id"]) == "done"]
    teams = [p["team"] for p in ready]
    return {
        p["team"] if teams.count(p["team"]) == 1 else f"{p['team']} ({p['id']})": await job.text(f"part/{p['id']}")
        for p in ready
    }


async def _part(job: Job, place: PartState) -> Part:
    if above := place.get("inside"):
        given = await job.value(f"part/{above}/delegation", Delegation)
        one = given.assignments[int(place["id"].rsplit("/", 1)[1])]
        restrictions = prompts.bullets(one.restrictions) if one.restrictions else ""
        task = "\n\n".join(text for text in (one.task, one.context, restrictions) if text)
        return Part.model_construct(id=place["id"], team=place["team"], task=task, depends_on=())
    plan = await job.value("plan", Plan)
    return next(p for p in plan.parts if p.id == place["id"])


async def _reports(job: Job, parts: list[str]) -> dict[str, str]:
    """The reports of earlier parts; of a missing one, that it is missing."""
    return {p: await job.find(f"part/{p}") or _ABSENT.model_dump_json() for p in parts}


_ABSENT = Findings(text="This part delivered nothing.", gaps=("everything that was asked of this part",))


def _started(place: PartState) -> str:
    """The key of the event that tells of the part's beginning."""
    return f"part:{place['id']}:started"


async def _lose_part(job: Job, node: str, place: PartState, actor: str, why: str) -> dict[str, Any]:
    text = f"{named(place)} delivered nothing: {why}"
    said = {"part": place["id"], "delivered": False}
    job.note(Entry(actor, "part_finished", text, data=said, key=f"{node}:part-lost", cause_key=_started(place)))
    lost = Missing(agent=place["team"], what=f"part {place['id']}", why=why)
    return {"done": {place["id"]: "missing"}, "assigned": [], "missing": [lost.model_dump()]}
