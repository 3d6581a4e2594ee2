"""What can be measured of a draft: what is supported, what of the goal is answered, how it reads.

All measures are shares from 0 to 1, made from words alone. What a text says about itself ("rate this 5") changes none
of them for the better: a sentence that gives its reader orders counts as unsupported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from atlas_mcp.model.orders import is_order
from atlas_mcp.model.work import Draft, DraftSection
from atlas_mcp.models.offline.choice import overlap
from atlas_mcp.models.offline.goal import aspects
from atlas_mcp.models.offline.passages import Passage, passages
from atlas_mcp.models.offline.prompt import Prompt, read_json
from atlas_mcp.models.offline.words import asked_terms, negations, numbers, surface, terms

_CITATION = re.compile(r"\s*\[(?P<source>[^\[\]\n]{1,200})\](?!\()")
_SUPPORTED = 0.75
_REPEATED = 0.7
_UNMARKED = str.maketrans({"“": '"', "”": '"', "’": "'", "‘": "'", "—": "-", "–": "-"})


@dataclass(frozen=True)
class Line:
    """A sentence of the draft: its words without the source after it, that source, and where it stands."""

    text: str
    source: str
    section: str
    paragraph: int

    @cached_property
    def passage(self) -> Passage:
        """The sentence as a passage."""
        return Passage(self.text, self.source)

    @property
    def words(self) -> int:
        """How many words it has."""
        return len(self.text.split())


@dataclass(frozen=True)
class Grounds:
    """What the draft may say: passages of evidence, reports and materials, and the gaps that reports name."""

    passages: tuple[Passage, ...]
    gaps: tuple[str, ...] = ()
    checked: frozenset[str] = frozenset()

    @cached_property
    def _all(self) -> str:
        return "\n".join(_flat(p.text) for p in self.passages)

    @cached_property
    def sources(self) -> frozenset[str]:
        """The names of what may be cited."""
        return frozenset(p.source for p in self.passages if p.source)

    @cached_property
    def bag(self) -> frozenset[str]:
        """Every telling word there is."""
        return frozenset(t for p in self.passages for t in p.bag)

    def is_gap(self, text: str) -> bool:
        """Whether the sentence says that something is missing, as a report said it."""
        return any(_flat(text).rstrip(".") in _flat(gap) or _flat(gap).rstrip(".") in _flat(text) for gap in self.gaps)

    def support(self, text: str) -> bool:
        """Whether what the sentence says is said there: word for word, or nearly all its words in one passage.

        Its numbers must stand there too, and it must deny as often.
        """
        if is_order(text):
            return False
        flat = _flat(text.strip("… ")).rstrip(".;:, ")
        if text in self.checked or (len(flat) > 12 and flat in self._all) or self.is_gap(text):
            return True
        said = frozenset(terms(text))
        if not said:
            return True
        for passage in self.passages:
            share = len(said & passage.bag) / len(said)
            if share >= _SUPPORTED and numbers(text) <= numbers(passage.text):
                return (negations(text) > 0) == (negations(passage.text) > 0)
        return False


def read_lines(draft: Draft) -> list[Line]:
    """The draft's sentences, without marks of lists and without the sources after them, as in "So it is. [name]"."""
    return [line for section in draft.sections for line in _section_lines(section)]


def grounds(prompt: Prompt) -> Grounds:
    """All that a prompt gives to write and to rate from."""
    found = [*prompt.evidence(), *prompt.inlined(), *prompt.found()]
    for name, report in prompt.reports():
        found += [p for text, _ in _cited(report.text) for p in passages(text, name, most_words=400)]
        found += [Passage(e.claim, e.source) for e in report.evidence]
    gaps = tuple(dict.fromkeys(gap for _, report in prompt.reports() for gap in report.gaps))
    checked = frozenset(
        str(r.arguments.get("quote", ""))
        for r in prompt.results
        if r.name == "quote_material" and '"found": true' in r.text
    )
    return Grounds(tuple(found), gaps, checked)


def read_draft(prompt: Prompt) -> Draft | None:
    """The draft in the prompt, if there is one."""
    body = prompt.one("draft")
    return read_json(body, Draft) if body else None


@dataclass(frozen=True)
class Coverage:
    """How much of the goal a text answers: its words, its questions, how directly, how much is on the subject."""

    terms: float
    aspects: float
    direct: float
    topical: float
    missing: tuple[str, ...]
    open: tuple[str, ...]

    @property
    def share(self) -> float:
        """All of it in one figure."""
        return 0.35 * self.terms + 0.25 * self.aspects + 0.2 * self.direct + 0.2 * self.topical


def coverage(goal: str, lines: Sequence[Line], base: Grounds) -> Coverage:
    """What of the goal's words and questions the supported sentences take up.

    Words of the goal that stand in nothing at hand count half: no text can take them up with support.
    """
    asked = asked_terms(goal)
    written = surface(goal)
    saying = [line for line in lines if not base.is_gap(line.text) and base.support(line.text)]
    there = frozenset(t for line in saying for t in line.passage.bag)
    weight = {t: 1.0 if t in base.bag else 0.5 for t in asked}
    total = sum(weight.values())
    covered = sum(w for t, w in weight.items() if t in there) / total if total else 1.0
    parts = aspects(goal)
    answered = [a for a in parts if _answers(a, saying)]
    telling = [line for line in lines if not base.is_gap(line.text)]
    on_subject = [
        1.0 if not asked or line.passage.bag & frozenset(asked) else 0.5 if line in saying else 0.0 for line in telling
    ]
    return Coverage(
        covered,
        len(answered) / len(parts),
        sum(_directness(a, saying) for a in parts) / len(parts),
        sum(on_subject) / len(on_subject) if on_subject else 0.0,
        tuple(written.get(t, t) for t in asked if t not in there),
        tuple(a for a in parts if a not in answered),
    )


@dataclass(frozen=True)
class Form:
    """How a text reads: words a sentence, the longest sentence, repetitions, headings, the longest paragraph.

    The mean is that of the sentence a word stands in: short sentences beside an endless one do not mend it.
    """

    mean: float
    longest: Line | None
    repeated: tuple[tuple[Line, Line], ...]
    headed: float
    sections: int
    words: int
    crowded: int

    @property
    def share(self) -> float:
        """All of it in one figure: 1 for short sentences under headings that say nothing twice."""
        length = _falling(self.mean, 22, 60)
        longest = _falling(self.longest.words if self.longest else 0, 40, 100)
        structure = 1.0 if self.words < 80 else (0.4 + 0.6 * self.headed if self.sections > 1 else 0.2)
        repetition = max(0.0, 1 - 0.25 * len(self.repeated))
        paragraphs = _falling(self.crowded, 8, 16)
        return 0.25 * (length + longest) + 0.2 * (structure + repetition) + 0.1 * paragraphs


def form(draft: Draft, lines: Sequence[Line]) -> Form:
    """How the draft reads."""
    counts = [line.words for line in lines if not is_order(line.text)]
    places = [(line.section, line.paragraph) for line in lines]
    repeated = [
        (a, b)
        for n, a in enumerate(lines)
        for b in lines[n + 1 :]
        if overlap(a.passage.bag, b.passage.bag) >= _REPEATED and len(a.passage.bag) > 2
    ]
    return Form(
        mean=sum(n * n for n in counts) / sum(counts) if counts else 0.0,
        longest=max(lines, key=lambda line: line.words, default=None),
        repeated=tuple(repeated),
        headed=_share([bool(s.heading.strip()) for s in draft.sections]),
        sections=len(draft.sections),
        words=sum(counts),
        crowded=max((places.count(p) for p in set(places)), default=0),
    )


def _answers(aspect: str, lines: Iterable[Line]) -> bool:
    """Whether sentences take up at least half of the aspect's telling words."""
    asked = frozenset(asked_terms(aspect))
    there = frozenset(t for line in lines for t in line.passage.bag)
    return not asked or len(asked & there) >= len(asked) / 2


def _directness(aspect: str, lines: Iterable[Line]) -> float:
    """The largest share of the aspect's telling words in a single sentence; two thirds is as direct as can be asked."""
    asked = frozenset(asked_terms(aspect))
    if not asked:
        return 1.0
    best = max((len(asked & line.passage.bag) for line in lines), default=0)
    return min(1.0, best / max(1.0, len(asked) * 2 / 3))


def _section_lines(section: DraftSection) -> list[Line]:
    found: list[Line] = []
    for n, paragraph in enumerate(p for p in re.split(r"\n\s*\n", section.text) if p.strip()):
        for text, source in _cited(paragraph):
            said = [p.text for p in passages(text, most_words=10_000) if p.bag]
            cited = [source if m == len(said) else "" for m in range(1, len(said) + 1)]
            found += [Line(" ".join(t.split()), c, section.id, n) for t, c in zip(said, cited, strict=True)]
    return found


def _cited(text: str) -> list[tuple[str, str]]:
    """The text in stretches, each with the source that stands in brackets behind it."""
    pieces = _CITATION.split(text)
    sources = [*pieces[1::2], ""]
    return [(t.lstrip(" .;,"), s.strip()) for t, s in zip(pieces[::2], sources, strict=True) if t.strip(" .;,\n")]


def _flat(text: str) -> str:
    return " ".join(text.lower().translate(_UNMARKED).split())


def _falling(value: float, good: float, bad: float) -> float:
    """1 up to `good`, 0 from `bad` on, straight in between."""
    return min(1.0, max(0.0, (bad - value) / (bad - good)))


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else 0.0
