"""Whether a quote is really in a material or a page that was read: executed by ATLAS, with the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.constellation.run_files import Citable, RunDoor

KIND = "run"
POOLS = ("materials", "evidence")


async def quote_material(run: RunDoor, name: str, quote: str) -> str:
    """Check that a quote stands word for word in a material, or in a page or file that was read, before you cite it.

    Line breaks, case, and the style of quotation marks and dashes may differ; the words may not.

    Args:
        name (str): The material's name, the page's address, or the file's name.
        quote (str): The words to look for, without quotation marks of your own around them.

    Returns:
        str: JSON. If it is there {"found": true, "material", "start", "text"} with the material's own words; if not
        {"found": false, "material", "nearest": {"start", "text"}} with the sentence that comes nearest.
    """
    import asyncio
    import re

    texts = await run.texts(name)
    if not re.search(r"\w", quote):
        raise ValueError("quote: it has no words")
    if len(quote) > 5_000:
        raise ValueError(f"quote: it has {len(quote):,} characters; the limit is 5,000")
    return await asyncio.to_thread(_looked_up, texts, quote.split())


def _looked_up(texts: Sequence[Citable], words: list[str]) -> str:
    import json
    import re

    same = ('"“”„«»', "'‘’‚`´", "-‐‑‒–—−")
    classes = {c: f"[{re.escape(group)}]" for group in same for c in group}
    pattern = r"\s+".join("".join(classes.get(c) or re.escape(c) for c in word) for word in words)
    for one in texts:
        if found := re.search(pattern, one.text, re.IGNORECASE):
            answer = {"found": True, "material": one.name, "start": found.start(), "text": found.group()}
            return json.dumps(answer, ensure_ascii=False)
    last = texts[-1]
    answer = {"found": False, "material": last.name, "nearest": _nearest(" ".join(words), last.text)}
    return json.dumps(answer, ensure_ascii=False)


def _nearest(quote: str, text: str) -> dict[str, object] | None:
    """The sentence that is most like the quote, of the twenty that share most words with it."""
    import difflib
    import re

    def words(part: str) -> set[str]:
        return set(re.findall(r"\w+", part.casefold()))

    def likeness(span: tuple[int, int]) -> float:
        sentence = " ".join(text[span[0] : span[1]].split())
        return difflib.SequenceMatcher(None, quote.casefold(), sentence.casefold()).ratio()

    wanted = words(quote)
    spans = [m.span() for m in re.finditer(r"\S(?:(?![.!?。！？]\s|\n\s*\n)[\s\S]){0,1000}[.!?。！？]?", text)]
    shared = {span: len(wanted & words(text[span[0] : span[1]])) for span in spans}
    likely = [span for span in sorted(spans, key=lambda s: -shared[s])[:20] if shared[span]]
    if not likely:
        return None
    begin, end = max(likely, key=likeness)
    return {"start": begin, "text": text[begin:end].strip()}
