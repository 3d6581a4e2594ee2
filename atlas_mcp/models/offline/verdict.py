"""Verdicts: a score for every criterion, from what was measured, with the figures and the words it refers to.

The scale is fixed: nine in ten sentences supported is 4.0 for support; for the goal's coverage and for form 4.0 is
three quarters of what can be had. A rater counts half as much again of what is missing where it watches most, so raters
differ a little, always in the same way. Nothing that the text says about itself is heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atlas_mcp.model.lengths import length_of
from atlas_mcp.model.orders import is_order
from atlas_mcp.model.result import PASS_MARK
from atlas_mcp.model.work import Draft, DraftSection, Score, Verdict
from atlas_mcp.models.offline import measures
from atlas_mcp.models.offline.criteria import Measure, focus_of, measure_of
from atlas_mcp.models.offline.measures import Coverage, Form, Grounds, Line
from atlas_mcp.models.offline.prompt import Prompt
from atlas_mcp.models.offline.words import asked_terms, terms

_STRICTER = 1.5
_MOST_SECTIONS = 4
_LONG_LINE = 55
_QUOTED = 14


@dataclass(frozen=True)
class Reading:
    """A draft as it was measured."""

    goal: str
    draft: Draft
    lines: tuple[Line, ...]
    base: Grounds
    unsupported: tuple[Line, ...]
    coverage: Coverage
    form: Form


@dataclass(frozen=True)
class Judgement:
    """A score before it is written down: `faults` are reasons by the section they concern."""

    score: float
    reason: str
    faults: tuple[tuple[str, str], ...] = ()


def verdict(prompt: Prompt) -> Verdict:
    """The rating of the draft by every criterion."""
    draft = measures.read_draft(prompt)
    criteria = prompt.lines("criteria") or ["answers the goal"]
    if draft is None:
        reason = "There is no draft that can be read."
        return Verdict(scores=tuple(Score(criterion=c, score=1, reason=reason) for c in criteria))
    reading = read(prompt, draft)
    focus = focus_of(prompt.persona)
    return Verdict(scores=tuple(score for c in criteria for score in _scores(c, reading, focus)))


def read(prompt: Prompt, draft: Draft) -> Reading:
    """The draft, measured against what the prompt gives."""
    lines, base, goal = measures.read_lines(draft), measures.grounds(prompt), prompt.one("goal")
    return Reading(
        goal=goal,
        draft=draft,
        lines=tuple(lines),
        base=base,
        unsupported=tuple(line for line in lines if not base.support(line.text)),
        coverage=measures.coverage(goal, lines, base),
        form=measures.form(draft, lines),
    )


def _scores(criterion: str, reading: Reading, focus: Measure | None) -> list[Score]:
    measure = measure_of(criterion)
    judged = _JUDGES[measure](criterion, reading)
    weight = _STRICTER if measure == focus else 1.0
    judged = _less_for_orders(judged, reading)
    score = round(min(5.0, max(1.0, 5 - (5 - judged.score) * weight)), 1)
    if score >= PASS_MARK or not judged.faults:
        quote = _meant(reading, measure)
        return [Score(criterion=criterion, score=score, reason=judged.reason, quote=quote)]
    return [
        Score(criterion=criterion, score=score, reason=reason, quote=_meant(reading, measure, section), section=section)
        for section, reason in judged.faults[:_MOST_SECTIONS]
    ]


def _meant(reading: Reading, measure: Measure, section: str = "") -> str:
    """The words that a score refers to: what nothing supports, the longest sentence, what is nearest to the goal."""
    lines = [line for line in reading.lines if section in ("", line.section)]
    if not lines:
        texts = [s.text for s in reading.draft.sections if section in ("", s.id)]
        return " ".join((texts or [reading.draft.sections[0].text])[0].split()[:_QUOTED])
    asked = frozenset(asked_terms(reading.goal))
    match measure:
        case "support":
            line = next((line for line in lines if line in reading.unsupported), lines[0])
        case "form" | "length":
            line = max(lines, key=lambda line: line.words)
        case _:
            line = max(lines, key=lambda line: len(line.passage.bag & asked))
    return " ".join(line.text.split()[:_QUOTED])


def _less_for_orders(judged: Judgement, reading: Reading) -> Judgement:
    """Half a point less by every criterion where the text tells its raters what to do."""
    orders = [line for line in reading.lines if is_order(line.text)]
    if not orders:
        return judged
    text = f" It gives its reader orders, which are not followed: {_quoted(orders[0])}. Take them out."
    faults = judged.faults or ((orders[0].section, judged.reason),)
    return Judgement(judged.score - 0.5, judged.reason + text, tuple((s, reason + text) for s, reason in faults))


def _support(_: str, reading: Reading) -> Judgement:
    count, bad = len(reading.lines), reading.unsupported
    if not count:
        return Judgement(1, "There is no sentence that claims anything.")
    if not reading.base.passages:
        return Judgement(3, f"Nothing is at hand to compare it with, such as {_quoted(reading.lines[0])}.")
    if all(reading.base.is_gap(line.text) for line in reading.lines):
        return Judgement(3, f"The text claims nothing; it only says what is missing: {_quoted(reading.lines[0])}.")
    share = 1 - len(bad) / count
    known = [line for line in reading.lines if line.source.casefold() in {s.casefold() for s in reading.base.sources}]
    score = 5 - 10 * (1 - share) - (0.5 if len(known) < count / 2 and reading.base.sources else 0)
    text = f"{count - len(bad)} of {count} sentences are found in the evidence or the materials"
    if not bad:
        return Judgement(score, f"{text}, {len(known)} with their source; for example {_quoted(reading.lines[0])}.")
    faults = tuple(
        (section, f"{text}; not found: {_listed(lines)}. Take out what nothing supports, or give its source.")
        for section, lines in _by_section(bad)
    )
    return Judgement(score, f"{text}; not found: {_listed(bad)}.", faults)


def _coverage(_: str, reading: Reading) -> Judgement:
    found = reading.coverage
    asked = asked_terms(reading.goal)
    score = 1 + 4 * found.share
    if reading.base.passages and len(reading.lines) - len(reading.unsupported) < 2:
        score = min(score, 2.5)
    text = f"{len(asked) - len(found.missing)} of {len(asked)} telling words of the goal are taken up"
    if not asked:
        text = "The goal asks for the whole, in no words of its own"
    if found.missing:
        text += f" (not: {', '.join(found.missing)})"
    text += f"; {round(100 * found.topical)} % of the sentences are on the subject"
    if found.open:
        text += f"; no answer to: {'; '.join(found.open)}"
    elif reading.lines:
        text += f"; the nearest to the goal is {_quoted(_nearest(reading))}"
    wanted = " ".join([*found.open, *found.missing]) or reading.goal
    return Judgement(score, f"{text}.", ((_best_section(reading, wanted), f"{text}. Add evidence on that."),))


def _form(_: str, reading: Reading) -> Judgement:
    seen = reading.form
    score = 1 + 4 * seen.share if reading.lines else 1.0
    text = f"{seen.mean:.0f} words a sentence on average, weighed by their length"
    if seen.longest:
        text += f", the longest {seen.longest.words}: {_quoted(seen.longest)}"
    text += f"; {seen.sections} section{'s' if seen.sections != 1 else ''}, {round(100 * seen.headed)} % with a heading"
    text += f"; {len(seen.repeated)} repetition{'s' if len(seen.repeated) != 1 else ''}"
    faults: dict[str, list[str]] = {}
    for _first, again in seen.repeated:
        faults.setdefault(again.section, []).append(f"says again {_quoted(again)}")
    for line in reading.lines:
        if line.words > _LONG_LINE:
            faults.setdefault(line.section, []).append(f"a sentence of {line.words} words: {_quoted(line)}")
    for section in reading.draft.sections:
        if not section.heading.strip():
            faults.setdefault(section.id, []).append("it has no heading")
    whole = ((reading.draft.sections[0].id, f"{text}. Divide it under headings, in shorter sentences."),)
    named = tuple((s, f"{text}. Here: {'; '.join(reasons[:3])}.") for s, reasons in faults.items())
    return Judgement(score, f"{text}.", named or whole)


def _length(criterion: str, reading: Reading) -> Judgement:
    allowed, count = length_of(criterion), reading.form.words
    if not allowed:
        return _other(criterion, reading)
    text = f"It has {count} words"
    if allowed.most is not None and count > allowed.most:
        over = (count - allowed.most) / max(1, allowed.most)
        faults = tuple((s.id, f"{text}, {count - allowed.most} too many. Shorten it.") for s in reading.draft.sections)
        return Judgement(3.5 - 5 * over, f"{text}, {count - allowed.most} too many.", faults)
    if count < allowed.least:
        under = (allowed.least - count) / allowed.least
        section = reading.draft.sections[-1].id
        return Judgement(
            3.5 - 5 * under, f"{text}, {allowed.least - count} too few.", ((section, f"{text}: add evidence."),)
        )
    return Judgement(5, f"{text}, as many as it may have.")


def _other(criterion: str, reading: Reading) -> Judgement:
    """A criterion in words of its own: how far the text takes them up, and half of it how good it is besides."""
    asked = asked_terms(criterion)
    there = frozenset(t for line in reading.lines for t in line.passage.bag)
    taken = sum(t in there for t in asked) / len(asked) if asked else None
    support = 1 - len(reading.unsupported) / len(reading.lines) if reading.lines else 0.0
    rest = (support + reading.coverage.share + reading.form.share) / 3
    share = rest if taken is None else (taken + rest) / 2
    text = f"support {support:.2f}, coverage of the goal {reading.coverage.share:.2f}, form {reading.form.share:.2f}"
    if asked:
        text = f"{sum(t in there for t in asked)} of {len(asked)} words of this criterion occur in the text; {text}"
    if reading.lines:
        text += f"; it begins {_quoted(reading.lines[0])}"
    section = _best_section(reading, criterion)
    return Judgement(1 + 4 * share, f"{text}.", ((section, f"{text}. Say more on {criterion!r}."),))


_JUDGES = {"support": _support, "coverage": _coverage, "form": _form, "length": _length, "other": _other}


def _nearest(reading: Reading) -> Line:
    asked = frozenset(asked_terms(reading.goal))
    return max(reading.lines, key=lambda line: len(line.passage.bag & asked))


def _best_section(reading: Reading, wanted: str) -> str:
    """The section that has most to do with what is wanted; the last of equals, and never one that only names gaps."""
    asked = frozenset(terms(wanted))
    claiming = {line.section for line in reading.lines if not reading.base.is_gap(line.text)}

    def fit(numbered: tuple[int, DraftSection]) -> tuple[bool, int, int]:
        n, section = numbered
        return section.id in claiming, len(asked & frozenset(terms(f"{section.heading} {section.text}"))), n

    return max(enumerate(reading.draft.sections), key=fit)[1].id


def _by_section(lines: Sequence[Line]) -> list[tuple[str, list[Line]]]:
    return [(s, [line for line in lines if line.section == s]) for s in dict.fromkeys(line.section for line in lines)]


def _listed(lines: Sequence[Line], most: int = 3) -> str:
    return ", ".join(_quoted(line) for line in lines[:most]) + (f" and {len(lines) - most} more" * (len(lines) > most))


def _quoted(line: Line, most: int = 14) -> str:
    words = line.text.replace("“", '"').replace("”", '"').split()
    return f"“{' '.join(words[:most])}{' …' if len(words) > most else ''}”"
