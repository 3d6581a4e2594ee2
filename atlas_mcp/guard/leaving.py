"""What leaves: agents' answers, chat replies and results, looked at by every layer that is on before anybody has them.

Promise: rules come first, and what they find is not shown to any model. A layer that cannot tell (it does not answer,
is overdue, or there is no budget for it) does not lose the work: the text goes on, and it is told that this layer has
not looked at it. What the rules find are exact places: a secret by its form, a key of this home's settings, a file of
the home, an id of another caller's; each can be cut out. A rule takes microseconds for a kilobyte.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from atlas_mcp.errors import AtlasError, BudgetSpent, ConfigurationError, Unavailable
from atlas_mcp.guard import owners
from atlas_mcp.model.guard import Finding, Verdict
from atlas_mcp.model.secrets import REDACTED, hidden, secrets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from atlas_mcp.guard.layers import About, Layer
    from atlas_mcp.model.guard import LayerName
    from atlas_mcp.store.record import Record

UNAVAILABLE: Final = "unavailable"
"""The rule of a finding that says that a layer could not look at the text."""

SHORTEST_KEY: Final = 8
"""Characters; a shorter value would be found inside ordinary words."""

_AROUND = 24
_LONGEST = 400


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a text that must not leave, by which rule, and what it is in words."""

    start: int
    end: int
    rule: str
    what: str


class LeavingRules:
    """The rules. `keys` are values that must not leave, with what they are called; `addresses` are the home's files."""

    def __init__(self, keys: Mapping[str, str], addresses: Sequence[str] = ()) -> None:
        self._known = [
            *((value, "key_of_home", f"the value of {name}") for value, name in keys.items()),
            *((path, "address_of_home", "a file of the server's home") for path in addresses),
        ]
        self._known = [known for known in self._known if len(known[0]) >= SHORTEST_KEY]
        self.record: Record | None = None

    def spots(self, text: str) -> list[Spot]:
        """What can be told without looking anywhere, in order of place."""
        found = [Spot(one.start, one.end, "secret", one.kind) for one in secrets(text)]
        found += _carrying(text)
        for value, rule, what in self._known:
            start = text.find(value)
            while start >= 0:
                found.append(Spot(start, start + len(value), rule, what))
                start = text.find(value, start + len(value))
        return sorted(found, key=lambda spot: spot.start) if found else found

    def asks(self, text: str, about: About) -> bool:
        """Whether the record has to be asked about ids that the text names."""
        return self.record is not None and any(named != about.run_id for named in owners.ids(text))

    async def foreign(self, text: str, about: About) -> list[Spot]:
        """The ids of other callers' things. StoreUnavailable."""
        named = owners.ids(text)
        if not named or self.record is None or about.caller is None:
            return []
        others = await owners.of_others(self.record, about.caller, (one for one in named if one != about.run_id))
        places = ((start, one) for one in others for start in named[one])
        return [Spot(start, start + len(one), "foreign_id", "an id of another caller's") for start, one in places]


def _carrying(text: str) -> list[Spot]:
    """Addresses that would carry something away from whoever is shown the text."""
    if "](" not in text and "<img" not in text:
        return []
    from atlas_mcp.guard.rules import carrying  # its patterns are compiled at the first use, not at start

    return [Spot(one.start, one.end, one.rule, one.about.removeprefix("it is ")) for one in carrying(text)]


class Leaving:
    """Every layer that is on, for what leaves; `quality` says whether the librarian judges results."""

    def __init__(
        self, rules: LeavingRules | None = None, layers: Sequence[Layer] = (), *, quality: bool = False
    ) -> None:
        self.rules = rules
        self.quality = quality
        self._layers = tuple(layers)

    @property
    def on(self) -> bool:
        """Whether anything is checked at all."""
        return self.rules is not None or bool(self._layers)

    @property
    def judging(self) -> bool:
        """Whether more than rules is on: layers that take time, and may say another thing when asked again."""
        return bool(self._layers)

    def at_once(self, text: str, about: About) -> Verdict | None:
        """The verdict where it can be had without waiting: only rules are on, and the record need not be asked."""
        if self._layers or (self.rules is not None and self.rules.asks(text, about)):
            return None
        return _verdict(text, self.rules.spots(text) if self.rules else [])

    async def check(self, text: str, about: About, *, only_rules: bool = False) -> Verdict:
        """What all layers find. `text` of the verdict is the text without what rules found in it.

        Other layers are asked only about a text in which the rules found nothing, and not with `only_rules`.
        """
        spots: list[Spot] = []
        found: list[Finding] = []
        if self.rules is not None:
            spots = self.rules.spots(text)
            try:
                spots += await self.rules.foreign(text, about)
            except Unavailable as error:
                found.append(not_looked("rules", error))
        for layer in () if spots or only_rules or not text.strip() else self._layers:
            try:
                found += await layer.check(text, "leaving", about)
            except (Unavailable, BudgetSpent, ConfigurationError) as error:
                found.append(not_looked(layer.name, error))
        return _verdict(text, spots, found)


def failing(verdict: Verdict) -> list[Finding]:
    """The findings with which the text must not leave as it is."""
    return [finding for finding in verdict.findings if finding.action != "flag"]


def not_looked(layer: LayerName, error: AtlasError) -> Finding:
    """That a layer could not look at the text, and why; the text goes on."""
    why = hidden(str(error))[:_LONGEST]
    text = f"it was not looked at by this layer ({layer}): {why}"
    return Finding(layer=layer, rule=UNAVAILABLE, severity="medium", action="flag", text=text)


def _verdict(text: str, spots: Sequence[Spot], found: Iterable[Finding] = ()) -> Verdict:
    if not spots and not found:
        return Verdict(passed=True, text=text)
    apart = _apart(spots)
    without = _without(text, apart)
    findings = (*_findings(text, without, apart), *found)
    return Verdict(passed=all(f.action == "flag" for f in findings), text=without, findings=findings)


def _apart(spots: Sequence[Spot]) -> list[Spot]:
    """The places in order, none within another; of those that overlap all is cut, and the first is told."""
    kept: list[Spot] = []
    for spot in sorted(spots, key=lambda one: (one.start, -one.end)):
        if not kept or spot.start >= kept[-1].end:
            kept.append(spot)
        elif spot.end > kept[-1].end:
            kept[-1] = replace(kept[-1], end=spot.end)
    return kept


def _findings(text: str, without: str, apart: Sequence[Spot]) -> Iterable[Finding]:
    """One finding for each; the excerpts are of the text `without` what was found, so that none holds any of it."""
    shorter = 0
    for spot in apart:
        place = spot.start - shorter
        shorter += spot.end - spot.start - len(REDACTED)
        near = without[max(0, place - _AROUND) : place + len(REDACTED) + _AROUND]
        yield Finding(
            layer="rules",
            rule=spot.rule,
            severity="high",
            action="cut",
            text=f"it holds {spot.what}",
            offset=spot.start,
            line=text.count("\n", 0, spot.start) + 1,
            excerpt=hidden(" ".join(near.split()))[:120],
        )


def _without(text: str, apart: Sequence[Spot]) -> str:
    kept: list[str] = []
    position = 0
    for spot in apart:
        kept += [text[position : spot.start], REDACTED]
        position = spot.end
    return "".join([*kept, text[position:]])
