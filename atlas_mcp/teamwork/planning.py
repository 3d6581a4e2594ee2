"""The plan: which teams can work here, what is lacking, and which plans are refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atlas_mcp.constellation.guests import GUESTS
from atlas_mcp.errors import ConfigurationError
from atlas_mcp.model.plan import Lack, Plan
from atlas_mcp.runs.changes import Entry, Kept
from atlas_mcp.teamwork import modes, prompts
from atlas_mcp.teamwork.asking import Question, ask
from atlas_mcp.teamwork.checks import shorten
from atlas_mcp.teamwork.ephemeral import plain
from atlas_mcp.teamwork.job import kept
from atlas_mcp.teamwork.recalling import NOTHING, Given, fuller, recall

if TYPE_CHECKING:
    from atlas_mcp.model.agent import AgentSpec, Roster, TeamSpec
    from atlas_mcp.teamwork.job import Job
    from atlas_mcp.teamwork.state import State

NOBODY_DELIVERED = "none of its workers delivered"
_WHOLE_WORK = "its whole work"
_MOST_REASONS = 6
THEN = " (then: "
"""In a reason, what is told after this happened after the worker had failed, and is not why it did."""


@dataclass(frozen=True)
class Standing:
    """A team as this task finds it: `able` are the workers that can work here and `teams` those of its own that can,
    `why_not` says why none may."""

    team: TeamSpec
    able: tuple[AgentSpec, ...]
    teams: tuple[TeamSpec, ...] = ()
    why_not: str = ""

    def line(self) -> str:
        """The team as the plan's prompt shows it."""
        head = f"{self.team.name} ({self.team.kind}): "
        if self.why_not:
            return f"{head}not available: {self.why_not}"
        inner = "".join(f"; has a team of its own: {t.name}, which {t.purpose}" for t in self.teams)
        return f"{head}{self.team.purpose}; workers: {', '.join(w.name for w in self.able)}{inner}"


def standings(roster: Roster, available: frozenset[str], chosen: Sequence[str]) -> list[Standing]:
    """Every team, with the workers that have what they need. `chosen` names the caller's teams; empty means all.

    The caller's choice is among the working teams: writing and rating are part of every task.
    """
    found: list[Standing] = []
    for team in (t for t in roster.teams if not roster.above(t.name)):
        members = [roster.agent(name) for inner in roster.within(team.name) for name in inner.workers]
        able = tuple(w for w in members if w.name in team.workers and available.issuperset(w.needs))
        teams = able_teams(roster, available, team)
        why_not = ""
        if team.kind == "work" and chosen and team.name not in chosen:
            why_not = "the caller left it out"
        elif not able and not teams:
            absent = sorted({tool for w in members for tool in w.needs if tool not in available})
            why_not = f"its workers need {', '.join(absent)}" if absent else "it has no workers"
        found.append(Standing(team, able, teams, why_not))
    return found


def able_teams(roster: Roster, available: frozenset[str], team: TeamSpec) -> tuple[TeamSpec, ...]:
    """The teams that belong to this one and have anybody who can work here."""
    inner = {name: [roster.agent(w) for t in roster.within(name) for w in t.workers] for name in team.teams}
    return tuple(roster.team(n) for n, who in inner.items() if any(available.issuperset(w.needs) for w in who))


def lacks(job: Job) -> dict[str, list[Lack]]:
    """The workers that get no part because their tools are absent: which, and how to add them."""
    roster, chosen = job.agents.roster, job.task.teams
    tops = [t for t in roster.teams if not roster.above(t.name)]
    tops = [t for t in tops if t.kind != "work" or not chosen or t.name in chosen]
    teams = [inner for top in tops for inner in roster.within(top.name)]
    workers = (roster.agent(name) for team in teams for name in team.workers)
    return {worker.name: found for worker in workers if (found := job.agents.toolbox.lacks(worker))}


def by_tool(absent: Mapping[str, Sequence[Lack]]) -> list[Lack]:
    """The same by what is lacking, each once, with everybody who is without work for it."""
    without: dict[str, list[str]] = {}
    first: dict[str, Lack] = {}
    for worker, found in absent.items():
        for lack in found:
            first.setdefault(lack.what, lack)
            without.setdefault(lack.what, []).append(worker)
    return [
        Lack(
            what=what,
            why=f"{', '.join(names)} cannot work without it, and there is no such tool here",
            how_to_add=first[what].how_to_add,
        )
        for what, names in without.items()
    ]


def able_workers(job: Job, team: str) -> dict[str, str]:
    """The workers of a team that can work here, with their descriptions."""
    roster, available = job.agents.roster, job.agents.toolbox.available
    members = map(roster.agent, roster.team(team).workers)
    return {w.name: w.description for w in members if available.issuperset(w.needs)}


def able_members(job: Job, team: str) -> dict[str, str]:
    """Whom a team's supervisor may give work to: the workers, and the teams of its own, with what they do."""
    roster = job.agents.roster
    inner = able_teams(roster, job.agents.toolbox.available, roster.team(team))
    return able_workers(job, team) | {t.name: f"a team, which {t.purpose}" for t in inner}


async def make_plan(job: Job, node: str, state: State) -> dict[str, Any]:
    """Have the global supervisor plan; record the plan. Raises when no team can work or no usable plan comes."""
    teams = standings(job.agents.roster, job.agents.toolbox.available, job.task.teams)
    if not any(t.team.kind == "work" and not t.why_not for t in teams):
        raise ConfigurationError(
            f"no team can work on this: {'; '.join(f'{t.team.name}: {t.why_not}' for t in teams if t.why_not)}.",
            argument="teams",
            next_step="Name a working team, or add what its workers need (get_status says how).",
        )
    if ready := modes.alone(job.task):
        if problem := refuse(ready, teams):
            raise ConfigurationError(f"{problem}.", argument="teams", next_step="Name another team, or another mode.")
        await recall(job, node)
        planning: dict[str, Any] = {"thread": "new", "asked": [], "to_ask": job.task.approve_plan}
        return {**await _settle(job, node, ready, "atlas"), "planning": planning}
    leader, found = job.agents.roster.with_role("global_supervisor").name, await recall(job, node)
    lines, given = [t.line() for t in teams], fuller(job, leader, job.task.goal, found)
    prompt = prompts.plan(job.task, lines, by_tool(lacks(job)), modes.told(job.task), given.text)
    return await _plan(job, node, teams, prompt, "new", given)


async def plan_again(job: Job, node: str, thread: str, said: str) -> dict[str, Any]:
    """Have the plan made anew, in the conversation of the first, from what the caller said; record it. As make_plan."""
    teams = standings(job.agents.roster, job.agents.toolbox.available, job.task.teams)
    return await _plan(job, node, teams, prompts.plan_again(said), thread)


async def _plan(
    job: Job, node: str, teams: Sequence[Standing], prompt: str, thread: str, given: Given = NOTHING
) -> dict[str, Any]:
    leader = job.agents.roster.with_role("global_supervisor").name
    first, chosen, roster = thread == "new", job.task.mode, job.agents.roster
    job.expect(1)

    def check(plan: Plan) -> str | None:
        plan = modes.settled(plan, chosen)
        return modes.refuse(plan, teams, roster) or refuse(plan, teams)

    question = Question(
        agent=leader,
        prompt=prompt,
        part="plan" if first else "plan_again",
        answer=Plan,
        doing=f"{leader} plans the work{'' if first else ' anew'}",
        done=lambda plan: f"{leader} planned {_what(modes.settled(plan, chosen))}",
        check=check,
        conversation=thread,
        asks=first,
        recalled=given.ids,
    )
    asked = await ask(job, node, question)
    update = await _settle(job, node, modes.settled(asked.answer, chosen), leader)
    if first:
        to_ask = job.task.approve_plan or bool(asked.asked)
        update["planning"] = {"thread": asked.conversation, "asked": [*asked.asked], "to_ask": to_ask}
    return {**update, "turns": job.counted(node)}


async def _settle(job: Job, node: str, plan: Plan, who: str) -> dict[str, Any]:
    """Record the plan, and the names of the agents that it describes before any of them is made."""
    without = {} if plan.mode == "debate" else lacks(job)
    if plan.mode == "team":
        members = {w for t in job.agents.roster.within(plan.parts[0].team) for w in t.workers}
        without = {worker: found for worker, found in without.items() if worker in members}
    plan = with_lacks(plan, by_tool(without))
    voices = [plain(one.name) for one in plan.debaters if one.persona.strip()]
    named = [Kept(GUESTS, json.dumps(voices))] if voices else []
    job.note(kept("plan", plan), plan, *named, Entry(who, "planned", _in_words(plan), key=f"{node}:planned"))
    missing = [missing_worker(worker, found) for worker, found in without.items()]
    lead = modes.lead(plan, job.agents.roster)
    return {"mode": plan.mode, "lead": lead, "parts": modes.places(plan), "missing": missing}


def refuse(plan: Plan, teams: Sequence[Standing]) -> str | None:
    """Why the plan cannot be carried out, or None. Ids, dependencies and cycles are checked by Plan itself."""
    by_name = {t.team.name: t for t in teams}
    usable = ", ".join(t.team.name for t in teams if t.team.kind == "work" and not t.why_not)
    for part in plan.parts:
        standing = by_name.get(part.team)
        if standing is None:
            return f"part {part.id!r} names the team {part.team!r}, which does not exist; these can work: {usable}"
        if standing.team.kind != "work":
            return f"part {part.id!r} is given to the {part.team} team, which gets no part; these can work: {usable}"
        if standing.why_not:
            return f"part {part.id!r}: {part.team} is not available: {standing.why_not}; these can work: {usable}"
    return None


def with_lacks(plan: Plan, absent: Sequence[Lack]) -> Plan:
    """The plan with everything that is really lacking, each once; what the agent itself found lacking stays."""
    known = {lack.what for lack in absent}
    return plan.model_copy(update={"lacks": (*absent, *(x for x in plan.lacks if x.what not in known))})


def missing_worker(worker: str, found: Sequence[Lack]) -> dict[str, Any]:
    """A worker without its tools, as the result tells it."""
    names = ", ".join(lack.what for lack in found)
    why = f"it needs {names}, which {'is' if len(found) == 1 else 'are'} not there. "
    return {"agent": worker, "what": _WHOLE_WORK, "why": why + " ".join(x.how_to_add for x in found)}


def why_nothing(missing: Sequence[Mapping[str, str]]) -> str:
    """Why nothing was done, in short: what those met who worked, each reason once, and then who could not work."""
    worked: dict[str, list[str]] = {}
    for item in missing:
        if item["what"] != _WHOLE_WORK:
            worked.setdefault(shorten(item["why"].split(THEN)[0], 200).rstrip("."), []).append(item["agent"])
    own = {why: who for why, who in worked.items() if why != NOBODY_DELIVERED} or worked
    reasons = [why if why.startswith(who[0]) else f"{', '.join(dict.fromkeys(who))}: {why}" for why, who in own.items()]
    idle = [f"{m['agent']}: {m['why'].split('. ')[0]}" for m in missing if m["what"] == _WHOLE_WORK]
    return "; ".join(reasons[:_MOST_REASONS] + idle)


def count(number: int, noun: str) -> str:
    """ "1 part", "2 parts"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _what(plan: Plan) -> str:
    return "a debate" if plan.mode == "debate" else count(len(plan.parts), "part")


def _in_words(plan: Plan) -> str:
    if plan.mode == "debate":
        return modes.described(plan)
    parts = "; ".join(
        f"{p.team}: {' '.join(p.task.split())[:120]}" + (f" (after {', '.join(p.depends_on)})" if p.depends_on else "")
        for p in plan.parts
    )
    absent = f". Not available: {', '.join(x.what for x in plan.lacks)}" if plan.lacks else ""
    return f"{count(len(plan.parts), 'part')}, {plan.complexity}, priority {plan.priority}: {parts}{absent}"
