"""What a user tells about themselves, and how it is put into a memory block."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from atlas_mcp.models.offline.passages import sentences
from atlas_mcp.models.offline.tools import Call, Tools

MOST_FACTS = 3
_LONGEST = 300
_NAME = re.compile(
    r"\b(?:my name is|i am called|i'm called|call me)\s+(?P<name>[^\W\d_][\w'’-]*(?:\s+(?-i:[A-ZÀ-Þ])[\w'’-]*)*)",
    re.IGNORECASE,
)
_REMEMBER = re.compile(
    r"\b(?:please\s+)?(?:remember|note|keep in mind|don't forget|do not forget)(?:\s+that|\s*:)\s+(?P<what>.+)",
    re.IGNORECASE,
)
_REMEMBER_PLAINLY = re.compile(
    r"(?:^\s*|[,;]\s*|\b(?:please|and|also)\s+)(?:remember|keep in mind|don['’]t forget|do not forget)\s+"
    r"(?P<what>(?:(?:i|my|we|our)\b|the\s.+\s(?:is|are|was|were|has|have|will|must|should)\b).+)",
    re.IGNORECASE,
)
_PREFERS = re.compile(
    r"^\s*(?:and\s+|also,?\s+)?(?P<what>i (?:really |always |usually )?(?:prefer|like|love|hate|dislike|live in|"
    r"work (?:as|at|for|on)|want you to always|am allergic)\b.+)",
    re.IGNORECASE,
)
_AND_I = re.compile(r",?\s+and\s+(?=(?:i|my)\b)", re.IGNORECASE)
_QUESTION = re.compile(r"\?\s*$")
_SECRET = re.compile(r"\b(?:password|passphrase|api[ _-]?key|secret key|pin code)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Fact:
    """A line for the block about the user; `kind` is what a newer line of the same kind replaces, or empty."""

    line: str
    kind: str = ""


def facts(message: str) -> list[Fact]:
    """What the message tells about the user, at most MOST_FACTS; passwords and keys are never among it."""
    found: list[Fact] = []
    for sentence in (part for s in sentences(" ".join(message.split())) for part in _AND_I.split(s)):
        if _QUESTION.search(sentence) or _SECRET.search(sentence):
            continue
        if match := _NAME.search(sentence):
            found.append(Fact(f"Name: {match['name'].strip()}", "Name: "))
        elif match := (_REMEMBER.search(sentence) or _REMEMBER_PLAINLY.search(sentence) or _PREFERS.match(sentence)):
            found.append(Fact(_line(match["what"])))
    return list({fact.line: fact for fact in found}.values())[:MOST_FACTS]


def label_of_user(blocks: Mapping[str, str]) -> str:
    """The block for what is known of the user."""
    return "human" if "human" in blocks or not blocks else next((b for b in blocks if b != "persona"), "human")


def memory_call(fact: Fact, blocks: Mapping[str, str], tools: Tools) -> Call | None:
    """The call that keeps the fact; None when it stands there already, or no tool can."""
    label = label_of_user(blocks)
    value = blocks.get(label, "")
    if fact.line in value:
        return None
    old = next((line for line in value.splitlines() if fact.kind and line.strip().startswith(fact.kind)), "")
    if old and value.count(old) == 1 and "memory_replace" in tools:
        return "memory_replace", _arguments(tools["memory_replace"], label=label, old=old, new=fact.line)
    if "memory_insert" in tools:
        return "memory_insert", _arguments(tools["memory_insert"], label=label, old="", new=fact.line)
    return None


def _arguments(schema: Mapping[str, Any], *, label: str, old: str, new: str) -> dict[str, Any]:
    """The values under the names that the tool has for them: Letta's have changed between versions."""
    properties = list(cast("Mapping[str, Any]", schema.get("properties") or {})) or ["label", "new_string"]
    values = {"label": label}
    for name in properties:
        if name.startswith("new") or name in {"content", "text"}:
            values[name] = new
        elif name.startswith("old"):
            values[name] = old
    return values


def _line(text: str) -> str:
    """One bounded line, in the third person where that is easy."""
    flat = " ".join(text.split()).rstrip(" .!")
    flat = re.sub(r"^i am\b", "Is", flat, flags=re.IGNORECASE)
    flat = _ABOUT_ME.sub(lambda m: f"{m[1]}{m[2]}s", flat)
    flat = re.sub(r"\bmy\b", "their", flat, flags=re.IGNORECASE)
    flat = flat if len(flat) <= _LONGEST else flat[:_LONGEST].rsplit(" ", 1)[0] + " …"
    return f"{flat[:1].upper()}{flat[1:]}."


_ABOUT_ME = re.compile(
    r"^i ((?:really |always |usually )?)(prefer|like|love|hate|dislike|live|work|want|need|use)\b", re.IGNORECASE
)
