"""What models cost: a small table, read once. A model that is not in it has no known price: None, never zero.

Models on one's own machine (ollama, the offline and the scripted model) cost nothing by the token and are zero.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import cast

from atlas_mcp.model.price import Price
from atlas_mcp.models.catalog import OFFLINE

_DATE = re.compile(r"-(20\d{6}|20\d\d-\d\d-\d\d)$")
_FREE = ("ollama/", "scripted/", OFFLINE)


def price(handle: str) -> tuple[float, float] | None:
    """Dollars per million tokens of input and of output, or None where the table does not have the model."""
    if handle.startswith(_FREE):
        return 0.0, 0.0
    provider, _, name = handle.partition("/")
    return _table().get((provider, name)) or _table().get((provider, _DATE.sub("", name)))


def cost(handle: str, input_tokens: int, output_tokens: int, said: Price | None = None) -> float | None:
    """What a call cost in dollars, or None where the price is not known; by the price that was `said`, if any."""
    known = (said.input_per_million, said.output_per_million) if said else price(handle)
    if known is None:
        return None
    return (input_tokens * known[0] + output_tokens * known[1]) / 1_000_000


@cache
def _table() -> dict[tuple[str, str], tuple[float, float]]:
    content = tomllib.loads(files("atlas_mcp.models").joinpath("prices.toml").read_text(encoding="utf-8"))
    rows = cast("dict[str, dict[str, dict[str, float]]]", content["models"])
    return {
        (provider, name): (float(row["input"]), float(row["output"]))
        for provider, models in rows.items()
        for name, row in models.items()
    }
