"""An Atlas with the tests' scripted model, which has a price, and what its ledger holds."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.settings import load_settings
from tests.scripted_model import ScriptedModel, last_user_text
from tests.teamwork.house import good_answer

MODEL = "openai:scripted-1"
PRICE = 10.0
"""Dollars per million tokens, in and out."""

Open = Callable[..., AbstractAsyncContextManager[Atlas]]


@pytest.fixture
def model(scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch) -> ScriptedModel:
    """The model, configured, which answers every prompt of a team task decently."""
    monkeypatch.setenv("ATLAS_MODEL", MODEL)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", scripted_model.url)
    scripted_model.on(lambda request: 'answer_schema title="' in last_user_text(request), {"call": _answer})
    return scripted_model


@pytest.fixture
def opened(model: ScriptedModel, home: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Open an Atlas: `daily` dollars a day, and the model's price unless it is not `priced`."""

    @asynccontextmanager
    async def open_it(*, daily: float | None = None, priced: bool = True) -> AsyncIterator[Atlas]:
        if priced:
            set_price(home)
        if daily is not None:
            monkeypatch.setenv("ATLAS_DAILY_USD", str(daily))
        async with open_atlas(load_settings()) as atlas:
            yield atlas

    return open_it


def set_price(home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    text = f'[prices."{MODEL}"]\ninput_per_million = {PRICE}\noutput_per_million = {PRICE}\n'
    (home / "settings.toml").write_text(text, encoding="utf-8")


def entered(home: Path) -> list[dict[str, Any]]:
    """The ledger, turn by turn: what each turn's entries come to."""
    query = "SELECT turn, caller, run_id, day, sum(turns) turns, sum(tokens) tokens, sum(usd) usd, count(*) entries "
    with closing(sqlite3.connect(home / "atlas.db")) as record:
        record.row_factory = sqlite3.Row
        return [dict(row) for row in record.execute(f"{query} FROM ledger GROUP BY turn ORDER BY min(number)")]


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    return {"json": good_answer(last_user_text(request))}
