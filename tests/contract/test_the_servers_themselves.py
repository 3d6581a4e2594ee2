"""The real server as the tests have it: gone with whoever started it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[2]


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
