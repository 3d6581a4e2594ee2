"""Models' names on a Letta server: its own handles `provider/name`, and what people write for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def find_handle(wanted: str, handles: Sequence[str]) -> str | None:
    """The server's handle for what is wanted, written `provider/name`, `provider:name` or `name`; None if unclear.

    A handle that is the same goes first. Else the one whose name is the same, if there is one alone: servers call the
    provider behind a model differently (`openai-proxy`, `bedrock`).
    """
    same = wanted.replace(":", "/", 1) if "/" not in wanted.partition(":")[0] else wanted
    for handle in (wanted, same):
        if handle in handles:
            return handle
    named = [handle for handle in handles if bare_name(handle) == bare_name(wanted)]
    return named[0] if len(named) == 1 else None


def bare_name(text: str) -> str:
    """The model's name without its provider."""
    return re.split(r"[:/]", text, maxsplit=1)[-1]
