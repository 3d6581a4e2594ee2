"""Where scenarios are played: of the user's settings the models and the way of the traces count, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from atlas_mcp._config import destination
from atlas_mcp.errors import ConfigurationError, MissingKey
from atlas_mcp.model.scenario import Scenario
from atlas_mcp.playing import check, costs_money, open_stage
from atlas_mcp.settings import Settings, load_settings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio
ELSEWHERE = {
    "ATLAS_DATABASE_URL": "postgresql://db.example/atlas",
    "LETTA_BASE_URL": "https://letta.example",
    "ATLAS_REDIS_URL": "redis://cache.example",
    "ATLAS_WEBHOOK_URL": "https://hook.example",
    "ATLAS_ROSTER": "/nowhere/roster.toml",
    "ATLAS_TOOLS": "/nowhere/tools",
    "TAVILY_API_KEY": "tvly-secret",
    "ATLAS_GITHUB_TOKEN": "secret",
    "ATLAS_FILES": "/nowhere",
    "ATLAS_DAILY_USD": "1",
    "ATLAS_ALERT_QUALITY": "5",
}
TRACES = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "ATLAS_TRACES_DAYS": "7"}


def scenario(**more: Any) -> Scenario:
    return Scenario.model_validate({"name": "one", "work": [{"agent": "librarian", "message": "Hello"}], **more})


async def passing(tmp_path: Path, given: Scenario) -> Settings:
    """The settings of that scenario's stage."""
    async with open_stage(load_settings(), given, tmp_path / "stage") as stage:
        return stage.atlas.settings


@pytest.fixture
def _everything_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**ELSEWHERE, **TRACES}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("_everything_set")
async def test_nothing_that_the_user_has_set_is_reached_but_where_traces_go(tmp_path: Path) -> None:
    found = await passing(tmp_path, scenario())
    plain = {name: field.get_default(call_default_factory=True) for name, field in Settings.model_fields.items()}
    changed = {name for name, value in plain.items() if getattr(found, name) != value}
    alerts = {name for name in plain if name.startswith("alert_") and name != "alert_task_seconds"}
    assert changed - alerts == {
        *("home", "model", "embedder", "alert_task_seconds"),
        *("mlflow_tracking_uri", "traces_days"),
    }
    assert destination(found) == destination(load_settings())
    assert found.home == tmp_path / "stage"


@pytest.mark.usefixtures("_everything_set")
async def test_real_models_are_the_users_each_behind_the_faults_at_its_own_price(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATLAS_MODEL", "openai:gpt-4o-mini")
    monkeypatch.setenv("ATLAS_MODEL_RATER", "openai:gpt-4o")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    real = scenario(real=True)
    check(load_settings(), real)
    assert costs_money(load_settings(), [real])
    assert not costs_money(load_settings(), [scenario()])
    found = await passing(tmp_path, real)
    assert found.model and found.model.startswith("scripted:")  # noqa: PT018
    assert found.model_rater and found.model_rater != found.model  # noqa: PT018
    assert 0 < found.prices[found.model].output_per_million < found.prices[found.model_rater].output_per_million
    assert found.letta_base_url is None


def test_real_models_that_cannot_be_used_are_told_before_anything_is_played(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLAS_MODEL", "openai:gpt-4o-mini")
    with pytest.raises(MissingKey):
        check(load_settings(), scenario(real=True))
    monkeypatch.delenv("ATLAS_MODEL")
    monkeypatch.setenv("LETTA_BASE_URL", "https://letta.example")
    with pytest.raises(ConfigurationError, match="the models are your Letta server's alone"):
        check(load_settings(), scenario(real=True))
