"""The real server as the tests have it: started in the open or with a key, and gone with whoever started it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from letta_client import AsyncLetta, AuthenticationError

from atlas_mcp.errors import AtlasError
from atlas_mcp.letta.door import Letta
from tests.real_letta import real_letta

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[2]


async def test_a_server_with_a_key_refuses_every_other_and_says_what_to_set() -> None:
    with real_letta(LETTA_SERVER_SECURE="true", LETTA_SERVER_PASSWORD="sesame") as secured:
        async with AsyncLetta(base_url=secured.url, api_key="wrong", max_retries=0) as client:
            assert (await client.health()).version
            with pytest.raises(AuthenticationError):
                await client.agents.list()
            with pytest.raises(AtlasError, match="LETTA_API_KEY"):
                await Letta(client, kind="server").find_agents(["any"])
        async with AsyncLetta(base_url=secured.url, api_key="sesame", max_retries=0) as client:
            assert await Letta(client, kind="server").find_agents(["no such tag"]) == []


def test_a_server_ends_when_the_tests_that_started_it_are_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.real_letta"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as tests:
        assert tests.stdout
        url, _, logs = tests.stdout.readline().split()
        with urlopen(f"{url}/v1/health/", timeout=30) as answer:
            assert answer.status == 200
        tests.send_signal(signal.SIGKILL)
    # Nobody is left to tell when it is gone; it holds its port until then.
    while _answers(url):
        pass
    shutil.rmtree(logs, ignore_errors=True)


def _answers(url: str) -> bool:
    try:
        with urlopen(f"{url}/v1/health/", timeout=5):
            return True
    except (URLError, OSError):
        return False
