"""Servers over HTTP, in both forms: as they should be, and as they should not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers.conftest import opened
from tests.servers.far import crooked, serving, tidy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def crook() -> Iterator[str]:
    with serving(crooked()) as address:
        yield address


@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_tools_are_found_called_and_followed(tmp_path: Path, kind: str) -> None:
    server, seen = tidy(), list[dict[str, str]]()
    app, path = (server.streamable_http_app(), "/mcp") if kind == "http" else (server.sse_app(), "/sse")
    with serving(app, seen) as address:
        far = {
            "type": kind,
            "url": address + path,
            "headers": {"Authorization": "Bearer of-the-user"},
            "timeout": 1_000,
        }
        async with opened(tmp_path, {"far": far}) as house:
            assert house.names == {"far_add", "far_grow", "far_steps"}
            assert await house.call("far_add", a=2, b=3) == "5"
            assert "a: 'two' is not of type 'integer'" in await house.fails("far_add", a="two", b=3)
            assert await house.call("far_steps", n=4) == "all steps"  # longer than it may be silent
            assert await house.call("far_grow") == "one more"
            await house.until(lambda: "far_grown" in house.names)
            assert await house.call("far_grown") == "grown"
            assert house.room("far").text.startswith(f"{address}{path}, MCP 2026-07-28: tools offered: 4.")
    assert all(headers["authorization"] == "Bearer of-the-user" for headers in seen)


@pytest.mark.parametrize(
    ("deed", "says"),
    [
        ("broken", "no JSON"),
        ("page", "it answered with an error"),
        ("big", "more than 4,000,000 bytes"),
        ("big-event", "SSE"),
        ("bomb", "it packs its answers"),
    ],
)
async def test_a_bad_answer_costs_one_refusal(tmp_path: Path, crook: str, deed: str, says: str) -> None:
    async with opened(tmp_path, {"far": {"url": f"{crook}/{deed}"}, "well": {"url": f"{crook}/well"}}) as house:
        assert says in await house.fails("far_act")
        assert await house.call("well_act") == "well"


@pytest.mark.parametrize(
    ("deed", "says"),
    [
        ("login", "it asks for a login (401). Instead of a login it may take a token in headers"),
        ("away", "Redirect to http://127.0.0.1:9/elsewhere not followed"),
    ],
)
async def test_what_keeps_a_session_from_opening_is_told(tmp_path: Path, crook: str, deed: str, says: str) -> None:
    async with opened(tmp_path, {"far": {"url": f"{crook}/{deed}"}}) as house:
        assert house.names == set()
        assert says in house.room("far").text


async def test_an_address_where_nothing_answers_is_told_and_tried_again_when_it_is_called_for(tmp_path: Path) -> None:
    async with opened(tmp_path, {"far": {"url": "http://127.0.0.1:9/mcp", "headers": {"X-Key": "s3cret"}}}) as house:
        room = house.room("far")
        assert "nothing answers at its address" in room.text
        assert "s3cret" not in room.text + str(room.next_step)
