"""How much of the reports fits into one prompt. A message to an agent has a limit; long reports give way, evenly.

Short reports stay whole. Of a long one the beginning of its text stays, and as much of its evidence as fits, and the
report says that it was cut. Nothing is cut in what is kept.
"""

from __future__ import annotations

from collections.abc import Mapping

from atlas_mcp.model.result import Evidence
from atlas_mcp.model.task import MAX_MESSAGE
from atlas_mcp.model.work import Findings

ROOM = MAX_MESSAGE - 4_000
"""Characters of a whole prompt; the rest is for what escaping adds."""

LEAST = 1_000


def fit(reports: Mapping[str, str], room: int) -> dict[str, str]:
    """The reports (Findings as JSON), together at most `room` characters, each at least LEAST if it has as many."""
    limit = _share([len(r) for r in reports.values()], room)
    return {name: text if len(text) <= limit else _cut(text, limit) for name, text in reports.items()}


def fit_texts(texts: Mapping[str, str], room: int) -> dict[str, str]:
    """Plain texts, together at most `room` characters; a longer one ends earlier."""
    limit = _share([len(t) for t in texts.values()], room)
    return {name: text if len(text) <= limit else f"{text[: limit - 1]}…" for name, text in texts.items()}


def _share(lengths: list[int], room: int) -> int:
    """What each may have when the short ones leave their rest to the long ones."""
    left, waiting = room, sorted(lengths)
    while waiting:
        share = left // len(waiting)
        if waiting[0] > share:
            return max(share, LEAST)
        left -= waiting.pop(0)
    return max(lengths, default=0)


def _cut(report: str, limit: int) -> str:
    found = Findings.model_validate_json(report)
    short = found.model_copy(
        update={
            "text": found.text[: limit // 2],
            "evidence": (),
            "gaps": (f"this report was cut from {len(report):,} characters to fit",),
        }
    )
    left = limit - len(short.model_dump_json())
    while left < 0 and len(short.text) > 1:  # escapes made the text longer than it is
        short = short.model_copy(update={"text": short.text[: max(1, len(short.text) + left)]})
        left = limit - len(short.model_dump_json())
    kept: list[Evidence] = []
    for item in found.evidence:
        left -= len(item.model_dump_json()) + 1
        if left < 0:
            break
        kept.append(item)
    return short.model_copy(update={"evidence": tuple(kept)}).model_dump_json()
