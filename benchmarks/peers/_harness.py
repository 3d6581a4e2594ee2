"""Runs one peer's team task many times in one process, and prints one line of JSON: what `team_peers.py` reads.

A peer is a function that does the whole task once and a function that says how many model calls were made so far.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

STARTED = time.perf_counter()
WARM, TASKS, SECONDS = 5, 60, 12.0


def measure(name: str, task: Callable[[], Awaitable[Any]], calls: Callable[[], int]) -> None:
    """Do the task up to TASKS times, for at most SECONDS, after WARM times that do not count."""
    imported = time.perf_counter() - STARTED

    async def run() -> None:
        for _ in range(WARM):
            await task()
        before, took, end = calls(), [], time.perf_counter() + SECONDS
        while len(took) < TASKS and time.perf_counter() < end:
            begun = time.perf_counter()
            await task()
            took.append((time.perf_counter() - begun) * 1000)
        told = {
            "peer": name,
            "calls": (calls() - before) / len(took),
            "least_ms": min(took),
            "median_ms": statistics.median(took),
            "import_s": imported,
            "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            / (1024 if sys.platform != "darwin" else 1 << 20),
        }
        print(json.dumps(told), flush=True)

    asyncio.run(run())
    os._exit(0)  # some peers leave threads behind that never end
