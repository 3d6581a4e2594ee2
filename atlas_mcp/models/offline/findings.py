"""Findings: what a worker selects from materials and reports, and what a supervisor keeps of several.

Evidence is quoted word for word. What the goal asks and no passage mentions is a gap. A passage that gives its reader
instructions is left out, and that is said.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from atlas_mcp.model.orders import is_order
from atlas_mcp.model.result import Evidence
from atlas_mcp.model.work import Findings
from atlas_mcp.models.offline.angle import angle_of_task
from atlas_mcp.models.offline.choice import choose, in_order, overlap, weights
from atlas_mcp.models.offline.goal import aspects, headline, shape_of
from atlas_mcp.models.offline.passages import Passage, distinct
from atlas_mcp.models.offline.prompt import Prompt
from atlas_mcp.models.offline.words import asked_terms, surface

MOST_QUOTES = 5
FEW = 3
MOST_MERGED = 18
MOST_GAPS = 6
_REPEATED = 0.8
_ABOUT_ORIGIN = re.compile(r"\b(?:who|when|author|title|date[ds]?|published|written|wrote)\b", re.IGNORECASE)


def question(prompt: Prompt) -> str:
    """What the worker is asked, without the phrase that opens its task."""
    task = prompt.one("task") or prompt.one("goal")
    opening = angle_of_task(task).does
    return task.removeprefix(opening).lstrip(": ").split(". A good answer")[0] if task.startswith(opening) else task


def selection(prompt: Prompt) -> list[Passage]:
    """The passages that answer the worker's task, the best first.

    Who checks starts from the best one and looks for what bears it out; who has reports looks for what they lack.
    """
    asked, angle = question(prompt), angle_of_task(prompt.one("task"))
    found = [p for p in _at_hand(prompt) if not p.front or _ABOUT_ORIGIN.search(asked)]
    must = {*asked_terms(asked), *asked_terms(prompt.one("goal"))}
    query = weights((asked_terms(asked), 1.0), (must, 0.3), (angle.cues, 0.5))
    shape, known = shape_of(asked), prompt.evidence()
    if angle.name == "checking":
        seed = choose(found, query, 1, shape=shape, must=must)
        query, shape = weights((asked_terms(asked), 0.3), *((p.terms, 1.0) for p in seed)), None
    new = [p for p in found if not known or all(overlap(p.bag, k.bag) < _REPEATED for k in known)]
    anyway = bool(prompt.every("material"))
    chosen = choose(new, query, MOST_QUOTES, angle=angle.cues, shape=shape, must=must, anyway=anyway)
    if len(chosen) < FEW:
        chosen += choose(known, query, FEW - len(chosen), shape=shape, must=must, taken=chosen)
    return chosen


def worker(prompt: Prompt) -> Findings:
    """A worker's findings."""
    chosen = in_order(selection(prompt))
    gaps = [*_unmentioned(prompt, _at_hand(prompt)), *_commands(_at_hand(prompt)), *_failures(prompt)]
    if not chosen:
        return Findings(text=_nothing(prompt), gaps=tuple(dict.fromkeys([*gaps, *_unanswered(prompt)]))[:MOST_GAPS])
    head = f"{headline(question(prompt), 160)}: {len(chosen)} passage{'s' if len(chosen) > 1 else ''}."
    lines = [f"- {p.line} [{p.source}]" for p in chosen]
    return Findings(
        text="\n".join([head, *lines]),
        evidence=tuple(Evidence(claim=p.line, source=p.source, quote=p.text) for p in chosen),
        gaps=tuple(dict.fromkeys(gaps))[:MOST_GAPS],
    )


def merged(prompt: Prompt) -> Findings:
    """One report of several: each claim once, the evidence unchanged, the gaps that are still open."""
    reports = prompt.reports()
    kept: list[Evidence] = []
    for item in _by_turns([list(report.evidence) for _, report in reports]):
        if not is_order(item.claim) and not any(_same(item, other) for other in kept):
            kept.append(item)
    kept = kept[:MOST_MERGED]
    said = frozenset(asked_terms(" ".join(f"{e.claim} {e.quote}" for e in kept)))
    gaps = list(dict.fromkeys(g for _, report in reports for g in report.gaps if not _closed(g, said)))
    absent = [line for line in prompt.lines("context") if line != "Not delivered:"]
    if not kept:
        text = next((r.text for _, r in reports), "") or "No report was delivered."
        return Findings(text=text, gaps=tuple([*gaps, *(f"not delivered: {a}" for a in absent)][:MOST_GAPS]))
    head = f"{len(kept)} passages from {len(reports)} report{'s' if len(reports) > 1 else ''}, each once."
    return Findings(
        text="\n".join([head, *(f"- {e.claim} [{e.source}]" for e in kept)]),
        evidence=tuple(kept),
        gaps=tuple([*gaps, *(f"not delivered: {a}" for a in absent)][:MOST_GAPS]),
    )


def _at_hand(prompt: Prompt) -> list[Passage]:
    """Everything that may be quoted: the materials in the prompt or found by search, and the reports' evidence."""
    return distinct([*prompt.inlined(), *prompt.found(), *prompt.evidence()])


def _by_turns(lists: Sequence[list[Evidence]]) -> list[Evidence]:
    """The first of each list, then the second of each, so that what is cut off is nobody's alone."""
    longest = max((len(items) for items in lists), default=0)
    return [items[n] for n in range(longest) for items in lists if n < len(items)]


def _same(first: Evidence, second: Evidence) -> bool:
    if first.source != second.source:
        return False
    one, other = Passage(first.quote or first.claim), Passage(second.quote or second.claim)
    return one.text in other.text or other.text in one.text or overlap(one.bag, other.bag) >= _REPEATED


def _unmentioned(prompt: Prompt, found: Sequence[Passage]) -> list[str]:
    """The words of the question that no passage has, as far as the whole materials or a search were at hand."""
    if not found:
        return []
    there = frozenset(t for p in found for t in p.bag)
    asked = question(prompt)
    written = surface(asked)
    absent = [written.get(t, t) for t in asked_terms(asked) if t not in there]
    return [f"No passage at hand mentions {', '.join(repr(w) for w in absent)}."] if absent else []


def _commands(found: Sequence[Passage]) -> list[str]:
    sources = dict.fromkeys(p.source for p in found if is_order(p.text))
    return [f"A passage of {s!r} gives its reader instructions; it was left out, not followed." for s in sources]


def _failures(prompt: Prompt) -> list[str]:
    return list(dict.fromkeys(f"The tool {r.name} failed: {r.text[:120]}" for r in prompt.results if r.failed))


def _nothing(prompt: Prompt) -> str:
    if not prompt.materials() and not prompt.reports():
        return "There are no materials and no reports to answer from."
    return f"Nothing at hand bears on: {question(prompt).rstrip('.')}."


def _unanswered(prompt: Prompt) -> list[str]:
    return [f"Not answered: {a}." for a in aspects(question(prompt))]


def _closed(gap: str, said: frozenset[str]) -> bool:
    """Whether a gap about missing words was filled by another report."""
    if not gap.startswith("No passage at hand mentions "):
        return False
    return frozenset(asked_terms(gap.removeprefix("No passage at hand mentions "))) <= said
