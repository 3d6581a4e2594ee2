"""Whether evidence is real: every quote is looked up in the text it is said to come from.

Deterministic and cheap, no model asked. Line breaks, case and typographic quotation marks and dashes may differ; the
quote that is kept is always the text's own wording. What cannot be found is taken out and said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Protocol

import anyio.to_thread

from atlas_mcp.model.result import Evidence, Missing
from atlas_mcp.reach.sources import plain

MAX_QUOTE = 5_000
IN_A_THREAD = 1_000_000
"""Quotations times characters to look them up in; a million takes about ten milliseconds."""
_SAME = ('"“”„«»', "'‘’‚`", "-‐‑‒–—−")
_CLASSES = {c: f"[{re.escape(group)}]" for group in _SAME for c in group}
_PLAIN = str.maketrans(dict.fromkeys(_SAME[0] + _SAME[1], "'") | dict.fromkeys(_SAME[2], "-") | dict.fromkeys("*_#`\\"))
_GAP = re.compile(r"\s*(?:\.\.\.|…|\[[^\]]*\])\s*")
_ELLIPSIS = ("...", "…")


class Text(Protocol):
    """What may be cited: a material, or a text from outside."""

    @property
    def name(self) -> str: ...

    @property
    def text(self) -> str: ...


def verify(agent: str, evidence: Iterable[Evidence], texts: Sequence[Text]) -> tuple[list[Evidence], list[Missing]]:
    """The evidence that holds, with each quote in the text's own words, and what `agent` claimed and does not."""
    kept: dict[tuple[str, str, str], Evidence] = {}
    refused: list[Missing] = []
    for item in evidence:
        found, why = look_up(item, texts)
        if found:
            source, quote = found
            one = Evidence(claim=item.claim, source=source.name, quote=quote)
            kept.setdefault((one.claim, one.source, one.quote), one)
        else:
            refused.append(refusal(agent, item, why))
    return list(kept.values()), refused


async def verify_all(
    agent: str, evidence: Sequence[Evidence], texts: Sequence[Text]
) -> tuple[list[Evidence], list[Missing]]:
    """`verify`; in a thread where there is much to look through, so that nobody else waits."""
    if len(evidence) * sum(len(one.text) for one in texts) < IN_A_THREAD:
        return verify(agent, evidence, texts)
    return await anyio.to_thread.run_sync(verify, agent, evidence, texts)


def look_up(item: Evidence, texts: Sequence[Text]) -> tuple[tuple[Text, str] | None, str]:
    """The text that the evidence is from, with the words quoted as they stand there; else None, and why."""
    wanted = plain(item.source)
    named = [one for one in texts if plain(one.name) == wanted]
    if not named:
        return None, f"{shorten(item.source, 300)!r} is no material, and no agent of this run was given it from outside"
    if not _trim(item.quote):
        return None, f"no words of {named[0].name!r} were quoted"
    for one in named:
        if quote := find_quote(item.quote, one.text):
            return (one, quote), ""
    return None, f"the quote is not in {named[0].name!r}: {shorten(item.quote, 120)!r}"


def refusal(agent: str, item: Evidence, why: str) -> Missing:
    """What a result says of evidence that does not hold."""
    return Missing(agent=agent, what=f"evidence for: {shorten(item.claim, 160)}", why=why)


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
