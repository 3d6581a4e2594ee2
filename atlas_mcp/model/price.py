"""What a model costs, as somebody says it."""

from __future__ import annotations

from pydantic import Field

from atlas_mcp.model._base import Frozen


class Price(Frozen):
    """Dollars for a million tokens of input, and for a million of output; zero is free."""

    input_per_million: float = Field(ge=0)
    output_per_million: float = Field(ge=0)
