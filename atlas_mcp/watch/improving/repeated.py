"""Tool calls that were made again for the same answer, from the traces in the home's MLflow database.

Only tools are looked at that work the same for everyone: computations, and what is fetched from the network. What was
asked and answered is compared by hashes and shown nowhere.
"""

from __future__ import annotations

from collections import defaultdict
from hashlib import blake2s
from typing import TYPE_CHECKING

from atlas_mcp.model.proposal import Change, Draft, Gain
from atlas_mcp.watch.improving.facts import DAYS
from atlas_mcp.watch.improving.finding import identity
from atlas_mcp.watch.seen_spans import tool_spans

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from pathlib import Path

    from atlas_mcp.watch.seen_spans import Seen

LEAST_REPEATS = 10
_KIND, _NAME = "atlas.tool.kind", "gen_ai.tool.name"
_KINDS = frozenset({"pure", "network"})


def caches(home: Path, since: datetime) -> list[Draft]:
    """What could be kept instead of being asked for again. Reads a file: call it in a thread. Raises sqlite3.Error."""
    return found(tool_spans(home, int(since.timestamp() * 1e9)))


def found(spans: Iterable[Seen]) -> list[Draft]:
    """For each tool: to keep what it answered.

    A call is a repeat if one with the same arguments was answered before. Needs LEAST_REPEATS of them. Confidence:
    (same + 1) / (repeats + 2), by Laplace's rule of succession, for `same` repeats that were answered as before.
    """
    by_tool: dict[str, list[Seen]] = defaultdict(list)
    for span in spans:
        if span.ok and span.attributes.get(_KIND) in _KINDS:
            by_tool[str(span.attributes.get(_NAME, ""))].append(span)
    drafts: list[Draft] = []
    for tool, calls in sorted(by_tool.items()):
        answers: dict[bytes, bytes] = {}
        repeats = same = 0
        seconds = 0.0
        for call in sorted(calls, key=lambda one: one.start):
            asked, answered = _hash(call.given), _hash(call.gave)
            if asked in answers:
                repeats += 1
                same += answers[asked] == answered
                seconds += (call.end - call.start) / 1e9
            answers[asked] = answered
        if repeats >= LEAST_REPEATS:
            drafts.append(_draft(tool, len(calls), repeats, same, seconds))
    return drafts


def _draft(tool: str, calls: int, repeats: int, same: int, seconds: float) -> Draft:
    return Draft(
        id=identity("cache", tool),
        kind="cache",
        subject=tool,
        text=f"Keep what {tool} answers: {repeats} of {calls} calls had been made before with the same arguments, and "
        f"{same} of them were answered as before.",
        change=Change(
            lines=(
                "ATLAS keeps no answers of tools. Share what is asked for again and again, so that agents find it:",
                'share_knowledge(name="...", text="...")',
                f"or let {tool}, as a tool file of your own in ATLAS_TOOLS, keep its answers where it gets them.",
            )
        ),
        evidence={"rule": "(same + 1) / (repeats + 2)", "calls": calls, "repeats": repeats, "same_answer": same},
        gain=Gain(amount=seconds, unit=f"agents' seconds in {DAYS} days"),
        risk="medium",
        confidence=(same + 1) / (repeats + 2),
        safe=False,
    )


def _hash(text: str) -> bytes:
    return blake2s(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
