"""What a turn will probably take, before it is sent: the message, what Letta puts around it, and a typical answer."""

from __future__ import annotations

from atlas_mcp.model.tokens import estimate_tokens

AROUND = 3_000
"""Tokens of the system prompt, the memory in it and the tools' schemas: 2,300 to 3,600 with the agents of the roster
that comes with ATLAS, before they remember anything."""

ANSWER = 800
"""Tokens of a typical answer: a page of findings, or a plan of some parts."""

_SAMPLE = 500


def expected_tokens(message: str) -> tuple[int, int]:
    """The tokens in and out that a turn with this message will probably take.

    Of a long message the beginning is weighed, and the rest taken to be like it.
    """
    sample = message[:_SAMPLE]
    return AROUND + estimate_tokens(sample) * len(message) // max(len(sample), 1), ANSWER
