"""Fixtures for tests on Letta servers: `far` is one of each kind, `real` is Letta's own; a proxy stands before it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.contract.far import Far, Side, real_far, served_letta, side_of
from tests.contract.proxy import Proxy, proxy_to
from tests.scripted_model import ScriptedModel


@pytest.fixture(scope="session")
def _served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    with ScriptedModel() as scripted, served_letta(tmp_path_factory.mktemp("letta"), scripted) as far:
        yield far


@pytest.fixture(params=["served", "real"])
def far(request: pytest.FixtureRequest) -> Far:
    if request.param == "real":
        return real_far(request.getfixturevalue("real_letta"))
    served: Far = request.getfixturevalue("_served")
    served.scripted.reset()
    return served


@pytest.fixture
def real(request: pytest.FixtureRequest) -> Far:
    return real_far(request.getfixturevalue("real_letta"))


@pytest.fixture
async def proxy(request: pytest.FixtureRequest) -> AsyncIterator[Proxy]:
    which = "real" if "real" in request.fixturenames else "far"
    async with proxy_to(request.getfixturevalue(which).url) as opened:
        yield opened


@pytest.fixture
async def side(request: pytest.FixtureRequest, home: Path, proxy: Proxy) -> AsyncIterator[Side]:
    which: Far = request.getfixturevalue("real" if "real" in request.fixturenames else "far")
    async with side_of(home, which, proxy.url) as opened:
        yield opened
