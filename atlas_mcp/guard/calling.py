"""What leaves by a call of a tool: its arguments, which somebody outside is about to have.

Promise: a call in which the rules of what leaves find something is not made, wherever in its arguments that stands, as
it is or percent-encoded, in base64, in hexadecimal or in another writing of `encoded`, one in another up to three deep.
Nothing is cut out of it: with other arguments it would be another call. The find never holds the words themselves.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote_plus

from atlas_mcp.errors import Unavailable
from atlas_mcp.model.guard import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from atlas_mcp.guard.layers import About
    from atlas_mcp.guard.leaving import LeavingRules, Spot

_DEEPEST = 3
_ENCODED = re.compile(r"[\w+/=-]{24}|%[0-9A-Fa-f]{2}|\\[xu]|&#|[0-9A-Fa-f]{2}[ :][0-9A-Fa-f]{2}[ :]")
"""Without one of these nothing stands there in another writing."""


class CallRules:
    """The rules of what leaves, over calls of tools; `counts` says how often each found something since the start."""

    def __init__(self, rules: LeavingRules) -> None:
        self._rules = rules
        self.counts: Counter[str] = Counter()

    async def look(self, arguments: Mapping[str, Any], about: About) -> Finding | None:
        """Why the call must not be made, by the first place that says so; None where it may be."""
        for argument, text in _texts(arguments):
            for reading in _readings(text):
                for spot in [*self._rules.spots(reading), *await self._foreign(reading, about)][:1]:
                    self.counts[spot.rule] += 1
                    said = f"its argument {argument!r} holds {spot.what}{'' if reading is text else ', encoded'}"
                    return Finding(layer="rules", rule=spot.rule, severity="high", action="refuse", text=said)
        return None

    def told(self) -> str:
        """What was found since the start, in words; empty for nothing."""
        return ", ".join(f"{rule} {count:,}" for rule, count in self.counts.most_common(5))

    async def _foreign(self, text: str, about: About) -> list[Spot]:
        if not self._rules.asks(text, about):
            return []
        try:
            return await self._rules.foreign(text, about)
        except Unavailable:  # an id tells nobody anything without its owner's key: no reason to stand still
            return []


def _texts(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every text in the arguments, also the names within them, each with the argument in which it is."""
    for argument, given in arguments.items():
        waiting = [given]
        while waiting:
            value = waiting.pop()
            if isinstance(value, str):
                yield argument, value
            elif isinstance(value, dict):
                waiting += [*cast("dict[Any, Any]", value), *cast("dict[Any, Any]", value).values()]
            elif isinstance(value, list | tuple):
                waiting += cast("list[Any]", value)


def _readings(text: str, depth: int = 0) -> Iterator[str]:
    """The text, and what it says when it is read in another way."""
    yield text
    if depth == _DEEPEST or not _ENCODED.search(text):
        return
    if (unquoted := unquote_plus(text)) != text:
        yield from _readings(unquoted, depth + 1)
    from atlas_mcp.guard.encoded import decoded  # its patterns are compiled at the first use, not at start

    for shown in {text, text.replace("/", " ")}:  # of an address, each part of its path
        for part in decoded(shown, frozenset(re.findall(r"\w+", shown.lower()))):
            yield from _readings(part.text, depth + 1)
