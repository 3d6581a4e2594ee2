"""Drafts: the evidence of the reports put under headings, every sentence with its source behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atlas_mcp.model.orders import is_order
from atlas_mcp.model.work import Draft, DraftSection
from atlas_mcp.models.offline.choice import choose, overlap, rank, weights
from atlas_mcp.models.offline.goal import aspects, headline, shape_of, without_lead
from atlas_mcp.models.offline.measures import Grounds, Line, grounds, read_lines
from atlas_mcp.models.offline.passages import Passage
from atlas_mcp.models.offline.prompt import Prompt
from atlas_mcp.models.offline.words import asked_terms, surface, terms

MOST_IN_SECTION = 4
MOST_OPEN = 3
_PARAGRAPH = 3
_SAME = 0.7


@dataclass(frozen=True)
class Part:
    """A section while it is made."""

    heading: str
    lines: tuple[Passage, ...]


def write(prompt: Prompt) -> Draft:
    """The text from the reports: in short first, then a section for each question, then what stays open."""
    said = statements(prompt)
    goal = prompt.one("goal")
    parts = [p for p in _parts(aspects(goal), said) if p.lines]
    parts = _with_summary(parts)
    sections = [DraftSection(id=f"s{n}", heading=p.heading, text=text_of(p.lines)) for n, p in enumerate(parts, 1)]
    gaps = [g for g in grounds(prompt).gaps if not is_order(g)][:MOST_OPEN]
    if gaps or not sections:
        text = "\n\n".join(gaps) or "The reports give no evidence."
        sections.append(DraftSection(id=f"s{len(sections) + 1}", heading="What stays open", text=text))
    return Draft(title=_title(goal), sections=tuple(sections))


def statements(prompt: Prompt) -> list[Passage]:
    """What the reports' evidence says, each once, in the order of the reports; orders to the reader are left out."""
    found: list[Passage] = []
    for _, report in prompt.reports():
        for item in report.evidence:
            new = Passage(_ended(" ".join((item.claim or item.quote).split())), item.source, len(found))
            if new.bag and not is_order(new.text) and not is_said(new, found):
                found.append(new)
    return found


def is_said(new: Passage, before: Sequence[Passage]) -> bool:
    """Whether one of these says the same."""
    return any(overlap(new.bag, p.bag) >= _SAME for p in before)


def text_of(lines: Sequence[Passage]) -> str:
    """The sentences as paragraphs, each with its source behind it."""
    cited = [f"{p.text} [{p.source}]" if p.source else p.text for p in lines]
    return "\n\n".join(" ".join(cited[n : n + _PARAGRAPH]) for n in range(0, len(cited), _PARAGRAPH))


def source_of(line: Line, base: Grounds) -> str:
    """The source of a sentence: the one it names, else that of the passage it is most like."""
    if line.source in base.sources or base.is_gap(line.text):
        return line.source
    near = max(base.passages, key=lambda p: overlap(line.passage.bag, p.bag), default=None)
    return near.source if near and overlap(line.passage.bag, near.bag) > 0.4 else ""


def heading_for(lines: Sequence[Passage], asked: Sequence[str]) -> str:
    """A heading: the question that the sentences take up most, else their most frequent words."""
    bag = frozenset(t for p in lines for t in p.bag)
    best = max(asked, key=lambda a: len(bag & frozenset(terms(a))), default="")
    if best and bag & frozenset(terms(best)):
        return headline(best)
    counts = [t for p in lines for t in p.bag]
    common = sorted(set(counts), key=lambda t: (-counts.count(t), -len(t), t))[:2]
    written = surface(" ".join(p.text for p in lines))
    return headline("On " + " and ".join(written.get(t, t) for t in common)) if common else "Findings"


def used(now: Draft) -> list[Passage]:
    """What a draft already says."""
    return [line.passage for line in read_lines(now)]


def _parts(asked: list[str], said: list[Passage]) -> list[Part]:
    """Each statement under the question whose words it takes up most; what takes up none stands by itself."""
    if len(asked) == 1 and len(said) > MOST_IN_SECTION:
        return _clusters(asked[0], said)
    scores = [{p.order: s for s, p in rank(said, weights((asked_terms(a), 1.0)), shape=shape_of(a))} for a in asked]
    taken: list[list[Passage]] = [[] for _ in asked]
    rest: list[Passage] = []
    for passage in said:
        fits = [
            scores[n].get(passage.order, 0.0) if passage.bag & set(asked_terms(a)) else 0.0 for n, a in enumerate(asked)
        ]
        (taken[fits.index(max(fits))] if max(fits) > 0 else rest).append(passage)
    parts: list[Part] = []
    for aspect, passages in zip(asked, taken, strict=True):
        best = choose(passages, weights((asked_terms(aspect), 1.0)), MOST_IN_SECTION + 1, shape=shape_of(aspect))
        parts.append(Part(headline(aspect), tuple(sorted(best, key=lambda p: p.order))))
    if rest and len(said) - len(rest) < MOST_IN_SECTION * len(asked):
        kept = choose(rest, {}, MOST_IN_SECTION)
        parts.append(Part(heading_for(kept, ()), tuple(sorted(kept, key=lambda p: p.order))))
    return parts


def _clusters(asked: str, said: list[Passage]) -> list[Part]:
    """A single question's statements in two or three groups of like ones, named by their commonest words."""
    query = weights((asked_terms(asked), 1.0))
    best = choose(said, query, 3 * MOST_IN_SECTION)
    seeds = choose(best, query, 3 if len(best) > 6 else 2, variety=0.7)
    groups: list[list[Passage]] = [[] for _ in seeds]
    for passage in best:
        likeness = [overlap(passage.bag, seed.bag) for seed in seeds]
        fullest = [len(g) >= MOST_IN_SECTION for g in groups]
        order = sorted(range(len(seeds)), key=lambda n: (fullest[n], -likeness[n], len(groups[n])))
        groups[order[0]].append(passage)
    return [
        Part(heading_for(group, ()), tuple(sorted(group[:MOST_IN_SECTION], key=lambda p: p.order)))
        for group in groups
        if group
    ]


def _with_summary(parts: list[Part]) -> list[Part]:
    """The first statement of each full section, put before all of them."""
    full = [p for p in parts if len(p.lines) > 2]
    if len(full) < 2:
        return parts
    best = {p.heading: _nearest(p.lines, p.heading) for p in full}
    rest = [Part(p.heading, tuple(line for line in p.lines if line is not best.get(p.heading))) for p in parts]
    return [Part("In short", tuple(best.values())), *rest]


def _nearest(lines: Sequence[Passage], heading: str) -> Passage:
    """The sentence that answers the heading most directly: with most of its words, then the most relevant."""
    asked = frozenset(asked_terms(heading))
    ranked = rank(lines, weights((asked, 1.0)), shape=shape_of(heading))
    return max(ranked, key=lambda pair: (len(pair[1].bag & asked), pair[0]))[1]


def _title(goal: str) -> str:
    return headline(without_lead(goal), 120)


def _ended(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…", '"', "”", "'", "’", ")")) else f"{text.rstrip(',;:')}."
