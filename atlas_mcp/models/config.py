"""Which models are configured, and which one answers for whom."""

from __future__ import annotations

from pydantic import Field, SecretStr

from atlas_mcp.model._base import Frozen
from atlas_mcp.model.agent import Level, Tier
from atlas_mcp.model.price import Price


class ModelConfig(Frozen):
    """All that is said about models; each is named `provider:name`. Values are given: nothing reads the environment.

    `supervisor`, `worker` and `rater` each fall back to `model`. `levels` names models for agents of a capability
    level, `own` those that a roster names for single agents. `fallbacks` are tried in order when a model fails.
    `keys` holds the providers' own variables by name (keys and base addresses). `base_url` is the address of an
    OpenAI-compatible server. `timeout` is how many seconds a provider may stay silent in one attempt, `retries` how
    often the provider's own client tries again after a passing failure: the only layer that retries.
    `prices` are those that somebody said, by model, and go before those that are known.
    `offline_delay` is how many seconds the offline model waits once in each turn.
    """

    model: str | None = None
    supervisor: str | None = None
    worker: str | None = None
    rater: str | None = None
    levels: dict[Level, str] = Field(default_factory=dict[Level, str])
    own: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()
    prices: dict[str, Price] = Field(default_factory=dict[str, Price])
    base_url: str | None = None
    keys: dict[str, SecretStr] = Field(default_factory=dict[str, SecretStr])
    timeout: float = Field(default=120, gt=0)
    retries: int = Field(default=2, ge=0)
    offline_delay: float = Field(default=0, ge=0)

    def named(self) -> dict[str, str]:
        """Every configured model by the setting that names it; empty means that the offline model answers."""
        single = {
            "ATLAS_MODEL": self.model,
            "ATLAS_MODEL_SUPERVISOR": self.supervisor,
            "ATLAS_MODEL_WORKER": self.worker,
            "ATLAS_MODEL_RATER": self.rater,
        }
        single |= {f"ATLAS_MODEL_{level.upper()}": name for level, name in self.levels.items()}
        single |= {f"ATLAS_MODEL_FALLBACKS, number {n}": name for n, name in enumerate(self.fallbacks, 1)}
        single |= {f"the roster's model {name}": name for name in self.own}
        return {setting: name for setting, name in single.items() if name}

    def choose(self, tier: Tier, level: Level, own: str | None = None) -> str | None:
        """The model for an agent: its own, else the raters' for a rater, else its level's, its tier's, the common one.

        Raters keep theirs before any level, so that a rater set apart from the authors stays apart.
        """
        if own:
            return own
        if tier == "rater" and self.rater:
            return self.rater
        if level in self.levels:
            return self.levels[level]
        of_tier = {"supervisor": self.supervisor, "worker": self.worker, "rater": self.rater}[tier]
        return of_tier or self.model

    def price(self, handle: str) -> Price | None:
        """The price that somebody said of the model with that handle, written `provider:name` or as its handle."""
        return self.prices.get(handle.replace("/", ":", 1)) or self.prices.get(handle)

    def secret(self, *variables: str) -> str | None:
        """The value of the first of these variables that is set."""
        for variable in variables:
            if variable in self.keys and (value := self.keys[variable].get_secret_value().strip()):
                return value
        return None
