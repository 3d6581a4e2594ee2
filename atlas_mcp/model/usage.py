"""What work cost."""

from __future__ import annotations

from atlas_mcp.model._base import Frozen


class Usage(Frozen):
    """Turns and tokens spent, and dollars where the model's price is known; `cost_usd` is None where it is not."""

    turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None

    def __add__(self, other: Usage) -> Usage:
        costs = [c for c in (self.cost_usd, other.cost_usd) if c is not None]
        return Usage(
            turns=self.turns + other.turns,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost_usd=sum(costs) if costs else None,
        )
