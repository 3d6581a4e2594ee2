"""What an agent is told in a group: all that was said to it since its last turn, or the newest of it and a summary.

What fits is told as it was said. What does not is condensed (`memory.condensing`): within 30,000 tokens, and within the
room of one message. The summary is data like all that others said. Where the caller had summaries made by a model, the
librarian makes them, in turns that cost what turns cost; where it cannot, sentences are chosen.
"""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from math import ceil
from typing import TYPE_CHECKING

from atlas_mcp.memory.condensing import Limits
from atlas_mcp.model.context import ESTIMATE, ContextItem, Counter
from atlas_mcp.model.group import Said
from atlas_mcp.runs.changes import Entry
from atlas_mcp.teamwork.attempts import attempts
from atlas_mcp.teamwork.checks import shorten
from atlas_mcp.teamwork.groups import prompts
from atlas_mcp.teamwork.leads import asked_by
from atlas_mcp.watch.spans import hits, outputs, span

if TYPE_CHECKING:
    from atlas_mcp.memory.condensing import Condensed
    from atlas_mcp.model.turn import TurnResult
    from atlas_mcp.teamwork.groups.job import GroupJob

FRAME = 12_000
"""Characters of a message that say who is in the group and what to do now; the rest is for what was said."""
TAGS = 110
"""Characters of a section's tags around one message."""
MOST = Limits().most
PIECE = 60_000
"""Characters that the librarian reads at once."""
_ANY_TOKENS = 1 / 3
"""A character is never more tokens than three."""


def _of_the_room(chars: int) -> int:
    return ceil(chars * MOST / (prompts.ROOM - FRAME))


def tokens(text: str) -> int:
    """What a text takes of the limits: its tokens, or its part of a message's room where that is more."""
    return max(ESTIMATE.count(text), _of_the_room(len(text)))


COUNTER = Counter(ESTIMATE.name, tokens, ESTIMATE.reserve)
LIMITS = Limits(each=_of_the_room(TAGS))


async def told(job: GroupJob, agent: str, upto: int, *, everything: bool = False) -> list[Said]:
    """What the agent is told of what was said up to that message."""
    heard = job.meeting.unheard(agent, upto, everything=everything)
    if sum(min(len(m.text), prompts.LONGEST) + TAGS for m in heard) < MOST * _ANY_TOKENS:
        return heard
    talk = job.meeting.conversation
    items = [
        ContextItem(id=f"{talk}/{m.number}", section="recent", text=m.text[: prompts.LONGEST], source=m.speaker)
        for m in heard
    ]
    with span(f"context of {agent}", kind="RETRIEVER", inputs={"messages": len(items)}) as opened:
        model = partial(_by_librarian, job) if job.by_model else None
        found = await job.summaries.condense(talk, items, limits=LIMITS, counter=COUNTER, model=model)
        outputs(opened, _shown(found))
        hits(opened, len(found.recent))
    if found.summary is None:
        return heard
    _tell(job, agent, found, found.summary.id)
    summary = Said(number=0, source="system", speaker=prompts.SUMMARY, text=found.summary.text)
    recent = {item.id for item in found.recent}
    return [summary, *(m for m in heard if f"{talk}/{m.number}" in recent)]


def _shown(found: Condensed) -> dict[str, object]:
    return {
        "items": [item.id for item in found.recent],
        "summary": found.summary and found.summary.id,
        "covered": found.covered,
        "by": found.by,
        "tokens": found.tokens,
        "counted_by": found.counted_by,
    }


def _tell(job: GroupJob, agent: str, found: Condensed, summary: str) -> None:
    text = f"{agent} is told a summary of {found.covered} earlier messages, and {len(found.recent)} as they were said."
    data = {"summary": summary, "covered": found.covered, "by": found.by, "tokens": found.tokens}
    job.run.tell(Entry("atlas", "condensed", text, data=data, key=f"{job.run.run_id}:{agent}:{summary}"))


async def _by_librarian(job: GroupJob, text: str, room: int) -> str:
    """The librarian's summary, made piece by piece, each with the summary of those before it."""
    librarian = job.agents.roster.with_role("librarian").name
    made = ""
    for start in range(0, len(text), PIECE):
        prompt = prompts.condense(job.group, made, text[start : start + PIECE], room)
        key = f"{job.run.run_id}:summary:{sha256(prompt.encode()).hexdigest()[:16]}"
        turn = await attempts(job.run, librarian, key, f"{librarian} sums up", partial(_turn, job, librarian, prompt))
        said = f"{librarian} summed up: {shorten(turn.reply, 200)}"
        closing = Entry(librarian, "turn_finished", said, turn.turn_id, {}, f"{key}:finished", f"{key}:started")
        await job.run.write(closing, *job.count(turn, 0, f"{librarian} summed up"))
        made = turn.reply
    return made


async def _turn(job: GroupJob, librarian: str, prompt: str, key: str) -> TurnResult:
    return await job.agents.take_turn(
        librarian,
        prompt,
        conversation="new",
        key=key,
        run_id=job.run.run_id,
        on_event=job.run.emit,
        asked_by=asked_by(prompts.CONDENSE),
    )
