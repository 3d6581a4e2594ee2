"""Whom an agent tells or keeps something for: all, itself, or its team."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence


def scope_for(whom: str, scopes: Sequence[str]) -> str:
    """That of the agent's scopes (see `scopes_of`) which `all`, `me` or `team` means. InvalidInput."""
    known = dict(zip(("all", "me", "team"), scopes, strict=False))
    if whom not in known:
        raise InvalidInput(f"{whom!r} is nobody.", argument="whom", next_step=f"Choose: {', '.join(known)}.")
    return known[whom]
