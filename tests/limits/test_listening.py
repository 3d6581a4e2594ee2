"""How many may listen: one caller's streams leave room for others'."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
from mcp import MCPError

from atlas_mcp.server import subscriptions
from tests.access.serving import make_key, open_house

pytestmark = pytest.mark.anyio
ADDRESSES = ["atlas://agents"]


async def test_one_callers_streams_do_not_keep_another_from_listening(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "MAX_OF_ONE", 2)
    async with open_house() as house, AsyncExitStack() as open_streams:
        many = await open_streams.enter_async_context(house.client(await make_key("many")))
        one = await open_streams.enter_async_context(house.client(await make_key("one")))
        first = many.listen(resource_subscriptions=ADDRESSES)
        for stream in (first, many.listen(resource_subscriptions=ADDRESSES)):
            await open_streams.enter_async_context(stream)
        with pytest.raises(MCPError, match="too many are listening"):
            async with many.listen(resource_subscriptions=ADDRESSES):
                pass
        await open_streams.enter_async_context(one.listen(resource_subscriptions=ADDRESSES))
