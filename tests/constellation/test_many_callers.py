"""However many callers and clients come, only so many of their constellations are kept at hand."""

from __future__ import annotations

import pytest

from atlas_mcp import _rooms
from atlas_mcp.atlas import open_atlas
from atlas_mcp.model.caller import Caller
from atlas_mcp.settings import load_settings

pytestmark = pytest.mark.anyio


async def test_those_not_needed_for_longest_make_room_and_come_back_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_rooms, "MOST_KEPT", 3)
    first = Caller(id="key:first", kind="key", client="one")
    async with open_atlas(load_settings()) as atlas:
        rooms = await atlas._keeper.rooms()
        await atlas.update_memory(first, "librarian", "human", value="likes tea")
        mine = await rooms.constellation(first)
        for number in range(9):
            await rooms.constellation(Caller(id=f"key:{number % 5}", kind="key", client=f"client {number}"))
            if number < 5:
                assert await rooms.constellation(first) is mine, "it is needed all the time"
        assert (len(rooms._constellations), len(rooms._additions)) == (3, 3)
        assert await rooms.constellation(first) is not mine
        [block] = await atlas.get_memory(first, "librarian", "human")
    assert block.value == "likes tea"
