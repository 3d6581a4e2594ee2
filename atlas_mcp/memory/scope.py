"""Where a search looks: whose passages, and which of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, text

from atlas_mcp.store.columns import Utc

if TYPE_CHECKING:
    from sqlalchemy import TextClause

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.memory_kinds import MemoryKind


@dataclass(frozen=True, slots=True)
class Scope:
    """One caller's passages of these kinds that have not expired, narrowed by what else is given.

    `scopes` are those that may be seen, all if none are named; `since` and `until` are of when it was written, both
    ends included; what is trusted less than `min_trust` is left out. What an `agent` has is what it wrote, and what is
    for it alone.
    """

    caller: Caller
    kinds: tuple[MemoryKind, ...]
    project: str | None = None
    author: str | None = None
    scopes: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    min_trust: float = 0.0
    agent: str | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def narrow(self) -> bool:
        """Whether much of what the caller has is not looked through."""
        return self.project is not None or bool(self.author or self.agent or self.scopes or self.since or self.until)

    @property
    def condition(self) -> str:
        """The condition on a passage `p`."""
        kinds = ", ".join(f":kind{n}" for n in range(len(self.kinds)))
        parts = ["p.caller = :caller", f"p.kind IN ({kinds})", "(p.expires_at IS NULL OR p.expires_at > :now)"]
        if self.project is not None:
            parts.append("p.project = :project")
        if self.author is not None:
            parts.append("p.author = :author")
        if self.agent is not None:
            parts.append("(p.author = :agent OR p.scope = :agent)")
        if self.scopes:
            parts.append(f"p.scope IN ({', '.join(f':scope{n}' for n in range(len(self.scopes)))})")
        if self.since is not None:
            parts.append("p.at >= :since")
        if self.until is not None:
            parts.append("p.at <= :until")
        if self.min_trust > 0:
            parts.append("p.trust >= :min_trust")
        return " AND ".join(parts)

    @property
    def values(self) -> dict[str, Any]:
        """The values that it names."""
        given = {
            "project": self.project,
            "author": self.author,
            "agent": self.agent and f"agent:{self.agent}",
            "since": self.since,
            "until": self.until,
            "min_trust": self.min_trust or None,
        }
        return {
            "caller": self.caller.id,
            "now": self.now,
            **{f"kind{n}": kind for n, kind in enumerate(self.kinds)},
            **{f"scope{n}": scope for n, scope in enumerate(self.scopes)},
            **{name: value for name, value in given.items() if value is not None},
        }

    def statement(self, sql: str, many: str = "") -> TextClause:
        """The statement with this condition in the place of `{scope}`; its moments are given as the record has them.
        `many` is the name of a value that is several.
        """
        return _made(sql.replace("{scope}", self.condition), self.since is not None, self.until is not None, many)


@lru_cache(maxsize=256)
def _made(sql: str, since: bool, until: bool, many: str) -> TextClause:
    """The same for the same words, so that it is read and compiled once."""
    given = {"now": True, "since": since, "until": until}
    made = text(sql).bindparams(*(bindparam(name, type_=Utc()) for name, there in given.items() if there))
    return made.bindparams(bindparam(many, expanding=True)) if many else made
