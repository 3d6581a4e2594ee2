"""What providers say in their answers of how much may still be asked: the rate limit's rest, by provider.

Known where an answer carried the headers `x-ratelimit-remaining-requests` and `-tokens` and LangChain hands them on,
which it does for OpenAI and servers that speak as it does. Of other providers nothing is known, and nothing is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.outputs import ChatGeneration

_HEADER = "x-ratelimit-remaining-"
_WHAT = ("requests", "tokens")
_KEY = "headers"  # as langchain-openai calls them


class Remaining:
    """The newest word of each provider; `left` is by provider and what is counted: "openai_tokens"."""

    def __init__(self) -> None:
        self.left: dict[str, float] = {}

    def take(self, provider: str, generation: ChatGeneration) -> None:
        """Take the headers out of an answer, or of its first chunk: nobody beyond is to keep them."""
        for place in (generation.generation_info, generation.message.response_metadata):
            headers = place.pop(_KEY, None) if place else None
            if isinstance(headers, dict):
                self._note(provider, cast("Mapping[str, Any]", headers))

    def _note(self, provider: str, headers: Mapping[str, Any]) -> None:
        for what in _WHAT:
            said = str(headers.get(_HEADER + what, ""))
            if said.isascii() and said.isdigit() and len(said) < 16:
                self.left[f"{provider}_{what}"] = float(said)
