"""The fixture `scripted_model`: a server of its own for each test that asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scripted_model import ScriptedModel


@pytest.fixture
def scripted_model() -> Iterator[ScriptedModel]:
    """A loopback model that answers as the test scripts it; set `scripted_model.url` as the OpenAI base URL."""
    with ScriptedModel() as model:
        yield model
