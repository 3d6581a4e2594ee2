"""Who is taken for hung, and who is not."""

from __future__ import annotations

import anyio
import pytest

from atlas_mcp.runs import pulse
from atlas_mcp.runs.pulse import Onlooker

pytestmark = pytest.mark.anyio
DEADLINE = 60


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "HUNG_SECONDS", 0.2)
    monkeypatch.setattr(pulse, "LOOK_AT_MOST", 0.05)


async def until_hung(onlooker: Onlooker, **beats: int | None) -> dict[str, int | None]:
    with anyio.fail_after(DEADLINE):
        while not (hung := onlooker.hung(beats)):  # noqa: ASYNC110 - it is looking that counts
            await anyio.sleep(0.01)
    return hung


async def test_a_beat_that_stands_still_is_seen_also_where_there_never_was_one() -> None:
    assert await until_hung(Onlooker(), still=7) == {"still": 7}
    assert await until_hung(Onlooker(), silent=None) == {"silent": None}


async def test_one_that_goes_on_is_never_taken_for_hung() -> None:
    onlooker, beat = Onlooker(), 0
    with anyio.fail_after(DEADLINE):
        while "still" not in (hung := onlooker.hung({"still": 1, "alive": beat})):
            beat += 1
            await anyio.sleep(0.01)
    assert "alive" not in hung


async def test_an_onlooker_that_slept_himself_takes_nobody_for_hung_when_he_wakes() -> None:
    onlooker = Onlooker()
    assert onlooker.hung({"other": 1}) == {}
    await anyio.sleep(0.4)  # twice as long as it takes, and nobody was awake to see it
    assert onlooker.hung({"other": 1}) == {}
    assert await until_hung(onlooker, other=1) == {"other": 1}


async def test_one_that_had_nothing_to_do_in_between_begins_anew() -> None:
    onlooker = Onlooker()
    assert await until_hung(onlooker, other=1)
    assert onlooker.hung({}) == {}
    assert onlooker.hung({"other": 1}) == {}
