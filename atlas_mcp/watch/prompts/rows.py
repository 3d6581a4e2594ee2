"""The record's rows of prompts: every text that one had, and which leads instead of its file.

Promise: a text is one version of its name, however often it is kept. The version that was promoted last leads; taking
it back lets the one lead that led before it, and with none left the file.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update

from atlas_mcp.model.prompt import Origin, PromptVersion
from atlas_mcp.store.quality_tables import prompt

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

WRITER = "prompts"
"""Who writes these rows, for `Record.write`: one at a time."""

_TICK = timedelta(microseconds=1)


async def number_of(db: AsyncConnection, name: str, text: str) -> int | None:
    """The version that has this text; None if none has."""
    same = (prompt.c.name == name, prompt.c.sha256 == hash_of(text))
    return (await db.execute(select(func.min(prompt.c.version)).where(*same))).scalar_one()


async def versions_of(db: AsyncConnection, name: str) -> list[PromptVersion]:
    """Every version of that name, oldest first."""
    rows = await db.execute(select(prompt).where(prompt.c.name == name).order_by(prompt.c.version))
    return [_version(row) for row in rows]


async def numbers(db: AsyncConnection) -> dict[str, dict[str, int]]:
    """Every prompt's versions, by name and by the hash of the text, oldest first."""
    found: dict[str, dict[str, int]] = {}
    columns = select(prompt.c.name, prompt.c.sha256, prompt.c.version)
    for row in await db.execute(columns.order_by(prompt.c.name, prompt.c.version)):
        found.setdefault(row.name, {})[row.sha256] = row.version
    return found


async def leading(db: AsyncConnection) -> dict[str, PromptVersion]:
    """The versions that lead instead of a file, by name."""
    rows = await db.execute(select(prompt).where(prompt.c.promoted_at.is_not(None)).order_by(prompt.c.promoted_at))
    return {row.name: _version(row) for row in rows}


async def keep(
    db: AsyncConnection,
    name: str,
    text: str,
    origin: Origin,
    *,
    parent: int | None = None,
    evidence: dict[str, Any] | None = None,
) -> tuple[PromptVersion, bool]:
    """The version that has this text, and whether it is new. Within a write of WRITER."""
    known = await versions_of(db, name)
    for version in known:
        if version.text == text:
            return version, False
    made = PromptVersion(
        name=name,
        version=known[-1].version + 1 if known else 1,
        text=text,
        origin="edited" if known and origin == "file" else origin,
        parent=parent,
        evidence=evidence,
        made_at=max([datetime.now(UTC), *(_after(one) for one in known)]),
    )
    await db.execute(insert(prompt).values(**made.model_dump(), sha256=hash_of(text)))
    return made, True


async def note_evidence(db: AsyncConnection, version: PromptVersion, evidence: dict[str, Any]) -> None:
    """Keep what the version was compared by."""
    await db.execute(_one(version.name, version.version).values(evidence=evidence))


async def promote(db: AsyncConnection, name: str, version: int) -> None:
    """Let the version lead from now on. Within a write of WRITER."""
    at = max([datetime.now(UTC), *(_after(one) for one in await versions_of(db, name))])
    await db.execute(_one(name, version).values(promoted_at=at))


async def take_back(db: AsyncConnection, name: str, version: int | None = None) -> None:
    """Let that version lead no longer; without one, none of the name: its file leads."""
    changed = update(prompt).where(prompt.c.name == name).values(promoted_at=None)
    await db.execute(changed if version is None else changed.where(prompt.c.version == version))


def _after(version: PromptVersion) -> datetime:
    """A moment after all that happened to it, whatever the clock did since."""
    return max(version.made_at, version.promoted_at or version.made_at) + _TICK


def _one(name: str, version: int) -> Any:
    return update(prompt).where(prompt.c.name == name, prompt.c.version == version)


def hash_of(text: str) -> str:
    """By what a text is known."""
    return hashlib.sha256(text.encode()).hexdigest()


def _version(row: Any) -> PromptVersion:
    return PromptVersion(**{key: getattr(row, key) for key in PromptVersion.model_fields})
