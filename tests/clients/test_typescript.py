"""The TypeScript SDK's clients of both generations make the whole journey, by every door they know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import npm
from tests.clients.journey import SLOW, Door, check_whole, travel

pytestmark = [
    npm.needs("@modelcontextprotocol/sdk"),
    npm.needs("@modelcontextprotocol/client"),
    pytest.mark.timeout(900),
]

PROGRAM = str(Path(__file__).with_name("typescript.mjs"))
DOORS = [(1, "stdio"), (1, "http"), (1, "sse"), (2, "stdio"), (2, "http")]


def journey(name: str, generation: int, door: Door) -> dict[str, Any]:
    return travel([npm.node(), PROGRAM], door, name, generation=generation, modules=str(npm.MODULES))


@pytest.mark.parametrize(("generation", "door"), DOORS)
def test_it_makes_the_whole_journey(generation: int, door: str, server: tuple[str, str]) -> None:
    check_whole(journey("whole", generation, Door(door, *server)))


@pytest.mark.parametrize(("generation", "door"), DOORS)
def test_a_call_that_it_gives_up_is_cancelled(
    generation: int, door: str, slow_server: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SLOW.items():
        monkeypatch.setenv(name, value)
    saw = journey("cancelled", generation, Door(door, *slow_server))
    assert saw["outcome"] == "rejected"
    assert saw["run"]["status"] == "cancelled"
