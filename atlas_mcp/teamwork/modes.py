"""The modes of working together, as a plan has them: what the planner is told, and which plans do not fit.

`hierarchy`: teams work on parts, the writing team writes, raters judge. `team`: one team does everything, and its
report is the text; its supervisor revises it. `debate`: named sides and a moderator, whose summary is the text. In
every mode the text is rated by agents that had no part in it, unless the caller wants no ratings (`max_rounds` 0).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from atlas_mcp.model.plan import MAX_DEBATERS, Mode, Part, Plan
from atlas_mcp.model.sections import section
from atlas_mcp.teamwork.ephemeral import plain
from atlas_mcp.teamwork.state import DEBATE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.model.agent import Roster
    from atlas_mcp.model.task import TeamTask
    from atlas_mcp.teamwork.planning import Standing
    from atlas_mcp.teamwork.state import PartState

_WAYS: dict[Mode, str] = {
    "hierarchy": "`hierarchy`: parts for teams, then writing and rating.",
    "team": "`team`: exactly one part, for one team that does all of it alone; its report is the text.",
    "debate": f"`debate`: no parts, but 2 to {MAX_DEBATERS} `debaters` that hold different views and answer each other "
    "for some `rounds`; you moderate and sum up. A debater is a worker from <teams>, by name, or a voice for this "
    "debate alone, with a name of your own and a `persona`: who it is and what it stands for.",
}
_CHOOSE = (
    "Choose the `mode`: hierarchy is the rule; team is for small, plain work within one team's reach; debate for "
    "questions on which sensible people differ, and whose grounds matter more than a finding."
)


def told(task: TeamTask) -> str:
    """What the planner is told of modes: of all, or of the one that the caller chose."""
    if task.mode is None:
        return "\n".join((_CHOOSE, *(f"- {way}" for way in _WAYS.values())))
    return f"The caller has chosen the mode {_WAYS[task.mode]}\n\n{section('mode', task.mode)}"


def alone(task: TeamTask) -> Plan | None:
    """The plan where there is nothing to plan: the caller wants one team, named, to do everything."""
    if task.mode != "team" or len(task.teams) != 1 or task.approve_plan:
        return None
    team = task.teams[0]
    return Plan(mode="team", complexity="simple", parts=(Part(id=team, team=team, task=task.goal),))


def settled(plan: Plan, chosen: Mode | None) -> Plan:
    """The plan in the mode that the caller chose, without what that mode has no use for."""
    mode = chosen or plan.mode
    unused = {"parts": ()} if mode == "debate" else {"debaters": ()}
    return plan.model_copy(update={"mode": mode, **unused})


def refuse(plan: Plan, teams: Sequence[Standing], roster: Roster) -> str | None:
    """Why a settled plan does not fit its mode, or None."""
    if plan.mode == "debate":
        return _refuse_debate(plan, teams, roster)
    if not plan.parts:
        return "parts: there must be at least one"
    if plan.mode == "team" and len(plan.parts) != 1:
        return f"a team alone gets exactly one part, not {len(plan.parts)}"
    slashed = next((p.id for p in plan.parts if "/" in p.id), None)
    return f"the id {slashed!r} has a slash: choose another" if slashed else None


def places(plan: Plan) -> list[PartState]:
    """The parts as the checkpoint has them; a debate is one."""
    if plan.mode == "debate":
        return [{"id": DEBATE, "team": DEBATE, "depends_on": []}]
    return [{"id": p.id, "team": p.team, "depends_on": list(p.depends_on)} for p in plan.parts]


def lead(plan: Plan, roster: Roster) -> str:
    """Whose text it is where no writing team writes; empty in a hierarchy."""
    if plan.mode == "debate":
        return roster.with_role("global_supervisor").name
    return roster.team(plan.parts[0].team).supervisor if plan.mode == "team" else ""


def described(plan: Plan) -> str:
    """The sides of a debate, for people."""
    sides = "; ".join(f"{one.name}{': ' + one.persona if one.persona else ''}"[:160] for one in plan.debaters)
    return f"a debate of at most {plan.rounds} rounds between {sides}"


def _refuse_debate(plan: Plan, teams: Sequence[Standing], roster: Roster) -> str | None:
    if len(plan.debaters) < 2:
        return f"a debate needs 2 to {MAX_DEBATERS} debaters, not {len(plan.debaters)}"
    able = {w.name for t in teams if t.team.kind != "rating" and not t.why_not for w in t.able}
    known = {agent.name for agent in roster.agents}
    for one in plan.debaters:
        if one.persona.strip() and one.name in known:
            return f"{one.name!r} is an agent already: leave its persona out, or give the new voice another name"
        if not one.persona.strip() and one.name not in able:
            return f"{one.name!r} cannot take part: give it a persona, or name one of: {', '.join(sorted(able))}"
    times = Counter(plain(one.name) for one in plan.debaters)
    doubled = [name for name, number in times.items() if number > 1]
    return f"two debaters are called {doubled[0]!r}" if doubled else None
