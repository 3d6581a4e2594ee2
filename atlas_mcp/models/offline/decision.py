"""What becomes of an assignment whose worker failed: whoever fits it best of those left does it, else it goes without.

Nobody is asked: whether the goal needs it is beyond what can be measured.
"""

from __future__ import annotations

from atlas_mcp.model.work import Decision
from atlas_mcp.models.offline.prompt import Prompt
from atlas_mcp.models.offline.words import terms

MOST_TRIES = 2


def decide(prompt: Prompt) -> Decision:
    """Another worker, the one whose description has most words of the task; without it once two have failed."""
    left: dict[str, str] = {}
    for line in prompt.lines("workers"):
        name, _, about = line.partition(": ")
        left[name] = about
    failed = prompt.lines("context")
    if not left or len(failed) >= MOST_TRIES:
        why = "nobody else is left" if not left else f"{len(failed)} have failed at it"
        return Decision(action="without", reason=f"{why}; the result says what is missing.")
    task = set(terms(prompt.one("task")))
    best = max(left, key=lambda name: len(task & set(terms(f"{name.replace('_', ' ')} {left[name]}"))))
    return Decision(action="another", worker=best, reason=f"{best} has not tried, and fits the task best by its words.")
