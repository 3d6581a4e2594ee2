"""The models of a Letta server: which of its handles is meant, and what is told when none is."""

from __future__ import annotations

import pytest

from atlas_mcp.errors import UnknownModel
from atlas_mcp.models.config import ModelConfig
from atlas_mcp.models.served import ServedModels

HANDLES = ["letta/letta-free", "anthropic/claude-opus-4", "openai/gpt-5", "openai-proxy/gpt-5", "openai-proxy/mine"]


def served(letta_model: str | None = None, handles: list[str] | None = None, **config: str) -> ServedModels:
    return ServedModels(ModelConfig.model_validate(config), letta_model, handles or HANDLES, "the Letta server main")


@pytest.mark.parametrize(
    ("written", "handle"),
    [
        ("anthropic:claude-opus-4", "anthropic/claude-opus-4"),
        ("anthropic/claude-opus-4", "anthropic/claude-opus-4"),
        ("openai:gpt-5", "openai/gpt-5"),
        ("openai:mine", "openai-proxy/mine"),
        ("openai-proxy/mine", "openai-proxy/mine"),
        ("mine", "openai-proxy/mine"),
    ],
)
def test_what_is_configured_is_found_among_the_servers_handles(written: str, handle: str) -> None:
    assert served(model=written).handle("worker", "routine") == handle
    assert served(written).handle("worker", "routine") == handle


def test_the_lettas_own_model_wins_and_else_tiers_have_theirs() -> None:
    both = served("openai-proxy/mine", model="openai:gpt-5", rater="anthropic:claude-opus-4")
    assert both.handles() == ["openai-proxy/mine"]
    tiers = served(model="openai:gpt-5", rater="anthropic:claude-opus-4")
    assert tiers.handle("rater", "routine") == "anthropic/claude-opus-4"
    assert tiers.handle("supervisor", "critical") == "openai/gpt-5"
    assert tiers.handle("worker", "routine", "openai:mine") == "openai-proxy/mine"


@pytest.mark.parametrize("written", ["google:gemini", "gpt-5", "bedrock/gpt-5"])
def test_what_the_server_has_not_or_has_twice_is_refused_with_what_it_has(written: str) -> None:
    with pytest.raises(UnknownModel) as error:
        served(model=written).check()
    assert error.value.argument == "ATLAS_MODEL"
    assert list(error.value.allowed) == sorted(HANDLES)
    assert "Set LETTA_MODEL to one of: anthropic/claude-opus-4, " in str(error.value)


def test_a_setting_of_one_tier_is_named() -> None:
    with pytest.raises(UnknownModel) as error:
        served(model="openai:gpt-5", rater="openai:none").check()
    assert error.value.argument == "ATLAS_MODEL_RATER"


def test_without_a_model_the_offline_one_is_not_sent_to_a_server() -> None:
    with pytest.raises(UnknownModel, match="offline model cannot answer on the Letta server main"):
        served().check()
    served(handles=["atlas/offline"]).check()  # an `atlas-mcp letta` has it


@pytest.mark.parametrize("handles", [["letta/letta-free"], []])
def test_a_server_without_models_is_told_what_to_set_there(handles: list[str]) -> None:
    with pytest.raises(UnknownModel) as error:
        ServedModels(ModelConfig(model="openai:gpt-5"), None, handles, "the Letta server main").check()
    assert "OPENAI_API_KEY" in str(error.value)
    assert "environment of the Letta server" in str(error.value)


def test_what_a_model_costs_is_known_by_the_servers_handle() -> None:
    priced = served(handles=["anthropic/claude-sonnet-4-5-20250929", "google_ai/gemini-2.5-pro"])
    assert priced.cost("anthropic/claude-sonnet-4-5-20250929", 1_000_000, 0)
    assert priced.cost("google_ai/gemini-2.5-pro", 1_000_000, 0)
    assert priced.cost("openai-proxy/mine", 1_000_000, 0) is None
