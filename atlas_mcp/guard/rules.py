"""Rules over a text: what is found, where, and what it is worth. No model is asked, and nothing outside.

Promise: whatever the text is, looking at it raises nothing and takes a time that grows with its length and no faster:
patterns are tried only where a word of theirs stands, and read a bounded piece from there.

A rule finds the usual wordings of orders in twenty languages, not every one there may be. What it does not find is
still data in a delimited section (see `model.sections`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atlas_mcp.guard.encoded import DEEPEST, decoded
from atlas_mcp.guard.hidden import concealment, unseen
from atlas_mcp.guard.rule import book
from atlas_mcp.guard.seeing import seen
from atlas_mcp.model.guard import Finding
from atlas_mcp.model.secrets import REDACTED, hidden, secrets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from atlas_mcp.guard.layers import About
    from atlas_mcp.guard.rule import Rule
    from atlas_mcp.guard.seeing import Seen
    from atlas_mcp.model.guard import Direction, GuardAction, LayerName, Severity

MOST_OF_A_RULE = 5
"""Findings of one rule in one text that are told; all of them are acted on."""

_WORD = re.compile(r"\w+")
_QUOTES = "\"'`“”„«»‘’「」『』《》*"
_QUOTED = re.compile(rf"(?<!\w)[{_QUOTES}][^{_QUOTES}\n]{{0,60}}$")
_REPORTED = re.compile(
    r"(?:\b(?:to|would|could|may|might|can|will|that|which|who|like|as|says?|saying|tells?|asks?|zu|qui|que|che)|[:(])\s?$"
)
_BEFORE, _NEAR, _EXCERPT = 100, 240, 40
_UNSEEN: dict[str, tuple[Severity, str]] = {
    "hidden.tags": ("high", "it holds tag characters, which nobody sees and models read"),
    "hidden.characters": ("medium", "it holds a long run of characters that nobody sees"),
    "hidden.direction": ("medium", "it is shown in another direction than it is written in"),
    "hidden.steering": ("low", "it holds codes that steer a terminal"),
}


@dataclass(frozen=True, slots=True)
class Hit:
    """A place in a text, in characters, by which rule, and what is done about it."""

    start: int
    end: int
    rule: str
    severity: Severity
    action: GuardAction
    about: str

    @property
    def instead(self) -> str:
        """What stands there when it was cut."""
        return REDACTED if self.rule == "secret" else f"[cut: {self.rule}]"


def hits(text: str, direction: Direction = "entering") -> list[Hit]:
    """Everything that rules find in the text, in order of place."""
    view, words = _read(text)
    found = list(_phrases(view, words, direction))
    if direction == "entering":
        found += _hidden(text, words)
    found += [Hit(s.start, s.end, "secret", "high", "cut", f"it holds {s.kind}") for s in secrets(text)]
    return sorted(found, key=lambda hit: (hit.start, -hit.end)) if len(found) > 1 else found


def carrying(text: str) -> list[Hit]:
    """Addresses in what leaves that carry something away; where there are none it costs a look."""
    if "](" not in text and "<img" not in text:
        return []
    return list(_phrases(*_read(text), "leaving"))


def without(text: str, found: Sequence[Hit]) -> str:
    """The text without what is to be cut; what overlaps is cut as one."""
    kept: list[str] = []
    last = 0
    for hit in (one for one in found if one.action == "cut"):
        if hit.start >= last:
            kept += (text[last : hit.start], hit.instead)
        last = max(last, hit.end)
    return "".join((*kept, text[last:])) if kept else text


def findings(text: str, found: Sequence[Hit]) -> tuple[Finding, ...]:
    """What is told of them: of one rule MOST_OF_A_RULE places, and how many more there are."""
    by_rule: dict[str, list[Hit]] = {}
    for hit in found:
        by_rule.setdefault(hit.rule, []).append(hit)
    told: list[Finding] = []
    for some in by_rule.values():
        more = len(some) - MOST_OF_A_RULE
        for n, hit in enumerate(some[:MOST_OF_A_RULE]):
            last = n == MOST_OF_A_RULE - 1 and more > 0
            told.append(_finding(text, hit, f" (and in {more} more places)" if last else ""))
    return tuple(told)


class RulesLayer:
    """The rules as a layer of the guard."""

    name: LayerName = "rules"

    async def check(self, text: str, direction: Direction, about: About) -> Sequence[Finding]:
        """What they find."""
        return findings(text, hits(text, direction))


def _finding(text: str, hit: Hit, more: str) -> Finding:
    return Finding(
        layer="rules",
        rule=hit.rule,
        severity=hit.severity,
        action=hit.action,
        text=hit.about + more,
        offset=hit.start,
        line=text.count("\n", 0, hit.start) + 1,
        excerpt="" if hit.rule == "secret" else _excerpt(text, hit),
    )


def _excerpt(text: str, hit: Hit) -> str:
    """A few words from there on, without secrets and without what nobody sees."""
    near = text[max(0, hit.start - _EXCERPT) : hit.start + 2 * _EXCERPT]
    shown = "".join(c if c.isprintable() else " " for c in hidden(near))
    return " ".join(shown.encode("utf-8", "replace").decode().split())[:120]


def _read(text: str) -> tuple[Seen, frozenset[str]]:
    """The text as it is seen, and its words."""
    view = seen(text)
    return view, frozenset(_WORD.findall(view.plain))


def _hidden(text: str, words: frozenset[str], depth: int = 0) -> Iterator[Hit]:
    """What nobody sees, and orders in another writing."""
    for place in unseen(text) if not depth else ():
        severity, about = _UNSEEN[place.rule]
        if order := _order(place.says, DEEPEST):
            yield Hit(place.start, place.end, place.rule, "high", "cut", f"{about}: {order.about}")
        else:
            harmless = place.rule == "hidden.direction"
            yield Hit(place.start, place.end, place.rule, severity, "flag" if harmless else "cut", about)
    for part in decoded(text, words):
        if order := _order(part.text, depth):
            way = part.way.replace(" ", "_")
            yield Hit(part.start, part.end, f"encoded.{way}", "high", "cut", f"in another writing: {order.about}")


def _order(text: str, depth: int) -> Hit | None:
    """The first order that the text gives, itself or in another writing."""
    if not text:
        return None
    view, words = _read(text)
    found = next(_phrases(view, words, "entering"), None)
    if found is None and depth + 1 < DEEPEST:
        found = next(_hidden(text, words, depth + 1), None)
    return found


def _phrases(view: Seen, words: frozenset[str], direction: Direction) -> Iterator[Hit]:
    """What the rules that are data find."""
    rules = book()
    for rule in rules.rules:
        if direction not in rule.directions or (rule.anchors and words.isdisjoint(rule.anchors)):
            continue
        for start, end in _matches(rule, view.plain, words):
            if rule.action == "flag" and _mentioned(view.plain, start, end, rules.mentions):
                continue
            yield _hit(rule, view, start, end)


def _hit(rule: Rule, view: Seen, start: int, end: int) -> Hit:
    around = concealment(view.plain, start, end) if rule.action == "flag" else None
    if around is None:
        return Hit(view.at(start), view.end(end), rule.id, rule.severity, rule.action, rule.about)
    about = f"where nobody sees it: {rule.about}"
    return Hit(view.at(around[0]), view.end(around[1]), "hidden.source", "high", "cut", about)


def _matches(rule: Rule, plain: str, words: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Where a pattern of the rule finds something, none within another."""
    last = 0
    for place in sorted(_places(rule, plain, words)):
        if place < last:
            continue
        for pattern in rule.compiled:
            if match := pattern.match(plain, place):
                last = match.end()
                yield place, last
                break


def _places(rule: Rule, plain: str, words: frozenset[str]) -> Iterator[int]:
    """Where a word or a sign of the rule stands."""
    for anchor in rule.signs or rule.anchors & words:
        place = plain.find(anchor)
        while place >= 0:
            after = place + len(anchor)
            if rule.signs or not (_joins(plain, place - 1) or _joins(plain, after)):
                yield place
            place = plain.find(anchor, after)


def _joins(plain: str, place: int) -> bool:
    """Whether a character of a word stands there."""
    return 0 <= place < len(plain) and (plain[place].isalnum() or plain[place] == "_")


def _mentioned(plain: str, start: int, end: int, mentions: frozenset[str]) -> bool:
    """Whether the text only speaks of such words: quoted or reported, and near a word that tells so."""
    before = plain[max(0, start - _BEFORE) : start]
    if not (_QUOTED.search(before) or _REPORTED.search(before)):
        return False
    near = plain[max(0, start - _NEAR) : start] + " " + plain[end : end + _NEAR]
    return not mentions.isdisjoint(_WORD.findall(near)) or any(m in near for m in mentions if not m.isascii())
