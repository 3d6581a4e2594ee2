"""A debate: each side speaks, all at once; the moderator says what is at issue; then they answer each other and vote.

It ends early when they agree (`model.debate.AGREED`), or when a round changes nobody's vote. How far they agree is
counted from their votes, never judged. The moderator's summary is the report that becomes the text. Who cannot speak is
missing, and costs the others nothing; a moderator that names no points is replaced by the sides' own first sentences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlas_mcp.model.debate import AGREED, MAX_POINTS, Outcome, Points, Statement, agreement, disagreements
from atlas_mcp.model.result import Missing
from atlas_mcp.model.work import Findings
from atlas_mcp.runs.changes import Entry
from atlas_mcp.teamwork import debate_prompts as prompts
from atlas_mcp.teamwork.asking import Failed, Question, try_ask
from atlas_mcp.teamwork.checks import shorten
from atlas_mcp.teamwork.ephemeral import seat, speaker
from atlas_mcp.teamwork.job import kept
from atlas_mcp.teamwork.planning import count
from atlas_mcp.teamwork.proving import prove
from atlas_mcp.teamwork.recalling import NOTHING, focused, fuller, recalled_for
from atlas_mcp.teamwork.state import DEBATE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlas_mcp.teamwork.job import Job
    from atlas_mcp.teamwork.state import DebaterState, DebateState

OUTCOME = "debate/outcome"
_POINTS = "debate/points"
_BEGAN = "debate:began"


async def open_debate(job: Job, node: str, state: DebateState) -> dict[str, Any]:
    """Who takes part."""
    plan = await seat(job)
    names = [one.name for one in plan.debaters]
    job.expect(len(names) * plan.rounds + 2)
    text = f"a debate begins between {', '.join(names)}: at most {count(plan.rounds, 'round')}"
    job.run.tell(Entry(_moderator(job), "part_started", text, key=_BEGAN))
    return {"round": 1, "seated": names, "over": False}


async def argue(job: Job, node: str, state: DebaterState) -> dict[str, Any]:
    """One side speaks: for itself at first, then in answer to the others, with its votes."""
    plan, name, number = await seat(job), state["debater"], state["round"]
    debater = next(one for one in plan.debaters if one.name == name)
    points = await _points(job) if number > 1 else ()
    others = {} if number == 1 else await _statements(job, number - 1, [n for n in state["seated"] if n != name])
    agent = speaker(job.run.run_id, debater)
    # A voice of this run alone has no memory; the others are told once, in the thread that they go on in.
    told = number > 1 or debater.persona.strip()
    given = NOTHING if told else focused(job, agent, job.task.goal, await recalled_for(job))
    question = Question(
        agent=agent,
        prompt=prompts.statement(job.task, name, points, {who: s.text for who, s in others.items()}, given.text),
        part=prompts.stating(points),
        answer=Statement,
        doing=f"{name} speaks (round {number})",
        done=lambda s: f"{name} spoke: {shorten(s.text, 160)}",
        check=lambda s: unvoted(s, len(points)),
        conversation=state["threads"].get(name, "new"),
        tools=True,
        recalled=given.ids,
    )
    asked = await try_ask(job, node, question)
    if isinstance(asked, Failed):
        lost = Missing(agent=name, what=f"its statement in round {number}", why=asked.why)
        return {"missing": [lost.model_dump()], "said": {f"{number}/{name}": "missing"}}
    evidence, refused = await prove(job, name, (*asked.answer.evidence, *asked.cited))
    job.note(kept(_of(number, name), asked.answer.model_copy(update={"evidence": tuple(evidence)})))
    return {
        "said": {f"{number}/{name}": "done"},
        "threads": {name: asked.conversation},
        "authors": [agent],
        "missing": [m.model_dump() for m in refused],
        "turns": job.counted(node),
    }


async def moderate(job: Job, node: str, state: DebateState) -> dict[str, Any]:
    """After the first round the moderator says what is at issue; after each other one the votes are counted."""
    plan, number = await seat(job), state["round"]
    spoke = [n for n in state["seated"] if state.get("said", {}).get(f"{number}/{n}") == "done"]
    said = await _statements(job, number, spoke)
    if number == 1:
        over = len(spoke) < 2
        if not over:
            await _name_points(job, node, said)
        return {"round": 2, "seated": spoke, "over": over, "turns": job.counted(node)}
    points = await _points(job)
    stands = {who: s.stands(len(points)) for who, s in said.items()}
    level = agreement(list(stands.values()))
    before = await _statements(job, number - 1, spoke) if number > 2 else {}
    stuck = bool(before) and stands == {who: s.stands(len(points)) for who, s in before.items()}
    agreed = level is not None and level >= AGREED
    over = agreed or stuck or number >= plan.rounds or len(spoke) < 2
    text = (
        f"round {number}: agreement {'unknown' if level is None else f'{level:.2f}'} on {count(len(points), 'point')}"
    )
    text += "; they agree" if agreed else "; no vote has changed" if stuck else ""
    if said:
        found = Outcome(rounds=number, agreement=level, disagreements=disagreements(points, said))
        entry = Entry("atlas", "agreement", text, data={"agreement": level, "round": number}, key=f"{node}:votes")
        job.note(kept(OUTCOME, found), entry)
    return {"round": number + 1, "seated": spoke, "over": over}


async def conclude(job: Job, node: str, state: DebateState) -> dict[str, Any]:
    """The moderator sums up what was said; without it the last statements are the report."""
    plan, moderator = await seat(job), _moderator(job)
    last = await _last_words(job, state, [one.name for one in plan.debaters])
    if not last:
        text = "the debate delivered nothing"
        job.run.tell(Entry(moderator, "part_finished", text, key=f"{node}:part", cause_key=_BEGAN))
        return {
            "done": {DEBATE: "missing"},
            "missing": [Missing(agent=DEBATE, what="the debate", why="nobody spoke").model_dump()],
        }
    outcome = Outcome.model_validate_json(await job.find(OUTCOME) or _NO_VOTES.model_dump_json())
    given = fuller(job, moderator, job.task.goal, await recalled_for(job))
    question = Question(
        agent=moderator,
        prompt=prompts.conclusion(job.task, {who: _found(s) for who, s in last.items()}, outcome, given.text),
        part="conclusion",
        answer=Findings,
        doing=f"{moderator} sums up",
        done=lambda f: f"{moderator} summed up, with {count(len(f.evidence), 'quotation')}",
        recalled=given.ids,
    )
    asked = await try_ask(job, node, question)
    evidence = tuple(dict.fromkeys(e for s in last.values() for e in s.evidence))
    missing: list[Missing] = []
    if isinstance(asked, Failed):
        found = Findings(text="\n\n".join(f"{who}: {s.text}" for who, s in last.items()), evidence=evidence)
        missing = [Missing(agent=moderator, what="its summary of the debate", why=asked.why)]
    else:
        own, missing = await prove(job, moderator, asked.answer.evidence)
        found = asked.answer.model_copy(update={"evidence": tuple(own) or evidence})
    level = "not known" if outcome.agreement is None else f"{outcome.agreement:.2f}"
    text = f"the debate is over: agreement {level}, {count(len(outcome.disagreements), 'disagreement')} left"
    told = Entry(moderator, "part_finished", text, key=f"{node}:part", cause_key=_BEGAN)
    job.note(kept(f"part/{DEBATE}", found), told)
    return {
        "done": {DEBATE: "done"},
        "authors": [moderator],
        "missing": [m.model_dump() for m in missing],
        "turns": job.counted(node),
    }


def unvoted(statement: Statement, points: int) -> str | None:
    """Why the statement does not count: a point without its vote; None if there is none."""
    left = set(range(1, points + 1)) - {v.point for v in statement.votes}
    return f"there is no vote on point {', '.join(map(str, sorted(left)))}" if left else None


async def outcome_of(job: Job) -> Outcome | None:
    """How the run's debate ended; None if there were no votes."""
    found = await job.find(OUTCOME)
    return Outcome.model_validate_json(found) if found else None


_NO_VOTES = Outcome(rounds=1, agreement=None)


def _found(said: Statement) -> str:
    return Findings(text=said.text, evidence=said.evidence).model_dump_json()


def _moderator(job: Job) -> str:
    return job.agents.roster.with_role("global_supervisor").name


def _of(number: int, name: str) -> str:
    return f"debate/{number}/{name}"


async def _points(job: Job) -> tuple[str, ...]:
    return Points.model_validate_json(await job.text(_POINTS)).points


async def _statements(job: Job, number: int, names: list[str]) -> dict[str, Statement]:
    """What these said in that round, as far as they did."""
    texts = {name: await job.find(_of(number, name)) for name in names}
    return {name: Statement.model_validate_json(text) for name, text in texts.items() if text}


async def _last_words(job: Job, state: DebateState, names: list[str]) -> dict[str, Statement]:
    """What each said last, also of those who did not stay to the end."""
    found: dict[str, Statement] = {}
    for number in range(state["round"], 0, -1):
        here = [n for n in names if n not in found and state.get("said", {}).get(f"{number}/{n}") == "done"]
        found |= await _statements(job, number, here)
    return {name: found[name] for name in names if name in found}


async def _name_points(job: Job, node: str, said: Mapping[str, Statement]) -> None:
    moderator = _moderator(job)
    question = Question(
        agent=moderator,
        prompt=prompts.points(job.task, {who: s.text for who, s in said.items()}),
        part="points",
        answer=Points,
        doing=f"{moderator} looks for what is at issue",
        done=lambda p: (
            f"{moderator} named {count(len(p.points), 'point')}: {'; '.join(shorten(x, 80) for x in p.points)}"
        ),
    )
    asked = await try_ask(job, node, question)
    if isinstance(asked, Failed):
        first = tuple(dict.fromkeys(shorten(s.text.split(". ")[0], 300) for s in said.values()))
        found = Points(points=first[:MAX_POINTS])
    else:
        found = asked.answer
    job.note(kept(_POINTS, found))
