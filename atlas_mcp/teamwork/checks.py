"""Whether evidence is real: every quote is looked up in the material it is said to come from.

Deterministic and cheap, no model asked. Line breaks, case and typographic quotation marks and dashes may differ; the
quote that is kept is always the material's own wording. What cannot be found is taken out and said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import anyio.to_thread

from atlas_mcp.model.result import Evidence, Missing
from atlas_mcp.model.task import Material

MAX_QUOTE = 5_000
IN_A_THREAD = 1_000_000
"""Quotations times characters to look them up in; a million takes about ten milliseconds."""
_SAME = ('"“”„«»', "'‘’‚`", "-‐‑‒–—−")
_CLASSES = {c: f"[{re.escape(group)}]" for group in _SAME for c in group}
_PLAIN = str.maketrans(dict.fromkeys(_SAME[0] + _SAME[1], "'") | dict.fromkeys(_SAME[2], "-") | dict.fromkeys("*_#`\\"))
_GAP = re.compile(r"\s*(?:\.\.\.|…|\[[^\]]*\])\s*")
_ELLIPSIS = ("...", "…")


def verify(
    agent: str, evidence: Iterable[Evidence], materials: Sequence[Material]
) -> tuple[list[Evidence], list[Missing]]:
    """The evidence that holds, with each quote in the material's own words, and what `agent` claimed and does not."""
    kept: dict[tuple[str, str, str], Evidence] = {}
    refused: list[Missing] = []
    for item in evidence:
        found, why = _look_up(item, materials)
        if found:
            kept.setdefault((found.claim, found.source, found.quote), found)
        else:
            refused.append(Missing(agent=agent, what=f"evidence for: {shorten(item.claim, 160)}", why=why))
    return list(kept.values()), refused


async def verify_all(
    agent: str, evidence: Sequence[Evidence], materials: Sequence[Material]
) -> tuple[list[Evidence], list[Missing]]:
    """`verify`; in a thread where there is much to look through, so that nobody else waits."""
    if len(evidence) * sum(len(m.text) for m in materials) < IN_A_THREAD:
        return verify(agent, evidence, materials)
    return await anyio.to_thread.run_sync(verify, agent, evidence, materials)


def find_quote(quote: str, text: str) -> str | None:
    """The passage of `text` that the quote gives, in the text's own wording; None when there is none."""
    words = _trim(quote)[:MAX_QUOTE].split()
    if not words:
        return None
    pattern = r"\s+".join("".join(_CLASSES.get(c) or re.escape(c) for c in word) for word in words)
    match = re.search(pattern, text, re.IGNORECASE)
    return match.group(0) if match else None


def stands(quote: str, flat_text: str) -> bool:
    """Whether the words are in the text, which is `flat` already; dots may stand for what the quote leaves out."""
    pieces = [flat(piece).strip(" .,;:!?'\"-") for piece in _GAP.split(quote)]
    return any(pieces) and all(piece in flat_text for piece in pieces)


def flat(text: str) -> str:
    """The text in lower case on one line, with plain marks and without those of Markdown."""
    return " ".join(text.translate(_PLAIN).lower().split())


def shorten(text: str, limit: int) -> str:
    """The text on one line, cut at `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def _look_up(item: Evidence, materials: Sequence[Material]) -> tuple[Evidence | None, str]:
    named = [m for m in materials if m.name.casefold() == item.source.strip().casefold()]
    if not named:
        return None, f"there is no material {shorten(item.source, 80)!r}"
    if not _trim(item.quote):
        return None, f"no words of {named[0].name!r} were quoted"
    for material in named:
        if quote := find_quote(item.quote, material.text):
            return Evidence(claim=item.claim, source=material.name, quote=quote), ""
    return None, f"the quote is not in {named[0].name!r}: {shorten(item.quote, 120)!r}"


def _trim(quote: str) -> str:
    """The quote without the marks that agents put around it."""
    text = quote.strip()
    while True:
        before = text
        for mark in _ELLIPSIS:
            text = text.removeprefix(mark).removesuffix(mark).strip()
        if len(text) > 1 and text[0] in _SAME[0] and text[-1] in _SAME[0]:
            text = text[1:-1].strip()
        if text == before:
            return text
