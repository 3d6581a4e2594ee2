"""The common shape of what things are: frozen, and strict about names that are not theirs."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A value that never changes; unknown fields are refused, so that a misspelt name is never lost silently."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Tolerant(BaseModel):
    """A value read from an agent's answer: frozen, but fields nobody asked for are dropped."""

    model_config = ConfigDict(frozen=True, extra="ignore")
