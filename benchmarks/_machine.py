"""What every benchmark prints beside its figures: the machine, its load, and how to repeat.

Figures without the load they were taken under mean nothing on a shared machine. Nothing here measures or imports ATLAS.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path


def machine_line() -> str:
    """The CPU, its cores, the load average (1, 5, 15 minutes), the Python, and the command that repeats this run."""
    cores = os.cpu_count() or 1
    arguments = " ".join(sys.argv[1:])
    repeat = f"python {_script()} {arguments}".rstrip()
    return (
        f"{_processor()}, {cores} cores, load {_load()}; "
        f"Python {platform.python_version()} on {platform.system()}; repeat: {repeat}"
    )


def summary(samples_ms: Sequence[float]) -> str:
    """The least, median and 95th percentile of samples in milliseconds; `no samples` for none."""
    if not samples_ms:
        return "no samples"
    ordered = sorted(samples_ms)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    low, middle = ordered[0], statistics.median(ordered)
    return f"min {low:.3f} ms, median {middle:.3f} ms, p95 {p95:.3f} ms ({len(ordered)} samples)"


def _script() -> str:
    path = Path(sys.argv[0])
    return f"{path.parent.name}/{path.name}" if path.parent.name else path.name


def _load() -> str:
    if not hasattr(os, "getloadavg"):
        return "unknown"
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
