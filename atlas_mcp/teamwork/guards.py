"""What keeps agents that talk to each other from talking for ever: pure functions over the messages of a conversation.

Every message says what kind of source it is from: the caller, an agent, the system or a tool. An agent answers the
caller and other agents, never itself, never a receipt ("Thanks, noted."), never what the system or a tool reports. The
messages since the caller last spoke are watched for four patterns: `repeat`, `cycle`, `escalate` and `stuck`; and the
turns and the depth (how long a chain of answers to answers is) are bounded, which stops with `limit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from atlas_mcp.model.group import MAX_TURNS, Said, Stop
from atlas_mcp.model.wording import is_receipt, same, words

MAX_DEPTH = 24
"""Answers to answers in one chain. A group in which everybody speaks twice stays far below; deeper, nobody asked."""

REPEATS = 3
"""Times that one agent says the same before it counts: saying it again may be an answer, a third time is a loop."""

LONGEST_CYCLE = 6
"""Messages of the longest exchange that is looked for: that it comes back whole once is enough, for every agent in it
had all of it before it when it said the same again. Longer ones come near the bound on turns."""

GROWTH, GROWTH_STEPS, GROWN = 1.5, 4, 6_000
"""Each of four messages half as long again as the one before, and the last a long text: agents that outdo each other
grow fivefold in four messages, and would fill their own context windows. Short texts may grow as they like."""

NEW_WORDS, STUCK_MESSAGES, BACKGROUND = 0.1, 4, 12
"""Four messages in a row, each a receipt or with fewer than one new word in ten: nothing is added any more. Messages of
fewer than twelve words say too little to be measured, and count only as receipts."""


@dataclass(frozen=True)
class Bounds:
    """How much one message of the caller's may set off."""

    turns: int = MAX_TURNS
    depth: int = MAX_DEPTH


def may_answer(agent: str, message: Said) -> bool:
    """Whether the agent may take a turn because of this message."""
    if message.source == "caller":
        return True
    return message.source == "agent" and message.speaker != agent and not is_receipt(message.text)


def since_caller(messages: Sequence[Said]) -> list[Said]:
    """The agents' messages after the caller's last one: what the guards look at."""
    start = max((i + 1 for i, m in enumerate(messages) if m.source == "caller"), default=0)
    return [m for m in messages[start:] if m.source == "agent"]


def depth(messages: Sequence[Said]) -> int:
    """How long the longest chain is of answers to answers; a message answers those that its speaker had been told."""
    spoken = since_caller(messages)
    depths: list[int] = []
    for i, message in enumerate(spoken):
        heard = [
            d for m, d in zip(spoken[:i], depths, strict=True) if m.speaker != message.speaker and _for(message, m)
        ]
        depths.append(1 + max(heard, default=0))
    return max(depths, default=0)


def check(messages: Sequence[Said], bounds: Bounds | None = None) -> Stop | None:
    """Why the conversation must stop now, or None. `messages` are all of it, oldest first."""
    bounds = bounds or Bounds()
    spoken = since_caller(messages)
    for look in (_repeat, _cycle, _escalate, _stuck):
        if stop := look(spoken, messages):
            return stop
    if len(spoken) > bounds.turns:
        return Stop(
            pattern="limit", reason=f"more than {bounds.turns} turns were taken on one message of the caller's."
        )
    if depth(messages) > bounds.depth:
        return Stop(pattern="limit", reason=f"answers to answers had gone more than {bounds.depth} deep.")
    return None


def _for(hearer: Said, message: Said) -> bool:
    return not message.to or hearer.speaker in message.to


def _repeat(spoken: Sequence[Said], _: Sequence[Said]) -> Stop | None:
    if not spoken:
        return None
    last = spoken[-1]
    times = sum(m.speaker == last.speaker and same(m.text, last.text) for m in spoken)
    if times < REPEATS:
        return None
    return Stop(pattern="repeat", reason=f"{last.speaker} said the same {times} times.")


def _cycle(spoken: Sequence[Said], _: Sequence[Said]) -> Stop | None:
    for length in range(2, LONGEST_CYCLE + 1):
        now, before = spoken[-length:], spoken[-2 * length : -length]
        speakers = [m.speaker for m in now]
        if len(before) < length or len(set(speakers)) < 2 or speakers != [m.speaker for m in before]:
            continue
        if all(same(one.text, other.text) for one, other in zip(now, before, strict=True)):
            who = " and ".join(dict.fromkeys(speakers))
            return Stop(pattern="cycle", reason=f"{who} went through the same exchange again.")
    return None


def _escalate(spoken: Sequence[Said], _: Sequence[Said]) -> Stop | None:
    lengths = [len(m.text) for m in spoken[-GROWTH_STEPS:]]
    if len(lengths) < GROWTH_STEPS or lengths[-1] < GROWN:
        return None
    if any(after < GROWTH * before for before, after in pairwise(lengths)):
        return None
    grown = f"from {lengths[0]:,} to {lengths[-1]:,} characters"
    return Stop(pattern="escalate", reason=f"each message outgrew the one before, {grown}.")


def _stuck(spoken: Sequence[Said], messages: Sequence[Said]) -> Stop | None:
    if len(spoken) < STUCK_MESSAGES:
        return None
    for message in spoken[-STUCK_MESSAGES:]:
        before = [m.text for m in messages if m.number < message.number]
        if not (is_receipt(message.text) or _adds_nothing(message.text, before)):
            return None
    return Stop(pattern="stuck", reason=f"the last {STUCK_MESSAGES} messages added nothing new.")


def _adds_nothing(text: str, before: Sequence[str]) -> bool:
    mine = words(text)
    if len(mine) < BACKGROUND:
        return False
    known = frozenset[str]().union(*map(words, before))
    return len(mine - known) / len(mine) < NEW_WORDS
