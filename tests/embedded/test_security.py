from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from letta_client import AsyncLetta, AuthenticationError

from atlas_mcp.embedded import StreamingASGITransport, create_app
from tests.embedded.scripted_chat import Source

pytestmark = pytest.mark.anyio


async def status(app: Any, path: str = "/v1/agents/", **headers: str) -> int:
    async with httpx.AsyncClient(transport=StreamingASGITransport(app), base_url="http://127.0.0.1:8283") as http:
        return (await http.get(path, headers=headers)).status_code


async def test_the_key_is_needed_for_all_but_health(tmp_path: Path) -> None:
    app = create_app(tmp_path / "letta.db", Source(), key="secret")
    assert await status(app, "/v1/health/") == 200
    assert await status(app) == 401
    assert await status(app, authorization="Bearer wrong") == 401
    assert await status(app, authorization="Bearer secret") == 200
    async with httpx.AsyncClient(transport=StreamingASGITransport(app)) as http:
        wrong = AsyncLetta(base_url="http://e", api_key="wrong", max_retries=0, http_client=http)
        with pytest.raises(AuthenticationError, match="Unauthorized"):
            await wrong.agents.create(name="a")
        right = AsyncLetta(base_url="http://e", api_key="secret", max_retries=0, http_client=http)
        assert (await right.agents.create(name="a")).name == "a"


async def test_only_the_given_hosts_and_origins_are_served(tmp_path: Path) -> None:
    app = create_app(tmp_path / "letta.db", Source(), hosts=["127.0.0.1", "localhost:8283"])
    assert await status(app) == 200
    assert await status(app, host="localhost:8283") == 200
    assert await status(app, host="localhost:9999") == 421
    assert await status(app, host="evil.example") == 421
    assert await status(app, "/v1/health/", host="evil.example") == 421
    assert await status(app, origin="http://127.0.0.1:8283") == 200
    assert await status(app, origin="http://evil.example") == 403
    assert await status(app, origin="null") == 403
