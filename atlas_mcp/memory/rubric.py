"""Whether something is worth remembering: checks that refuse, then scores from 1 to 5. Arithmetic, no model asked.

A learning is specific, durable, actionable, evidenced and new; each is scored by what can be measured, and the mean
must reach 4.0, with nothing below 2. Refused whatever its score: what has no evidence that is there, what is remembered
already or was recalled into this run, what repeats the goal, what gives its reader orders out of a source, and what is
too short to say anything. The agent's own confidence only lowers how much its evidence counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from atlas_mcp.memory.likeness import SAME, Words, repeated, says_the_same
from atlas_mcp.model.orders import is_order
from atlas_mcp.model.result import PASS_MARK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.model.learning import LearningKind, Proposal

SHORTEST = 40
LEAST = 2.0
REMEMBERED = "it is remembered already"
_PASSING = re.compile(
    r"\b(?:today|tomorrow|yesterday|currently|right now|just now|at the moment|so far|in progress|pending|this (?:run|"
    r"task|time|week|morning|month)|(?:was|were|has been|have been|is|are) (?:completed|finished|done|running|started)|"
    r"round \d+|turn \d+|run_[a-z0-9]+)\b",
    re.IGNORECASE,
)
_ACTION = re.compile(
    r"(?:^|[:;,.]\s+|\b(?:then|to|and|first|should|must|let)\s+)(?:use|give|let|ask|check|quote|search|read|compare|avoid|"
    r"prefer|split|start|begin|begins|put|name|list|write|cite|verify|leave|keep|set|add|look|find|make|hand|take|state|"
    r"convert|count|include|revise|assign|delegate)\b",
    re.IGNORECASE,
)
_CONDITION = re.compile(
    r"\b(?:when|whenever|if|before|after|first|for|instead of|rather than|unless|where|once)\b", re.IGNORECASE
)
_STATES = re.compile(
    r"\b(?:is|are|was|were|has|have|had|means|needs|costs|contains|allows|requires|forbids|grants|prefers|lacks|says|"
    r"shows|gives|takes|can|may|must|cannot|[a-z]{3,}(?:ed|es|s))\b"
)
_OUTCOME = re.compile(
    r"\b(?:pass\w*|rated|rating|score\w*|found|deliver\w*|fail\w*|reach\w*|quot\w*|evidence|accept\w*|better|best|"
    r"improv\w*|works?|worked|help\w*|gave|gives|raised)\b",
    re.IGNORECASE,
)
_TELLING = re.compile(
    r"\d+(?:[.,]\d+)*%?|[“\"][^”\"]{3,}[”\"]|\b\w+[_./@]\w+\b|(?<![.!?:]\s)(?<!^)\b[A-Z][\w-]+", re.MULTILINE
)


@dataclass(frozen=True)
class Proof:
    """What was found of a proposal's evidence: `worth` is how much it counts, 1 to 5, `why_not` why it counts nothing.

    `from_run` says that it is an event of the run, and not the words of a source.
    """

    worth: float = 1.0
    from_run: bool = False
    why_not: str = ""


def refusal(given: Proposal, proof: Proof, goal: str, known: Sequence[str], recalled: Sequence[str]) -> str:
    """Why it is not remembered, whatever its score; empty if nothing speaks against it."""
    text = Words(given.text)
    if len(given.text.strip()) < SHORTEST:
        return f"it is shorter than {SHORTEST} characters"
    if proof.why_not:
        return proof.why_not
    if given.kind != "fact" and not proof.from_run:
        return "how to work is learned from what was done in the run, not from a source"
    if is_order(given.text) or is_order(given.quote):
        return "it gives its reader orders"
    if any(says_the_same(text, Words(other)) for other in recalled):
        return "it was recalled into this run"
    if any(says_the_same(text, Words(other)) for other in known):
        return REMEMBERED
    return "it only says the goal again" if says_the_same(text, Words(goal)) else ""


def scores(given: Proposal, proof: Proof, known: Sequence[str]) -> dict[str, float]:
    """What each quality is judged at, 1 to 5."""
    text = Words(given.text)
    nearest = max((repeated(text, Words(other)) for other in known), default=0.0)
    judged = {
        "specific": 1 + 0.5 * len([w for w in text.telling if len(w) >= 5]) + len(_TELLING.findall(given.text)),
        "durable": 5.0 - 2 * len(_PASSING.findall(given.text)),
        "actionable": _actionable(given.kind, given),
        "evidenced": 1 + (proof.worth - 1) * given.confidence,
        "new": 5 - 4 * min(1.0, nearest / SAME) if nearest > SAME / 4 else 5.0,
    }
    return {name: round(min(5.0, max(1.0, score)), 2) for name, score in judged.items()}


def total(judged: dict[str, float]) -> float:
    """The mean, to two places."""
    return round(fmean(judged.values()), 2)


def shortfall(judged: dict[str, float]) -> str:
    """Why these scores do not suffice; empty if they do."""
    low = [f"{name} {score:g}" for name, score in judged.items() if score < LEAST]
    if low:
        return f"judged too low: {', '.join(low)}"
    if total(judged) < PASS_MARK:
        return f"judged {total(judged):.2f}, below {PASS_MARK:.1f}: " + ", ".join(
            f"{name} {score:g}" for name, score in judged.items() if score < PASS_MARK
        )
    return ""


def _actionable(kind: LearningKind, given: Proposal) -> float:
    """Whether somebody could act on it: a fact states something of its subject, a way of working says when and what to
    do, what worked says for whom and with which outcome."""
    subject = bool(given.about.strip())
    match kind:
        case "fact":
            named = bool(Words(given.about).telling & Words(given.text).telling)
            return 1 + 2 * bool(_STATES.search(given.text)) + subject + named
        case "procedure":
            return 1 + 2 * bool(_ACTION.search(given.text)) + 2 * bool(_CONDITION.search(given.text))
        case "what_worked":
            whom = given.audience.strip().lower() not in {"", "all"} or bool(re.search(r"\w_\w", given.text))
            return 1 + 2 * whom + 2 * bool(_OUTCOME.search(given.text))
