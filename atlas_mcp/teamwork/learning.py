"""What a run teaches: the librarian closes it with proposals, and what is worth it is kept for the next runs.

One turn, after the result is kept: whatever fails here costs nothing of it, and without budget left the turn is left
out, which the journal says. What is proposed is judged by arithmetic (`memory.rubric`), never by whoever proposed it:
its evidence is looked up in the materials and in the run's own journal, and what was recalled into the run, or stood in
the librarian's own memory, is not captured again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.errors import AtlasError, RunLost
from atlas_mcp.memory import rubric
from atlas_mcp.memory.learnings import learning_id
from atlas_mcp.memory.likeness import Words, says_the_same
from atlas_mcp.memory.rubric import Proof
from atlas_mcp.model.knowledge import AGENT_TRUST
from atlas_mcp.model.learning import MAX_PROPOSALS, Judged, Known, Learning, Proposal, Proposals
from atlas_mcp.model.memory_item import QUOTED_TRUST
from atlas_mcp.model.memory_kinds import EVERYBODY
from atlas_mcp.model.sections import section
from atlas_mcp.runs.changes import Entry
from atlas_mcp.teamwork import prompts
from atlas_mcp.teamwork.asking import Failed, Question, try_ask
from atlas_mcp.teamwork.checks import find_quote, shorten
from atlas_mcp.teamwork.leads import lead
from atlas_mcp.teamwork.planning import count
from atlas_mcp.teamwork.recalling import recalled_before
from atlas_mcp.teamwork.stopping import stopped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.model.agent import Roster
    from atlas_mcp.model.learning import Mark
    from atlas_mcp.model.memory_item import MemoryItem
    from atlas_mcp.model.result import Result
    from atlas_mcp.model.run import Event
    from atlas_mcp.model.task import Material
    from atlas_mcp.teamwork.job import Job

MOST_EVENTS = 80
MOST_OUTPUT = 6_000
_LONGEST_EVENT = 300
_NOT_SHOWN = frozenset({"run_started", "turn_started", "tool_called", "recalled"})


async def learn(job: Job, node: str, result: Result) -> tuple[list[Learning], Entry, tuple[Mark, ...]]:
    """Have the librarian propose what to remember, and keep what is worth it.

    What was kept, what to tell of it, and how good the librarian found the result.
    """
    librarian = job.agents.roster.with_role("librarian").name
    if stop := await stopped(job):
        return [], _told(librarian, node, f"nothing was learned: {stop.reason}"), ()
    try:
        events = [e for e in await job.run.history() if e.type not in _NOT_SHOWN][-MOST_EVENTS:]
        keys = await job.agents.learnings.keys()
        asked = await _propose(job, node, librarian, prompt(job, result, events, keys))
        if isinstance(asked, Failed):
            return [], _told(librarian, node, f"nothing was learned: {asked.why}"), ()
        judged = await _judged(job, librarian, asked.learnings, events) if asked.learnings else []
        if judged:
            await job.agents.learnings.keep(judged)
    except RunLost:
        raise
    except AtlasError as error:
        return [], _told(librarian, node, f"nothing was learned: {shorten(str(error), 300)}"), ()
    kept = [one.learning for one in judged if one.kept]
    return kept, _told(librarian, node, _in_words(librarian, judged), judged), asked.quality


def prompt(job: Job, result: Result, events: Sequence[Event], keys: Sequence[str] = ()) -> str:
    """What the librarian is asked."""
    journal = "\n".join(f"event {e.seq}: {e.actor}: {shorten(e.text, _LONGEST_EVENT)}" for e in events)
    return prompts.compose(
        lead("learning", max_proposals=MAX_PROPOSALS),
        section("goal", job.task.goal),
        section("materials", prompts.listing(job.task.materials)),
        section("result", shorten_lines(result.output, MOST_OUTPUT)),
        *(section("report", f"{e.claim}\n“{e.quote}”", **{"from": e.source}) for e in result.evidence[:20]),
        section("journal", journal or "none"),
        *([section("keys", "\n".join(keys))] if keys else []),
        answer=Proposals,
    )


def shorten_lines(text: str, limit: int) -> str:
    """The beginning of the text, with its lines."""
    return text if len(text) <= limit else f"{text[:limit].rstrip()}…"


async def _propose(job: Job, node: str, librarian: str, asked_of: str) -> Proposals | Failed:
    job.expect(1)
    question = Question(
        agent=librarian,
        prompt=asked_of,
        part="learning",
        answer=Proposals,
        doing=f"{librarian} looks for what to remember",
        done=lambda p: f"{librarian} proposed {count(len(p.learnings), 'learning')}",
        tries=1,  # the result is there, and somebody may be waiting for it
    )
    asked = await try_ask(job, f"{node}:learn", question)
    return asked if isinstance(asked, Failed) else asked.answer


async def _judged(job: Job, librarian: str, proposals: Sequence[Proposal], events: Sequence[Event]) -> list[Judged]:
    """Each proposal with its judgement; of several that say the same the first may be kept."""
    earlier = await recalled_before(job)
    blocks = await job.agents.get_memory(librarian)
    recalled = [one.text for one in earlier] + [line for block in blocks for line in block.value.splitlines()]
    judged: list[Judged] = []
    for number, given in enumerate(proposals, 1):
        near = [*await job.agents.learnings.near(given.text), *(Known(text=j.learning.text) for j in judged if j.kept)]
        near = [one for one in near if not one.replaced_by(given.text, given.key)]
        known = [one.text for one in near]
        proof = prove(given, job.task.materials, events)
        scores = rubric.scores(given, proof, known)
        reason = rubric.refusal(given, proof, job.task.goal, known, recalled) or rubric.shortfall(scores)
        learning = Learning(
            **given.model_dump(exclude={"confidence"}),
            id=learning_id(job.run.run_id, number),
            run_id=job.run.run_id,
            agent=librarian,
            score=rubric.total(scores),
            trust=AGENT_TRUST if proof.from_run else QUOTED_TRUST,
        )
        judged.append(
            Judged(
                learning=learning,
                scope=scope_of(job.agents.roster, given.audience),
                project=job.task.project or "",
                repeats=_repeated(given, near) if reason == rubric.REMEMBERED else None,
                confidence=given.confidence,
                scores=scores,
                reason=reason,
            )
        )
    return judged


def scope_of(roster: Roster, audience: str) -> str:
    """Whom a learning is for: the agent or the team that is named, else all."""
    named = audience.strip().removeprefix("agent:").removeprefix("team:")
    if any(agent.name == named for agent in roster.agents):
        return f"agent:{named}"
    return f"team:{named}" if any(team.name == named for team in roster.teams) else EVERYBODY


def _repeated(given: Proposal, near: Sequence[Known]) -> MemoryItem | None:
    """The memory that says the same."""
    text = Words(given.text)
    return next((one.memory for one in near if one.memory and says_the_same(text, Words(one.text))), None)


def prove(given: Proposal, materials: Sequence[Material], events: Sequence[Event]) -> Proof:
    """Whether the evidence is really there: the quote in the material, or the event in the journal."""
    number = given.source.strip().casefold().removeprefix("event").strip(" #")
    if number.isdigit():
        event = next((e for e in events if e.seq == int(number)), None)
        if event is None:
            return Proof(why_not=f"there is no {shorten(given.source, 40)} in the journal")
        if not given.quote.strip():
            return Proof(worth=4.0, from_run=True)
        found = find_quote(given.quote, shorten(event.text, _LONGEST_EVENT))
        return Proof(worth=5.0, from_run=True) if found else Proof(why_not=f"event {event.seq} does not say so")
    named = [m for m in materials if m.name.casefold() == given.source.strip().casefold()]
    if not named:
        return Proof(why_not=f"there is no source {shorten(given.source, 80)!r}")
    if not any(find_quote(given.quote, m.text) for m in named):
        return Proof(why_not=f"its quote is not in {named[0].name!r}")
    return Proof(worth=5.0)


def _in_words(librarian: str, judged: Sequence[Judged]) -> str:
    kept = [one for one in judged if one.kept]
    if not judged:
        return f"{librarian} found nothing to remember"
    text = f"{librarian} keeps {len(kept)} of {count(len(judged), 'proposal')}"
    text += "".join(f"; {shorten(one.learning.text, 120)} ({one.learning.score:.1f})" for one in kept)
    left = [f"{shorten(one.learning.text, 60)}: {one.reason}" for one in judged if not one.kept]
    return f"{text}. Not kept: {'; '.join(left)}" if left else text


def _told(librarian: str, node: str, text: str, judged: Sequence[Judged] = ()) -> Entry:
    kept = [one.learning.id for one in judged if one.kept]
    refused = [
        {"id": one.learning.id, "score": one.learning.score, "reason": one.reason} for one in judged if not one.kept
    ]
    proposed = f"{node}:learn:1:finished"
    data = {"kept": kept, "refused": refused}
    return Entry(librarian, "learned", text, data=data, key=f"{node}:learned", cause_key=proposed)
