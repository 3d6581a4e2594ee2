"""Two processes and ten callers in each write and search at once: what is one caller's never comes to another."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.memory.callers_process import CALLERS, marker
from tests.redis_server import running_redis

ROUNDS = 4
PROCESSES = ("left", "right")
PROGRAM = Path(__file__).with_name("callers_process.py")
ANY_MARKER = re.compile("|".join(marker(who) for who in range(CALLERS)))


@pytest.mark.timeout(300)
def test_no_marker_crosses_from_one_caller_to_another(home: Path) -> None:
    with running_redis() as redis:
        environment = {**os.environ, "ATLAS_HOME": str(home), "ATLAS_EMBEDDER": "hash", "ATLAS_REDIS_URL": redis.url}
        environment["PYTHONPATH"] = str(Path(__file__).parents[2])
        at_work = [
            subprocess.Popen(
                [sys.executable, str(PROGRAM), name, str(ROUNDS)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for name in PROCESSES
        ]
        try:
            for process in at_work:
                assert process.stdout
                assert process.stdout.readline() == "ready\n"
            for process in at_work:  # both begin now
                assert process.stdin
                process.stdin.write("go\n")
                process.stdin.flush()
            told = [json.loads(process.communicate(timeout=240)[0]) for process in at_work]
        finally:
            for process in at_work:
                process.kill()
    for name, seen in zip(PROCESSES, told, strict=True):
        for who in range(CALLERS):
            everything = "\n".join(seen[str(who)])
            assert {*ANY_MARKER.findall(everything)} == {marker(who)}, f"caller {who} of the {name} process"
            assert len(seen[str(who)]) == 7 * ROUNDS
            last = [one for one in seen[str(who)] if f"{name} {ROUNDS - 1}" in one]
            assert len(last) >= 5, "what was written last was not found, so nothing was tested"
    for who in range(CALLERS):
        both = "\n".join(told[0][str(who)])
        assert "right 0" in both, "the processes did not see each other's, so they were not at work at once"
