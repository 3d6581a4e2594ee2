"""A run told to people, one line an event: "web_researcher found 3 sources; 2 of 4 teams done; $0.12"."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_mcp.model.run import Run
    from atlas_mcp.model.usage import Usage

LONGEST_LINE = 300
PART_DONE = "part_finished"


class Narration:
    """Tells one run to somebody; how many teams are done is told to those who hear of it from its first event on."""

    def __init__(self) -> None:
        self._done = 0
        self._from_the_start: bool | None = None

    def lines(self, run: Run) -> list[str]:
        """A line for each new event of the run, with how far the run is then and what it has cost so far."""
        told: list[str] = []
        if self._from_the_start is None and run.events:
            self._from_the_start = run.events[0].seq == 1
        for event in run.events:
            self._done += event.type == PART_DONE
            told.append("; ".join([in_a_line(event.text).rstrip("."), *self.standing(run)]))
        return told

    def standing(self, run: Run) -> list[str]:
        """How far the run is and what it has cost, as far as there is something to say."""
        parts = run.plan.parts if run.plan else ()
        noun = "teams" if len({part.team for part in parts}) == len(parts) else "parts"
        far = (
            f"{min(self._done, len(parts))} of {len(parts)} {noun} done"
            if self._from_the_start and len(parts) > 1
            else ""
        )
        return [said for said in (far, spent(run.usage)) if said]


def spent(usage: Usage) -> str:
    """What it cost: in dollars where the price is known, else in tokens; nothing where nothing was spent."""
    if usage.cost_usd:
        return f"${usage.cost_usd:.2f}" if usage.cost_usd >= 0.01 else "less than $0.01"
    tokens = usage.input_tokens + usage.output_tokens
    return f"{tokens:,} tokens" if tokens else ""


def in_a_line(text: str) -> str:
    """The text as one line of at most LONGEST_LINE characters."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1]}…"
