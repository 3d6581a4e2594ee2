"""Variants as they are written on the command line; whatever does not fit is refused before anything is opened."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from atlas_mcp.errors import InvalidInput
from atlas_mcp.model.evaluated import Variant
from atlas_mcp.model.prompt import PERSONA

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = "now"
FORMS = "now, model=provider:name, roster=FILE or AGENT=FILE for a persona; several with commas between them"
_LONGEST = 60


def from_options(roster: Path | None, model: str | None, personas: Sequence[str]) -> Variant:
    """The variant that these options make; without any, what the home is now. InvalidInput."""
    prompts: dict[str, str] = {}
    names = [roster.stem] if roster else []
    names += [model.partition(":")[2] or model] if model else []
    for given in personas:
        agent, divided, file = given.partition("=")
        if not divided or not agent.strip() or not file.strip():
            raise InvalidInput(f"{given!r} is not AGENT=FILE.", argument="--persona")
        path = Path(file.strip()).expanduser()
        prompts[PERSONA + agent.strip()] = _read(path)
        names.append(f"{agent.strip()}-{path.stem}")
    if roster is not None and not roster.is_file():
        raise InvalidInput(f"there is no file {roster}.", argument="--roster", next_step="Name a roster file.")
    where = str(roster.expanduser().absolute()) if roster else None
    return Variant(name=_slug(names), roster=where, model=model, prompts=prompts)


def is_variant(text: str) -> bool:
    """Whether the text says a variant, and not the name of an evaluation that is kept."""
    return text == NOW or "=" in text


def from_words(text: str) -> Variant:
    """The variant that is written in one word, as FORMS tells. InvalidInput."""
    roster: Path | None = None
    model: str | None = None
    personas: list[str] = []
    for part in () if text == NOW else text.split(","):
        key, divided, value = (piece.strip() for piece in part.partition("="))
        if not divided or not key or not value:
            raise InvalidInput(f"{part!r} says no variant.", argument="A or B", next_step=f"Write {FORMS}.")
        if key == "roster":
            roster = Path(value)
        elif key == "model":
            model = value
        else:
            personas.append(f"{key}={value}")
    return from_options(roster, model, personas)


def _slug(names: Sequence[str]) -> str:
    """A name that a file may have."""
    text = re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(names)).strip("-._")[:_LONGEST]
    return text if text and text[0].isalnum() else NOW


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise InvalidInput(
            f"the persona file {path} cannot be read: {reason}.",
            argument="--persona",
            next_step="Name a text file that you may read.",
        ) from None
    if not text:
        raise InvalidInput(f"the persona file {path} is empty.", argument="--persona")
    return text
