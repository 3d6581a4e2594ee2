"""What the offline librarian proposes to remember of a run, by rules that can be checked.

Facts are quotations that bear most on the goal and can be understood by themselves. What worked is who found most
quotations for such questions, once the text has passed its rating. Nothing else is proposed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from atlas_mcp.model.learning import Proposal, Proposals
from atlas_mcp.model.orders import is_order
from atlas_mcp.models.offline.choice import choose, leans, weights
from atlas_mcp.models.offline.passages import Passage
from atlas_mcp.models.offline.prompt import Prompt
from atlas_mcp.models.offline.words import asked_terms, surface

MOST_FACTS = 3
_SHORTEST, _LONGEST = 60, 400
_EVENT = re.compile(r"^event (?P<seq>\d+): (?P<actor>[^:]+): (?P<text>.*)$")
_FOUND = re.compile(r"^(?P<who>\S+) found (?P<number>\d+) quotations?\b")
_PASSED = re.compile(r"^rating round (?P<round>\d+): (?P<mean>\d\.\d), every criterion reached")


def proposals(prompt: Prompt) -> Proposals:
    """What deserves to be remembered."""
    return Proposals(learnings=(*_facts(prompt), *_what_worked(prompt)))


def _facts(prompt: Prompt) -> list[Proposal]:
    goal = prompt.one("goal")
    quoted = [
        Passage(_quote(s.body), s.attributes.get("from", ""), order=n) for n, s in enumerate(prompt.every("report"))
    ]
    fit = [p for p in quoted if _SHORTEST <= len(p.text) <= _LONGEST and not is_order(p.text) and not leans(p.text)]
    chosen = choose(fit, weights((asked_terms(goal), 1.0)), MOST_FACTS, must=asked_terms(goal))
    return [
        Proposal(
            kind="fact",
            text=f"{p.source}: “{p.line}”",
            about=_subject(p, goal),
            source=p.source,
            quote=p.text,
            confidence=0.9,
        )
        for p in chosen
    ]


def _what_worked(prompt: Prompt) -> list[Proposal]:
    """Who found most, if the text passed."""
    events = [m for line in prompt.one("journal").splitlines() if (m := _EVENT.match(line))]
    passed = next((p for m in events if (p := _PASSED.match(m["text"]))), None)
    found = [(int(f["number"]), m["seq"], f) for m in events if (f := _FOUND.match(m["text"]))]
    if not passed or not found:
        return []
    number, seq, best = max(found, key=lambda one: one[0])
    if not number:
        return []
    written = surface(prompt.one("goal"))
    words = ", ".join(written.get(t, t) for t in asked_terms(prompt.one("goal"))[:5])
    return [
        Proposal(
            kind="what_worked",
            text=f"For questions on {words}: {best['who']} found most quotations ({number}), and the text was rated "
            f"{passed['mean']} of 5.",
            about=words,
            audience="global_supervisor",
            source=f"event {seq}",
            quote=best.group(),
            confidence=0.8,
        )
    ]


def _quote(body: str) -> str:
    """The quoted words in a report's lines: after the claim, in quotation marks."""
    _, _, quote = body.partition("\n")
    return quote.strip().removeprefix("“").removesuffix("”")


def _subject(passage: Passage, goal: str) -> str:
    """The words that the quotation has in common with the goal, as it writes them; else its own first ones."""
    written, asked = surface(passage.text), asked_terms(goal)
    common = [t for t in asked if t in passage.bag] or list(passage.terms)
    return _listed([written.get(t, t) for t in common[:4]])


def _listed(words: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(words))
