"""A page as agents get it: its text, what it says of itself, and where it leads."""

from __future__ import annotations

from typing import Literal

from atlas_mcp.model._base import Frozen

Kind = Literal["html", "pdf", "json", "markdown", "text"]


class Link(Frozen):
    """Where a page leads."""

    text: str
    address: str


class Page(Frozen):
    """What was read of a page. `address` is where it was in the end; `cut` says what of it is left out, if anything."""

    address: str
    kind: Kind
    title: str = ""
    author: str = ""
    date: str = ""
    text: str
    links: tuple[Link, ...] = ()
    cut: str = ""
