"""The Python SDK's client of the generation before makes the whole journey, by every door."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.journey import SLOW, Door, check_whole, travel

pytestmark = pytest.mark.timeout(900)  # the first of them makes the environment

PROGRAM = str(Path(__file__).with_name("python_1.py"))
DOORS = ["stdio", "http", "sse"]


@pytest.mark.parametrize("door", DOORS)
def test_it_makes_the_whole_journey(door: str, old_python: str, server: tuple[str, str]) -> None:
    check_whole(travel([old_python, PROGRAM], Door(door, *server), "whole"))


@pytest.mark.parametrize("door", DOORS)
def test_what_it_gives_up_without_a_word_goes_on_until_it_is_cancelled(
    door: str, old_python: str, slow_server: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SLOW.items():
        monkeypatch.setenv(name, value)
    saw = travel([old_python, PROGRAM], Door(door, *slow_server), "cancelled")
    assert saw["before"] in {"queued", "working"}
    assert saw["run"]["status"] == "cancelled"
