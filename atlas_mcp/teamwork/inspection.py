"""What can be checked of a text before any agent rates it: sources, quotations, numbers, length, orders, criteria.

Deterministic and cheap, no model asked. What a text cites, quotes and counts must stand in the materials, the reports,
or what agents of the run were given from outside and the text names; where there is nothing of that, it cannot be
checked and is not. A check that failed goes to the raters and into the feedback of a revision, and a text with one does
not pass, whatever its raters say: except by `criteria`, which goes by words alone and only points out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import anyio.to_thread
from pydantic import TypeAdapter

from atlas_mcp.model.lengths import length_of
from atlas_mcp.model.orders import about_orders, pleas
from atlas_mcp.model.result import Check
from atlas_mcp.model.wording import QUOTED, unquoted
from atlas_mcp.model.work import Draft, Findings
from atlas_mcp.reach.sources import plain
from atlas_mcp.runs.changes import Kept
from atlas_mcp.teamwork.checks import flat, shorten, stands
from atlas_mcp.teamwork.numbers import numbers, said_numbers

if TYPE_CHECKING:
    from atlas_mcp.model.task import TeamTask
    from atlas_mcp.reach.sources import Source
    from atlas_mcp.teamwork.job import Job

QUOTED_WORDS = 4
"""Fewer words in quotation marks are a name or a manner of speaking, and are not looked up."""
MOST_SHOWN = 3
LONG = 200_000
"""Characters of grounds from which they are gone through in a thread."""
POINTS_OUT = frozenset({"criteria"})
"""Checks that do not fail a text by themselves."""

_CHECKS = TypeAdapter(list[Check])
_BRACKETS = re.compile(r"\[([^\[\]\n]{2,200})\](?!\()")
_URL = re.compile(r"https?://[^\s)\]>\"”]+")
_SOURCE_LIKE = re.compile(r"\.[A-Za-z]{2,5}$|^https?://|^source\b|\b(?:1[5-9]|20)\d\d[a-z]?$", re.IGNORECASE)
_NAMES = re.compile(r"^(?:mentions?|names?|includes?|covers?|contains?|addresse?s?|discusse?s?) ", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]{4,}")


@dataclass(frozen=True)
class Grounds:
    """What a text may rely on. `sources` are the names that may be cited."""

    texts: tuple[str, ...]
    sources: frozenset[str]
    goal: str = ""

    @cached_property
    def flat(self) -> str:
        """All of it in one line, without differences of case and of marks."""
        return "\n".join(map(flat, self.texts))

    @cached_property
    def numbers(self) -> frozenset[str]:
        """Every number there is, in figures or in words; those of the goal may be used too."""
        return frozenset(n for text in (*self.texts, self.goal) for n in said_numbers(text))


def grounds(task: TeamTask, reports: Mapping[str, str], given: Sequence[Source] = ()) -> Grounds:
    """The materials, the reports (Findings as JSON) and what was given from outside, by the names they have."""
    known = [*task.materials, *given]
    texts, names = [one.text for one in known], [one.name for one in known]
    for name, report in reports.items():
        found = Findings.model_validate_json(report)
        texts += [found.text, *found.gaps, *(f"{e.claim}\n{e.quote}" for e in found.evidence)]
        names += [name, *(e.source for e in found.evidence)]
    return Grounds(tuple(texts), frozenset({*map(flat, names), *map(plain, names)}), task.goal)


async def inspect(
    task: TeamTask, draft: Draft, reports: Mapping[str, str], given: Sequence[Source] = ()
) -> list[Check]:
    """Every check that can be made of the text: one line for each that holds, and one for each fault."""
    base = grounds(task, reports, given)
    if sum(map(len, base.texts)) > LONG:
        return await anyio.to_thread.run_sync(_inspect, task, draft, base)
    return _inspect(task, draft, base)


async def inspect_in(job: Job, draft: Draft, reports: Mapping[str, str]) -> list[Check]:
    """The same in a run, whose texts from outside count too; they are looked for only where something is not found."""
    found = await inspect(job.task, draft, reports)
    if failed(found) and (given := await _named_in(draft, job)):
        return await inspect(job.task, draft, reports, given)
    return found


async def _named_in(draft: Draft, job: Job) -> list[Source]:
    """What agents of this run were given from outside and the text names."""
    text = flat(draft.text())
    names = [one.name for one in await job.agents.sources.listed(job.run.run_id)]
    named = [name for name in names if flat(name) in text or flat(plain(name)) in text]
    return await job.agents.sources.named(job.run.run_id, named) if named else []


def kept_checks(number: int, checks: list[Check]) -> Kept:
    """The checks of a round, to be written."""
    return Kept(f"checks/{number}", _CHECKS.dump_json(checks).decode())


async def load_checks(job: Job, number: int) -> list[Check]:
    """The checks of a round."""
    return _CHECKS.validate_json(await job.find(f"checks/{number}") or "[]")


def failed(checks: Iterable[Check]) -> list[Check]:
    """Those that a text does not pass with."""
    return [c for c in checks if not c.passed and c.name not in POINTS_OUT]


def as_lines(checks: Iterable[Check]) -> str:
    """What is wrong, a line each; empty when nothing is."""
    return "\n".join(f"- {f'{c.section}: ' if c.section else ''}{c.name}: {c.text}" for c in checks if not c.passed)


def _inspect(task: TeamTask, draft: Draft, base: Grounds) -> list[Check]:
    found: list[Check] = []
    if base.texts:
        found += _by_section("sources", draft, lambda text: _sources(text, base), "cites nothing that is not there")
        found += _by_section("quotations", draft, lambda text: _quotations(text, base), "every quotation was found")
        found += _by_section("numbers", draft, lambda text: _numbers(text, base), "every number was found")
    if not about_orders(task.goal):
        found += _by_section("orders", draft, _orders, "gives its raters no orders")
    return [*found, *_length(draft, task.criteria), *_criteria(draft, task.criteria)]


def _by_section(name: str, draft: Draft, look: Callable[[str], str], fine: str) -> list[Check]:
    faults = [
        Check(name=name, passed=False, text=fault, section=section.id)
        for section in draft.sections
        if (fault := look(f"{section.heading}\n{section.text}"))
    ]
    return faults or [Check(name=name, passed=True, text=fine)]


def _sources(text: str, base: Grounds) -> str:
    outside = unquoted(text)
    cited = [part.strip() for b in _BRACKETS.findall(outside) for part in re.split(r"[;,]", b)]
    unknown = [c for c in cited if _SOURCE_LIKE.search(c) and flat(c) not in base.sources and flat(c) not in base.flat]
    urls = {url: url.rstrip(".,;") for url in _URL.findall(text)}
    unknown += [u for u, bare in urls.items() if flat(bare) not in base.flat and plain(bare) not in base.sources]
    return f"cited, but no source that supports anything here: {_listed(unknown)}" if unknown else ""


def _quotations(text: str, base: Grounds) -> str:
    quoted = [q for q in QUOTED.findall(text) if len(q.split()) >= QUOTED_WORDS]
    invented = [q for q in quoted if not stands(q, base.flat)]
    return f"quoted, but in no material and no report: {_listed(invented)}" if invented else ""


def _numbers(text: str, base: Grounds) -> str:
    bare = _URL.sub(" ", _BRACKETS.sub(" ", text))
    unknown = {shown: None for shown, number in numbers(bare) if number not in base.numbers}
    return f"stated, but supported by no material and no report: {_listed(unknown)}" if unknown else ""


def _orders(text: str) -> str:
    found = pleas(unquoted(text))
    return f"speaks to its raters instead of its readers, which nothing supported: {_listed(found)}" if found else ""


def _length(draft: Draft, criteria: Sequence[str]) -> list[Check]:
    text = "\n".join(s.text for s in draft.sections)
    count, last = len(text.split()), draft.sections[-1].id
    said = [flat(s) for s in re.split(r"(?<=[.!?])\s+|\n+", text) if s.strip()]
    if len(said) >= 10 and len(set(said)) < len(said) / 2:
        return [Check(name="length", passed=False, text=f"of {len(said)} sentences only {len(set(said))} differ")]
    faults: list[Check] = []
    for allowed in filter(None, map(length_of, criteria)):
        if allowed.most is not None and count > allowed.most:
            text = f"it has {count} words, {count - allowed.most} too many"
            faults += [Check(name="length", passed=False, text=text, section=s.id) for s in draft.sections]
        elif count < allowed.least:
            text = f"it has {count} words, {allowed.least - count} too few"
            faults.append(Check(name="length", passed=False, text=text, section=last))
    return faults or [Check(name="length", passed=True, text=f"it has {count} words")]


def _criteria(draft: Draft, criteria: Sequence[str]) -> list[Check]:
    """Of criteria that name what is to be spoken of: whether half of those words occur at all."""
    there = {_stem(w) for w in _WORD.findall(draft.text())}
    named = [c for c in criteria if _NAMES.match(c.strip())]
    faults: list[Check] = []
    for criterion in named:
        wanted = {_stem(w): w for w in _WORD.findall(_NAMES.sub("", criterion.strip()))}
        absent = [w for stem, w in wanted.items() if stem not in there]
        if len(absent) > len(wanted) / 2:
            text = f"{criterion!r}: these words do not occur: {', '.join(absent)}"
            faults.append(Check(name="criteria", passed=False, text=text, section=draft.sections[-1].id))
    return faults or ([Check(name="criteria", passed=True, text="what they name occurs")] if named else [])


def _stem(word: str) -> str:
    return word.casefold()[:6]


def _listed(found: Iterable[str]) -> str:
    shown = list(found)
    more = f" and {len(shown) - MOST_SHOWN} more" if len(shown) > MOST_SHOWN else ""
    return ", ".join(f"“{shorten(s, 120)}”" for s in shown[:MOST_SHOWN]) + more
