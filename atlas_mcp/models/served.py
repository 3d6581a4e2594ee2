"""The models of a Letta server: which of its handles answers for whom.

The server calls the models, with its own keys: ATLAS needs none, and only says which. LETTA_MODEL answers for every
agent; else what is configured for ATLAS itself is found again among the server's handles. Nothing is asked here: the
handles are given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from atlas_mcp.errors import UnknownModel
from atlas_mcp.model.agent import Level, Tier
from atlas_mcp.model.handles import find_handle
from atlas_mcp.models import prices
from atlas_mcp.models.catalog import OFFLINE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.models.config import ModelConfig

_PRICED_AS = {"google_ai": "google", "google_vertex": "google"}
_BUILT_IN = "letta/letta-free"
"""Letta lists this one without a key of anybody's; whether it answers is its makers' affair."""
_SHOWN = 40


class ServedModels:
    """What is wanted of a Letta server's models; `handles` are those it has, None while it was not asked yet."""

    def __init__(
        self, config: ModelConfig, letta_model: str | None, handles: Sequence[str] | None = None, server: str = ""
    ) -> None:
        self._config = config
        self._letta_model = letta_model
        self._handles = handles
        self._server = server

    @property
    def offline(self) -> bool:
        """Whether nothing says which model is to answer; only an `atlas-mcp letta` has one for that case."""
        return self._letta_model in {None, OFFLINE} and not self._config.named()

    def handle(self, tier: Tier, level: Level, own: str | None = None) -> str:
        """The server's handle for such an agent. UnknownModel, with those that the server has, when there is none."""
        wanted, setting = self._wanted(tier, level, own)
        if self._handles is None:
            return wanted if "/" in wanted.partition(":")[0] else wanted.replace(":", "/", 1)
        found = find_handle(wanted, self._handles)
        if found is None:
            raise self._unknown(wanted, setting)
        return found

    def handles(self) -> list[str]:
        """Every handle that may be asked for, without doubles."""
        every = [self.handle(tier, level) for tier in get_args(Tier) for level in get_args(Level)]
        own = [self.handle("worker", "interactive", own) for own in self._config.own]
        return list(dict.fromkeys([*every, *own]))

    def check(self) -> None:
        """Raise UnknownModel for the first model that is configured and that the server has not."""
        self.handles()

    def providers(self) -> list[str]:
        """None: the server holds the keys."""
        return []

    def cost(self, handle: str, input_tokens: int, output_tokens: int) -> float | None:
        """Dollars for so many tokens, or None where the model's price is not known; never taken for free."""
        provider, _, name = handle.partition("/")
        known = f"{_PRICED_AS.get(provider, provider)}/{name}"
        return prices.cost(known, input_tokens, output_tokens, self._config.price(handle))

    def _wanted(self, tier: Tier, level: Level, own: str | None) -> tuple[str, str]:
        """What was configured, and where."""
        if self._letta_model:
            return self._letta_model, "LETTA_MODEL"
        chosen = self._config.choose(tier, level, own)
        if chosen is None:
            return OFFLINE, "LETTA_MODEL"
        settings = [setting for setting, name in self._config.named().items() if name == chosen]
        return chosen, settings[0] if settings else "ATLAS_MODEL"

    def _unknown(self, wanted: str, setting: str) -> UnknownModel:
        have = sorted(self._handles or ())
        listed = ", ".join(have[:_SHOWN]) + (f" and {len(have) - _SHOWN} more" if len(have) > _SHOWN else "")
        usable = [handle for handle in have if handle != _BUILT_IN]
        if wanted == OFFLINE:
            what = f"no model is configured, and ATLAS' offline model cannot answer on {self._server}."
        else:
            what = f"{self._server} has no model {wanted!r}."
        if usable:
            return UnknownModel(what, argument=setting, allowed=have, next_step=f"Set LETTA_MODEL to one of: {listed}.")
        return UnknownModel(
            f"{what} It has {f'none but {_BUILT_IN}' if have else 'none'}.",
            argument=setting,
            allowed=have,
            next_step="Set a provider's key in the environment of the Letta server (OPENAI_API_KEY, ANTHROPIC_API_KEY, "
            "or OPENAI_BASE_URL for a server of your own), start it again, and set LETTA_MODEL to one of its handles.",
        )
