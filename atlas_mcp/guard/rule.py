"""One rule over texts: what it looks for, how bad that is, and what is done; read from `rules.toml`."""

from __future__ import annotations

import functools
import re
import tomllib
from pathlib import Path
from typing import Any

from atlas_mcp.model._base import Frozen
from atlas_mcp.model.guard import Direction, GuardAction, Severity

_FILE = Path(__file__).with_name("rules.toml")
_BETWEEN = "[^.!?。！？।\n]{0,40}?"


class Rule(Frozen):
    """A rule: its patterns are tried where one of `words` (whole words) or `signs` (any characters) stands.

    With both, at the signs, if one of the words stands anywhere.
    """

    id: str
    severity: Severity
    about: str
    action: GuardAction = "flag"
    directions: tuple[Direction, ...] = ("entering",)
    words: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()
    patterns: tuple[str, ...]

    @functools.cached_property
    def compiled(self) -> tuple[re.Pattern[str], ...]:
        """The patterns; they are tried on small letters."""
        return tuple(re.compile(pattern) for pattern in self.patterns)

    @functools.cached_property
    def anchors(self) -> frozenset[str]:
        """The words, to be looked for among those of a text."""
        return frozenset(self.words)


class Book(Frozen):
    """All rules that are data, and the words that tell that a text speaks of such things."""

    rules: tuple[Rule, ...]
    mentions: frozenset[str]

    @property
    def ids(self) -> tuple[str, ...]:
        """Their names, each once, in order."""
        return tuple(dict.fromkeys(rule.id for rule in self.rules))


@functools.cache
def book() -> Book:
    """The rules."""
    content = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    forgetting = content["forgetting"]
    common = {name: forgetting[name] for name in ("id", "severity", "about")}
    languages = [_of_language(one, common) for one in forgetting["languages"]]
    return Book(
        rules=(*languages, *map(Rule.model_validate, content["rules"])), mentions=frozenset(content["mentions"])
    )


def _of_language(given: dict[str, Any], common: dict[str, Any]) -> Rule:
    """Orders to forget, in one language: a verb and its object, in the language's order.

    What the object begins with stands in `first` where it comes first; not `spaced`: verbs are no whole words.
    """
    verbs, objects = "|".join(map(re.escape, given["verbs"])), "|".join(given["objects"])
    if "first" in given:
        return Rule(**common, signs=given["first"], patterns=(f"(?:{objects}){_BETWEEN}(?:{verbs})",))
    if not given.get("spaced", True):
        return Rule(**common, signs=given["verbs"], patterns=(f"(?:{verbs}){_BETWEEN}(?:{objects})",))
    return Rule(**common, words=given["verbs"], patterns=(rf"(?:{verbs})\b{_BETWEEN}(?:{objects})",))
