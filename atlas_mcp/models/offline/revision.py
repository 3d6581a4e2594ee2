"""Revisions: the sections that feedback names, mended for the reasons it gives; and light editing.

What nothing supports goes, what is missing comes from evidence not used yet, long sentences are divided where they may
be, nothing is said twice; what is not complained of stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atlas_mcp.model.lengths import Length, length_of
from atlas_mcp.model.work import Draft, DraftSection
from atlas_mcp.models.offline.choice import choose, rank, weights
from atlas_mcp.models.offline.criteria import Measure, measure_of
from atlas_mcp.models.offline.draft import heading_for, is_said, source_of, statements, text_of, used, write
from atlas_mcp.models.offline.goal import aspects
from atlas_mcp.models.offline.measures import Grounds, Line, grounds, read_lines
from atlas_mcp.models.offline.passages import MOST_WORDS, Passage, passages
from atlas_mcp.models.offline.prompt import Prompt
from atlas_mcp.models.offline.words import asked_terms, terms

MOST_ADDED = 2


@dataclass
class Stock:
    """What a revision works with; evidence that one section takes is gone for the others."""

    base: Grounds
    asked: list[str]
    goal: str
    evidence: list[Passage]
    said: list[Passage]
    wanted: list[str]
    length: Length | None = None
    share: int = 1

    def take(self, section: DraftSection, count: int) -> list[Passage]:
        """Evidence for the section that nothing says yet: first what the whole text lacks of goal and criteria."""
        there = {t for p in self.said for t in p.bag}
        lacking = [t for t in [*asked_terms(self.goal), *self.wanted] if t not in there]
        query = weights(
            (lacking, 1.0), (self.wanted, 0.8), (terms(section.heading), 0.7), (asked_terms(self.goal), 0.4)
        )
        left = [p for p in self.evidence if not is_said(p, self.said)]
        taken = choose(left, query, count, taken=self.said)
        self.said += taken
        return taken


def revise(prompt: Prompt, now: Draft) -> Draft:
    """The named sections, whole, with the same ids; a text of one section that lacks structure is divided."""
    faults = _faults(prompt, now)
    named = [s for s in now.sections if faults.get(s.id)] or list(now.sections)
    base, goal = grounds(prompt), prompt.one("goal")
    others = [t for c in prompt.lines("criteria") if measure_of(c) == "other" for t in asked_terms(c)]
    stock = Stock(base, aspects(goal), goal, statements(prompt), used(now), others, _length(prompt), len(now.sections))
    if len(now.sections) == 1 and faults.get(now.sections[0].id, set()) & {"form", "coverage"} and stock.evidence:
        return _divided(prompt, now)
    everything = set[Measure](("support", "form", "coverage", "other"))
    return Draft(
        title=now.title,
        sections=tuple(_mended(s, faults.get(s.id) or everything, stock, now) for s in named),
    )


def edit(now: Draft) -> Draft:
    """The sections that say again what was said before, or have no heading; the first as it is when there are none."""
    seen: list[Passage] = []
    changed: list[DraftSection] = []
    for section in now.sections:
        lines = [line for line in read_lines(now) if line.section == section.id]
        kept = [line for n, line in enumerate(lines) if not is_said(line.passage, [*seen, *_of(lines[:n])])]
        seen += _of(lines)
        heading = section.heading or heading_for(_of(kept), ())
        if kept and (len(kept) < len(lines) or heading != section.heading):
            text = text_of([Passage(line.text, line.source) for line in kept])
            changed.append(DraftSection(id=section.id, heading=heading, text=text))
    return Draft(title=now.title, sections=tuple(changed) or now.sections[:1])


def _mended(section: DraftSection, faults: set[Measure], stock: Stock, now: Draft) -> DraftSection:
    lines = [line for line in read_lines(now) if line.section == section.id]
    kept = [line for line in lines if not faults & {"support", "other"} or stock.base.support(line.text)]
    if faults & {"form", "other"}:
        kept = _unrepeated(kept, read_lines(now))
    text = [p for line in kept for p in _shortened(line, stock, divide="form" in faults or "length" in faults)]
    if faults & {"coverage", "other"} or not text:
        text += stock.take(section, MOST_ADDED if text else MOST_ADDED + 1)
    if "length" in faults and stock.length:
        text = _fitted(text, stock)
    if not text:
        return section if not lines else DraftSection(id=section.id, heading=section.heading, text=_open(stock))
    heading = section.heading.strip() or heading_for(text, stock.asked)
    return DraftSection(id=section.id, heading=heading, text=text_of(text))


def _shortened(line: Line, stock: Stock, *, divide: bool) -> list[Passage]:
    """The sentence with its source; a long one in pieces, if asked."""
    source = source_of(line, stock.base)
    pieces = passages(line.text, source) if divide and line.words > MOST_WORDS else []
    return [Passage(p.line, source) for p in pieces] or [Passage(line.text, source)]


def _unrepeated(kept: Sequence[Line], everything: Sequence[Line]) -> list[Line]:
    """Without what stands earlier in the text already."""
    result: list[Line] = []
    for line in kept:
        before = [o.passage for o in everything[: everything.index(line)]]
        if not is_said(line.passage, before):
            result.append(line)
    return result


def _fitted(text: list[Passage], stock: Stock) -> list[Passage]:
    """The section's share of the words allowed, or more evidence where there are too few."""
    if stock.length is None or stock.length.most is None:
        return text + stock.take(DraftSection(id="more", text=stock.goal), MOST_ADDED)
    left, result = stock.length.most // stock.share, list[Passage]()
    for _, passage in rank(text, weights((asked_terms(stock.goal), 1.0), (stock.wanted, 1.0))):
        left -= len(passage.text.split())
        if left >= 0 or not result:
            result.append(passage)
    return [p for p in text if p in result]


def _divided(prompt: Prompt, now: Draft) -> Draft:
    """A new text from the evidence, its first section under the old one's id."""
    new = write(prompt)
    first, rest = new.sections[0], new.sections[1:]
    old = now.sections[0].id
    renamed = [s.model_copy(update={"id": f"{old}-{n}"}) for n, s in enumerate(rest, 2)]
    return Draft(title=now.title or new.title, sections=(first.model_copy(update={"id": old}), *renamed))


def _faults(prompt: Prompt, now: Draft) -> dict[str, set[Measure]]:
    """What is to be mended, by section: the measures that the criteria named there are about."""
    criteria = prompt.lines("criteria")
    ids = sorted((s.id for s in now.sections), key=len, reverse=True)
    found: dict[str, set[Measure]] = {}
    for line in prompt.lines("feedback"):
        section = next((i for i in ids if line.startswith(f"{i}:")), None)
        rest = line[len(section) + 1 :].strip() if section else line
        criterion = next((c for c in criteria if rest.casefold().startswith(c.casefold())), rest)
        for name in [section] if section else ids:
            found.setdefault(name, set()).add(measure_of(criterion))
    return found


def _length(prompt: Prompt) -> Length | None:
    return next((found for c in prompt.lines("criteria") if (found := length_of(c))), None)


def _open(stock: Stock) -> str:
    return next(iter(stock.base.gaps), "No evidence was found for this section.")


def _of(lines: Sequence[Line]) -> list[Passage]:
    return [line.passage for line in lines]
