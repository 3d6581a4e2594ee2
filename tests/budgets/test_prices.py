"""What models cost: by the settings, by the table, or not known."""

from __future__ import annotations

from pathlib import Path

import pytest

from atlas_mcp.errors import ConfigurationError
from atlas_mcp.model.price import Price
from atlas_mcp.models.chat import Models
from atlas_mcp.models.config import ModelConfig
from atlas_mcp.models.served import ServedModels
from atlas_mcp.settings import load_settings


def write(home: Path, text: str) -> None:
    home.mkdir(exist_ok=True)
    (home / "settings.toml").write_text(text, encoding="utf-8")


def test_a_price_in_the_settings_goes_before_the_table_on_every_letta(home: Path) -> None:
    write(home, '[prices."openai:gpt-5"]\ninput_per_million = 2\noutput_per_million = 4\n')
    prices = load_settings().prices
    assert prices == {"openai:gpt-5": Price(input_per_million=2, output_per_million=4)}
    for models in (Models(ModelConfig(prices=prices)), ServedModels(ModelConfig(prices=prices), None)):
        assert models.cost("openai/gpt-5", 1_000_000, 500_000) == 4.0
        assert models.cost("openai/gpt-5-mini", 1_000_000, 1_000_000) == 2.25
        assert models.cost("openai/nobody-knows", 1, 1) is None


def test_a_free_model_can_be_said_to_be_free() -> None:
    models = Models(ModelConfig(prices={"openai:mine": Price(input_per_million=0, output_per_million=0)}))
    assert models.cost("openai/mine", 10, 10) == 0.0


def test_a_dated_name_has_the_price_without_the_date_unless_it_has_its_own() -> None:
    models = Models(ModelConfig())
    assert models.cost("openai/gpt-4o-2024-11-20", 1_000_000, 0) == 2.5
    assert models.cost("openai/gpt-4o-2024-05-13", 1_000_000, 0) == 5.0
    assert models.cost("anthropic/claude-sonnet-4-20250514", 0, 1_000_000) == 15.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[prices."openai:x"]\ninput_per_million = -1\noutput_per_million = 1\n', '[prices."openai:x"], input_per'),
        ('[prices."openai:x"]\ninput_per_million = 1\n', '[prices."openai:x"], output_per_million: Field required'),
        ("daily_usd = -1\n", "ATLAS_DAILY_USD: Input should be greater than or equal to 0"),
    ],
)
def test_a_price_or_limit_that_cannot_be_is_refused_at_its_place(home: Path, text: str, said: str) -> None:
    write(home, text)
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    assert said in str(refused.value)
