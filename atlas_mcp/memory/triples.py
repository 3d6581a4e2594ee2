"""What somebody tells, as it is kept: names and relations in one form, moments in UTC, and nothing that is no text."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from atlas_mcp.errors import InvalidInput, OverLimit
from atlas_mcp.memory.entities import norm
from atlas_mcp.model._base import Frozen
from atlas_mcp.model.fact import MAX_ENTITY, MAX_RELATION, MAX_SOURCE, MAX_SOURCES, MAX_VALUE, Triple
from atlas_mcp.model.period import Period

if TYPE_CHECKING:
    from collections.abc import Sequence


class Relations(Frozen):
    """Relations that are known to be functional."""

    changing: frozenset[str]
    lasting: frozenset[str]


@functools.cache
def relations() -> Relations:
    """Those that come with ATLAS."""
    file = Path(__file__).with_name("relations.toml")
    return Relations.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Checked:
    """A triple that can be kept. `place` is what its arguments are called in errors."""

    place: str
    subject: str
    subject_kind: str
    relation: str
    object: str | None
    object_kind: str
    value: str
    period: Period
    functional: bool | None
    corrects: str | None
    text: str
    sources: tuple[str, ...]
    confidence: float

    @property
    def lasting(self) -> bool:
        """Whether what it says can never change."""
        return self.relation in relations().lasting


def checked(triple: Triple, place: str) -> Checked:
    """The triple in its kept form. InvalidInput and OverLimit name what is wrong with it, and where."""
    if (triple.object is None) == (triple.value is None):
        raise InvalidInput(
            "exactly one of object and value must be given.",
            argument=place,
            next_step="Give object for another thing, or value for a date, a number or a few words.",
        )
    subject = _text(triple.subject, f"{place}.subject", MAX_ENTITY)
    relation = relation_name(triple.relation, f"{place}.relation")
    named = None if triple.object is None else _text(triple.object, f"{place}.object", MAX_ENTITY)
    value = "" if triple.value is None else _text(triple.value, f"{place}.value", MAX_VALUE)
    made = f"{subject} {relation.replace('_', ' ')} {named or value}"
    return Checked(
        place=place,
        subject=subject,
        subject_kind=_text(triple.subject_kind, f"{place}.subject_kind", MAX_RELATION, empty=True),
        relation=relation,
        object=named,
        object_kind=_text(triple.object_kind, f"{place}.object_kind", MAX_RELATION, empty=True),
        value=value,
        period=_period(triple, place),
        functional=triple.functional,
        corrects=triple.corrects,
        text=_text(triple.text, f"{place}.text", MAX_VALUE, empty=True) or made,
        sources=_sources(triple.sources, f"{place}.sources"),
        confidence=_confidence(triple.confidence, f"{place}.confidence"),
    )


def in_utc(moment: datetime | None) -> datetime | None:
    """The moment; one that names no zone is taken to be UTC."""
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def relation_name(relation: str, argument: str) -> str:
    """The relation as it is kept: "Works for" is works_for. InvalidInput, OverLimit."""
    return norm(_text(relation.replace("_", " "), argument, MAX_RELATION)).replace(" ", "_")


def check_text(text: str, argument: str, limit: int) -> str:
    """The text without spaces around it. InvalidInput if it is empty or no text, OverLimit if it is too long."""
    return _text(text, argument, limit)


def _text(text: str, argument: str, limit: int, *, empty: bool = False) -> str:
    if len(text) > limit:
        raise OverLimit(argument, len(text), limit)
    if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text):
        raise InvalidInput(
            "it is not plain text: it has characters that no text has.",
            argument=argument,
            next_step="Convert it to plain text first.",
        )
    text = " ".join(text.split())
    if not text and not empty:
        raise InvalidInput("it is empty.", argument=argument, next_step="Name it in a few words.")
    return text


def _period(triple: Triple, place: str) -> Period:
    period = Period(since=in_utc(triple.true_from), until=in_utc(triple.true_until))
    if not period.is_one:
        raise InvalidInput(
            f"it ends at {triple.true_until}, which is not after its beginning, {triple.true_from}.",
            argument=f"{place}.true_until",
            next_step="Leave out what is not known.",
        )
    return period


def _sources(sources: Sequence[str], argument: str) -> tuple[str, ...]:
    if len(sources) > MAX_SOURCES:
        raise InvalidInput(
            f"{len(sources)} are too many.", argument=argument, next_step=f"Give the {MAX_SOURCES} best ones."
        )
    return tuple(dict.fromkeys(_text(one, argument, MAX_SOURCE) for one in sources))


def _confidence(confidence: float, argument: str) -> float:
    if not 0 <= confidence <= 1:
        raise InvalidInput(f"{confidence} is not between 0 and 1.", argument=argument, next_step="1 is quite sure.")
    return confidence
